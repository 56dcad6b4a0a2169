"""Group: lanes that train and answer in common passes, round after round, until the last of them has ended."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from math import inf, prod
from typing import Any, TypeVar

import torch
from torch import Tensor

from petbench.console import say
from petbench.errors import TakeAgain
from petbench.inference.ask import Reply
from petbench.inference.label_tree import HEAD
from petbench.machine import signals
from petbench.machine.devices import free_dead_model
from petbench.training.lanes.batches import (
    like_lengths,
    losses,
    padding,
    rows_of,
    side_by_side,
    size_of,
    tokens_that_fill_a_cpu,
)
from petbench.training.lanes.lane import Answers, Backward, Lane, Loss, Opened, Stand
from petbench.training.lanes.stack import acting, owners_of, sees_rows_alone, stacked
from petbench.training.session import Session, Together
from petbench.tuned.attach import Tuned

R = TypeVar("R", Loss, Backward, Answers, Opened)


class Group:
    """Runs that share a frozen backbone, a method and its shapes, each on a lane.

    A round gives every lane what it waits for. Answers come first, so that lanes that are evaluated and lanes that
    train meet again. A lane that ends, well or not, leaves the others as they are.
    """

    def __init__(
        self,
        jobs: Sequence[Callable[[], Any]],
        clock: Callable[[], float] = time.perf_counter,
        apart: int = 0,
    ) -> None:
        """clock: seconds that the lanes' costs are counted in, of all threads of this process. apart: how many of the
        last jobs go into no common pass, so that passes are timed beside single steps in the same rounds."""
        self._stand, self._clock = Stand(), clock
        self.lanes = [Lane(job, self._stand, clock) for job in jobs]
        for lane in self.lanes[len(jobs) - apart :]:
            lane.alone = True
        self.most = len(jobs)  # lanes of one pass; fewer once a device had no room for them
        self._own_tokens = self._all_tokens = 0  # of training passes: without and with what lanes padded

    def run(self) -> list[Any]:
        """What the jobs return, None of those that raised. Raises what a stop signal raises, after all have saved."""
        free_dead_model()  # before anything of the group lives: what lives at the first call is never collected
        with signals.stop_signals(), signals.held():
            try:
                for lane in self.lanes:
                    lane.start()
                    self._share(lane)
                while self._alive:
                    self._round()
            finally:
                self._end(KeyboardInterrupt())  # nothing is left where all went well
        for lane in self.lanes:
            if lane.error is not None and not isinstance(lane.error, KeyboardInterrupt):
                raise lane.error
        return [lane.result for lane in self.lanes]

    @property
    def padding_fraction(self) -> float:
        """Share of the tokens of all training passes so far that lanes padded to lie side by side."""
        return 1 - self._own_tokens / self._all_tokens if self._all_tokens else 0.0

    @property
    def _alive(self) -> list[Lane]:
        return [lane for lane in self.lanes if not lane.ended]

    @cached_property
    def _tokens_apart(self) -> float:
        """Tokens of a batch that trains by itself, since a wider pass of a full CPU gains nothing and has padding."""
        session = next(lane.session for lane in self.lanes if lane.session is not None)
        on_cpu = session.accelerator.device.type == "cpu"
        return tokens_that_fill_a_cpu(session.tuned.model) if on_cpu else inf

    def _end(self, error: BaseException) -> None:
        for lane in self._alive:
            lane.rest()
            while lane.request is not None and not lane.ended:
                lane.go_on(error=error)

    def _share(self, lane: Lane) -> None:
        """Let an opened lane hold the first one's frozen tensors in place of its own copies."""
        if lane.session is None:
            return
        tuned, first = lane.session.tuned, next(other for other in self.lanes if other.session is not None)
        assert first.session is not None
        if first is lane:
            lane.alone = not sees_rows_alone(tuned)
            if lane.alone:
                say(
                    "lanes: this model computes with tensors that all rows share, so its runs train one by one."
                )
        elif first.alone or not _shared(first.session.tuned, tuned):
            lane.alone = True

    def _round(self) -> None:
        stop = signals.asked()
        if stop is not None:
            signals.pass_on()  # lanes that train end after their step
        if opened := self._waiting(Opened):
            for lane in opened:
                lane.go_on()
        elif asking := self._waiting(Answers):
            for chunk in self._chunks(asking, Answers):
                if stop is not None:
                    for lane in chunk:
                        lane.go_on(error=stop)  # an evaluation changes nothing, so it may be left anywhere
                else:
                    self._answer(chunk)
        else:
            self._stand.saving = None
            for chunk in self._chunks(self._waiting(Loss), Loss):
                self._train(chunk)

    def _waiting(self, kind: type[R]) -> list[Lane]:
        return [lane for lane in self._alive if isinstance(lane.request, kind)]

    def _chunks(self, lanes: Sequence[Lane], kind: type[R]) -> list[list[Lane]]:
        """Lanes of one pass each."""
        single = [
            lane
            for lane in lanes
            if lane.alone
            or (kind is Answers and _reads_odds_in_parts(lane))
            or (kind is Loss and _tokens(lane) >= self._tokens_apart)
        ]
        rest = [lane for lane in lanes if lane not in single]
        parts = [list(range(len(rest)))] if rest else []
        if kind is Loss and rest:
            parts = like_lengths(
                [size_of(lane.request.batch) for lane in rest if isinstance(lane.request, Loss)]
            )
        common = [part[at : at + self.most] for part in parts for at in range(0, len(part), self.most)]
        return [[lane] for lane in single] + [[rest[place] for place in part] for part in common]

    def _train(self, lanes: Sequence[Lane]) -> None:
        """Losses, and then gradients, of lanes that all wait for a loss."""
        batches = [lane.request.batch for lane in lanes if isinstance(lane.request, Loss)]
        going: list[Lane] = []
        try:
            began = self._clock()
            with self._acting(lanes, max(map(rows_of, batches))) as host:
                host.model.train()
                found = self._losses(_session(lanes[0]), batches)
                seconds = (self._clock() - began) / len(lanes)
                for lane, loss in zip(lanes, found, strict=True):
                    lane.go_on(loss, seconds=seconds)
                del found, loss
                going = [lane for lane in lanes if isinstance(lane.request, Backward)]
                began = self._clock()
                if going:
                    torch.autograd.backward([_part(lane) for lane in going])
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                seconds = (self._clock() - began) / max(1, len(going))
        except Exception as error:
            failure: Exception | None = error.with_traceback(None)  # the traceback holds the step's tensors
        else:
            failure = None
        if failure is not None:
            self._failed(lanes, failure)
            return
        self._note(lanes, batches)
        for lane in going:
            lane.go_on(seconds=seconds)

    def _losses(self, session: Session, batches: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        model: Any = session.tuned.model
        with session.accelerator.autocast():
            if len(batches) == 1:
                return [model(**batches[0]).loss.float()]
            batch = side_by_side(batches, session.pad_id)
            logits = model(**batch).logits.float()
        return list(losses(logits, batch["labels"], [rows_of(own) for own in batches]).unbind())

    def _answer(self, lanes: Sequence[Lane]) -> None:
        """One reply a row of lanes that all wait for answers. Where that fails they wait on, for smaller passes."""
        asked = [lane.request for lane in lanes if isinstance(lane.request, Answers)]
        batches = [request.batch for request in asked]
        session, rows, began = _session(lanes[0]), max(map(rows_of, batches)), self._clock()
        try:
            with torch.no_grad(), self._acting(lanes, rows) as host, session.accelerator.autocast():
                replies = asked[0].answerer(host.model.eval(), side_by_side(batches, session.pad_id))
        except Exception as error:
            self._failed(lanes, error.with_traceback(None))
            return
        seconds = (self._clock() - began) / len(lanes)
        for number, (lane, batch) in enumerate(zip(lanes, batches, strict=True)):
            own: list[Reply] = replies[number * rows : number * rows + rows_of(batch)]
            lane.go_on(own, seconds=seconds)

    @contextmanager
    def _acting(self, lanes: Sequence[Lane], rows: int) -> Iterator[Tuned]:
        """Inside, the first lane's model computes for all of them; a lane by itself is its own model, as it is."""
        host = _session(lanes[0]).tuned
        if len(lanes) == 1:
            yield host
            return
        values = stacked([_session(lane).tuned for lane in lanes])
        with acting(owners_of(host), values, len(lanes), rows):
            yield host

    def _failed(self, lanes: Sequence[Lane], error: Exception) -> None:
        """A pass raised. A lane by itself has the error. Of several, those whose step has begun take it again: in
        smaller passes where the device had no room, one by one after any other error."""
        if len(lanes) == 1:
            lanes[0].go_on(error=error)
            return
        reason = " ".join(str(error).splitlines()[:1])
        if isinstance(error, torch.OutOfMemoryError):
            self.most = (len(lanes) + 1) // 2
            what = f"out of memory with {len(lanes)} lanes at once ({reason}): from there on {self.most}"
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        else:
            what = f"{len(lanes)} lanes cannot be computed at once ({type(error).__name__}: {reason}): one by one"
            for lane in lanes:
                lane.alone = True
        say(f"lanes: {what}.")
        for lane in lanes:
            if isinstance(lane.request, Loss | Backward):
                lane.go_on(error=TakeAgain(what))

    def _note(self, lanes: Sequence[Lane], batches: Sequence[dict[str, Tensor]]) -> None:
        """Count padding, and keep what records say of the group."""
        if lanes[0].alone:
            return  # no common pass
        sizes = [size_of(batch) for batch in batches]
        own = sum(rows * tokens for rows, tokens in sizes)
        self._own_tokens += own
        self._all_tokens += round(own / (1 - padding(sizes)))
        most = max(len(lanes), self._stand.together.lanes)
        self._stand.together = Together(most, self.padding_fraction)


def _tokens(lane: Lane) -> int:
    """Tokens, padding and all, of the batch whose loss a lane waits for."""
    assert isinstance(lane.request, Loss)
    return prod(size_of(lane.request.batch))


def _part(lane: Lane) -> Tensor:
    assert isinstance(lane.request, Backward)
    return lane.request.part


def _session(lane: Lane) -> Session:
    assert lane.session is not None
    return lane.session


@torch.no_grad()
def _shared(first: Tuned, other: Tuned) -> bool:
    """Whether all that does not train is the same; it is one tensor then."""
    theirs, own = first.frozen(), dict(other.model.named_parameters())
    if theirs.keys() != own.keys() - other.trained_names:
        return False
    if not all(torch.equal(theirs[name], own[name]) for name in theirs):
        return False
    for name, tensor in theirs.items():
        own[name].data = tensor
    return True


def _reads_odds_in_parts(lane: Lane) -> bool:
    """Whether answers ask the output layer for some rows at a time while a trained module is there or hangs on it."""
    session = _session(lane)
    if session.backbone.form != "text":
        return False
    tuned = session.tuned
    sites = [attachment.site.module for attachment in tuned.installed.attachments]
    owners = [name.rpartition(".")[0] for name in tuned.trained_names]
    return any(name in HEAD for name in (*sites, *owners))
