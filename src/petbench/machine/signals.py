"""Stop signals: SIGINT, SIGTERM and SIGHUP end a command alike, at once or at a point that it can resume from.

Python runs signal handlers in the main thread between two bytecodes, so an error raised there may surface
anywhere. A training loop is therefore `held`: a signal waits until the loop asks with `check`, between steps.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

STOPS = tuple(getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n))
# Signals by which a scheduler warns. A handler that is set for one (submitit's queues the job again) is called as
# soon as the run can resume from where it is; without a handler they are left alone.
WARNINGS = tuple(getattr(signal, n) for n in ("SIGUSR1", "SIGUSR2") if hasattr(signal, n))
PATIENCE_SECONDS = 1.0  # a Ctrl-C at least this long after the first signal: a person will not wait


class Interrupted(KeyboardInterrupt):
    """A stop signal came. A KeyboardInterrupt, so that what cleans up after Ctrl-C cleans up after all of them."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


@dataclass
class _State:
    """Which signal came, and who is to be told. There is one state, since signals belong to the process."""

    asked: int | None = None
    asked_at: float = 0.0
    raised: bool = False
    held: bool = False
    passed_on: int | None = None  # what other threads are to hear of
    first: Callable[[], None] | None = None
    others: dict[int, Any] | None = None  # handlers of WARNINGS that somebody else set; None: not installed


_state = _State()


def exit_status(stop: KeyboardInterrupt) -> int:
    """128 + the signal's number: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (stop.number if isinstance(stop, Interrupted) else int(signal.SIGINT))


@contextmanager
def stop_signals() -> Iterator[None]:
    """Inside, a stop signal raises Interrupted in the main thread. One that is ignored (nohup) stays ignored.

    Inside another such block, or in another thread, this changes nothing.
    """
    global _state
    if _state.others is not None or not _in_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (*STOPS, *WARNINGS)}
    taken = [number for number in STOPS if before[number] not in (signal.SIG_IGN, None)]
    taken += [number for number in WARNINGS if callable(before[number])]
    _state = _State(others={number: before[number] for number in taken if number in WARNINGS})
    for number in taken:
        signal.signal(number, _arrived)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
        _state = _State()


@contextmanager
def held() -> Iterator[None]:
    """Inside, a stop signal waits for `check`, `at_once` or the end. A second Ctrl-C does not wait."""
    if not _in_main_thread():
        yield
        check()
        return
    before, _state.held = _state.held, True
    try:
        yield
    finally:
        _state.held = before
    check()


@contextmanager
def at_once() -> Iterator[None]:
    """Inside `held`, a part that may be cut anywhere: a signal raises in it, also one that came before."""
    if not _in_main_thread():
        check()
        yield
        return
    before, _state.held = _state.held, False
    try:
        check()
        yield
    finally:
        _state.held = before


def check() -> None:
    """Raise for a signal that came while it was held; in another thread than the main one, for what was passed on."""
    if not _in_main_thread():
        if _state.passed_on is not None:
            raise Interrupted(_state.passed_on)
        return
    if _state.asked is not None and not _state.raised:
        _raise(_state.asked)


def pass_on() -> None:
    """Let `check` raise in other threads for the signal that came: a group of runs stops at one and the same step."""
    _state.passed_on = _state.asked


def asked() -> Interrupted | None:
    """The stop that was asked for, raised or not yet; None when none was."""
    return None if _state.asked is None or _state.asked in WARNINGS else Interrupted(_state.asked)


@contextmanager
def before_stopping(action: Callable[[], None]) -> Iterator[None]:
    """Inside, `action` runs when a stop signal comes, before that raises: a parent can let its workers save."""
    before, _state.first = _state.first, action
    try:
        yield
    finally:
        _state.first = before


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _arrived(number: int, frame: FrameType | None) -> None:
    if _state.asked is None:
        _state.asked, _state.asked_at = number, time.monotonic()
        if _state.first is not None:
            _state.first()
        if not _state.held:
            _raise(number)
    elif number == signal.SIGINT and time.monotonic() - _state.asked_at > PATIENCE_SECONDS:
        raise Interrupted(number)


def _raise(number: int) -> None:
    _state.raised = True
    other = (_state.others or {}).get(number)
    if other is None:
        raise Interrupted(number)
    _state.asked, _state.raised = None, False  # its handler decides, and may let the run continue
    other(number, None)
