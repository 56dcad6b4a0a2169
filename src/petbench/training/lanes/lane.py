"""Lane: one run on a thread of its own that hands losses, gradients and answers over to its group and waits for them.

Threads only hold the place in each run's code: at any moment one of them or the group works, never two, so runs take
turns in an order that nothing but the group decides.
"""

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from petbench.inference.ask import Answerer, Reply
from petbench.machine.clock import StepClock
from petbench.training.claim import Claim
from petbench.training.prepare import Prepared
from petbench.training.session import ALONE, SOLO, Session, Solo, Together


@dataclass(frozen=True)
class Opened:
    """A run has its weights in memory and waits for the others."""


@dataclass(frozen=True)
class Loss:
    """A training batch whose mean loss is asked for."""

    batch: dict[str, Tensor]


@dataclass(frozen=True)
class Backward:
    """A loss, or its share of a step's, whose gradients are asked for."""

    part: Tensor


@dataclass(frozen=True)
class Answers:
    """A batch to be answered, one reply a row."""

    batch: dict[str, Tensor]
    answerer: Answerer


Request = Opened | Loss | Backward | Answers


@dataclass
class Stand:
    """How the group goes on: what its lanes are told."""

    together: Together = field(default_factory=Together)
    saving: bool | None = (
        None  # whether the lanes write their resume state after this step; None: nobody asked yet
    )


class Lane(Solo):
    """A run that goes on when its group lets it."""

    def __init__(
        self, job: Callable[[], Any], stand: Stand, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """job: the whole run, which opens its weights through the lane that `current` gives. clock: the group's, in
        seconds."""
        self.clock = clock
        self.stand = stand
        self.session: Session | None = None  # once it is open
        self.alone = False  # its batches go into no common pass
        self.request: Request | None = None  # what it waits for; None: it works, or has ended
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self._lost = 0.0  # seconds that others worked, and the others' shares of common passes
        self._up: SimpleQueue[None] = SimpleQueue()
        self._down: SimpleQueue[tuple[Any, BaseException | None, float]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(job,), daemon=True)

    # The group's side.

    def start(self) -> None:
        """Let it work to its first request or its end."""
        self._thread.start()
        self._up.get()

    def go_on(self, answer: Any = None, error: BaseException | None = None, seconds: float = 0.0) -> None:
        """Give it what it asked for, or an error in its place, and let it work to its next request or its end.
        seconds: its share of the time that the answer took."""
        self.request = None
        self._down.put((answer, error, seconds))
        self._up.get()

    def rest(self) -> None:
        """Wait until it asks or has ended, where the group was interrupted while it worked."""
        if self.request is None and not self.ended:
            self._up.get()

    # The run's side.

    def ask(self, request: Request) -> Any:
        """Hand over and wait."""
        began = self.clock()
        self.request = request
        self._up.put(None)
        answer, error, seconds = self._down.get()
        self._lost += self.clock() - began - seconds
        if error is not None:
            raise error
        return answer

    def now(self) -> float:
        """Seconds that were this lane's: its own work, and its share of what is done for several at once."""
        return self.clock() - self._lost

    def open(self, prepared: Prepared, claim: Claim | None) -> Session:
        """As a run by itself is opened; what it asks of its model goes to the group."""
        own = SOLO.open(prepared, claim)
        self.session = own
        self.ask(Opened())
        parts = {name: getattr(own, name) for name in ("prepared", "precision", "backbone", "tuned", "claim")}
        accelerator: Any = LaneAccelerator(own, self)
        return LaneSession(**parts, accelerator=accelerator, model=LaneModel(self), lane=self)

    def _run(self, job: Callable[[], Any]) -> None:
        _CURRENT.set(self)  # a thread begins with no values of its own
        try:
            self.result = job()
        except BaseException as error:
            self.error = error
        finally:
            self.ended = True
            self._up.put(None)


_CURRENT: ContextVar[Lane | None] = ContextVar("lane", default=None)


def current() -> Solo:
    """What opens a run's weights here: the lane of this thread, or the usual way."""
    return _CURRENT.get() or SOLO


class LaneModel:
    """Stands where a run's model stands. The group decides when the real one trains or answers."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def __call__(self, **batch: Tensor) -> Any:
        return SimpleNamespace(loss=self._lane.ask(Loss(batch)))

    def train(self) -> None:
        """The group's part."""

    def eval(self) -> None:
        """The group's part."""


class LaneAccelerator:
    """A run's accelerator, but that gradients are the group's part."""

    def __init__(self, own: Session, lane: Lane) -> None:
        self._own, self._model, self._lane = own.accelerator, own.model, lane

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def backward(self, loss: Tensor) -> None:
        self._lane.ask(Backward(loss))

    def unwrap_model(self, model: Any, keep_fp32_wrapper: bool = True) -> Any:
        """The real model."""
        own: Accelerator = self._own
        return own.unwrap_model(self._model, keep_fp32_wrapper)


@dataclass(frozen=True, kw_only=True)
class LaneSession(Session):
    """A run's session in a group."""

    lane: Lane

    def answerer(self, own: Answerer) -> Answerer:
        def answer(model: Any, batch: dict[str, Tensor]) -> list[Reply]:
            replies: list[Reply] = self.lane.ask(Answers(batch, own))
            return replies

        return answer

    def now(self) -> float:
        return self.lane.now()

    def step_clock(self, earlier: list[float] | None = None) -> StepClock:
        """The host's seconds also on a GPU, which cannot tell the lanes of a pass apart; the group waits for it."""
        return StepClock(torch.device("cpu"), earlier, self.now)

    def saves(self, is_time: bool) -> bool:
        if self.lane.stand.saving is None:
            self.lane.stand.saving = is_time  # the first to come decides for all: they stay at one step
        return self.lane.stand.saving

    @property
    def captures(self) -> bool:
        return False  # the group's passes are not a run's own

    @property
    def together(self) -> Together:
        return ALONE if self.lane.alone else self.lane.stand.together
