"""Claims: at most one process trains a run at a time, and a dead owner's claim is taken over.

Two things in a run's folder say who owns it. A lock on `.claim.lock`, held while the run trains: the kernel releases
it when its owner ends, and it works between the containers of one machine. And `claim.json`, which names the owner
and which the owner touches every few seconds: on file systems whose locks do not reach other machines it is the only
sign.

So the lock decides about a claim of this machine (known by its boot id), and any other claim is watched: while its
file changes, its owner is alive, whatever time either clock shows. An owner that slept too long may lose its claim
all the same; it finds out before its next step and stops without writing.
"""

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from petbench.console import say
from petbench.errors import RunError
from petbench.files import unwritable, write_text
from petbench.training.claim_file import CLAIM_FILE, Owner, boot, read, space, this_process

LOCK_FILE = ".claim.lock"
HEARTBEAT_SECONDS = 5.0
DEAD_AFTER_SECONDS = 60.0  # another machine's claim is dead when it did not change for so long
LOCK_SECONDS = 1.0  # another process that checks the lock holds it for a moment
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}  # what file systems without locks answer


class Busy(RunError):
    """Another live process is training this run."""


class Claim:
    """A claim that this process holds."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CLAIM_FILE
        self._own = this_process()
        self.taken_by: Owner | None = None
        self._beaten = 0.0
        self._write()

    def require(self) -> None:
        """Raise Busy when another process has taken the run over. The claim file is read only where this process has
        missed its heartbeat."""
        if _now() - self._beaten > 2 * HEARTBEAT_SECONDS:
            self.beat()
        if self.taken_by is not None:
            raise Busy(
                f"run {self._path.parent.name} was taken over by another process ({self.taken_by}) while this one "
                "slept: this process stops here and leaves the run to the other."
            )

    def beat(self) -> None:
        """Touch the claim file; write it again where it is missing or broken; note an owner that has taken it."""
        with contextlib.suppress(OSError, RunError):
            found = read(self._path)
            if found is not None and found[0].token not in ("", self._own.token):
                self.taken_by = found[0]
            elif found is not None and found[0].token:
                os.utime(self._path, follow_symlinks=False)
            elif self._path.parent.is_dir():
                self._write()
            self._beaten = _now()

    def give_back(self) -> None:
        """Remove the claim, unless another process has taken it over."""
        with contextlib.suppress(OSError):
            found = read(self._path)
            if found is not None and found[0].token == self._own.token:
                self._path.unlink()

    def _write(self) -> None:
        write_text(self._path, json.dumps(asdict(self._own) | {"since": time.time()}))
        self._beaten = _now()


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Hold the claim on a run's folder. Raises Busy when another live process holds it (a claim of another machine
    is watched for a minute at most), and as `files.unwritable` says when the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder, LOCK_SECONDS)
    except Timeout as error:
        found = read(folder / CLAIM_FILE)
        raise _busy(folder, None if found is None else found[0]) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        _watch(folder, lock is not None)
        claim, stop = Claim(folder), threading.Event()
        beat = threading.Thread(target=_beat, args=(claim, stop), daemon=True)
        beat.start()
        try:
            yield claim
        finally:
            stop.set()
            beat.join()
            claim.give_back()
    finally:
        if lock is not None:
            lock.release()


def owner(folder: Path) -> str | None:
    """`host, process 123` of the live process that holds a run; None when nobody does."""
    holder = _holder(folder)
    return None if holder is None else str(holder)


def owner_here(folder: Path) -> int | None:
    """The number of the live process that holds a run; None unless it is of this machine and pid namespace."""
    holder = _holder(folder)
    here = holder is not None and (holder.boot, holder.space) == (boot(), space())
    return holder.pid if here and holder is not None else None


def _holder(folder: Path) -> Owner | None:
    """Who holds a run, as far as can be told without waiting: the owner of another machine's claim counts as alive
    until this process has seen the claim unchanged for DEAD_AFTER_SECONDS."""
    path = folder / CLAIM_FILE
    found = read(path)
    if found is None:
        return None
    locked = _is_locked(folder) if found[0].boot == boot() else None
    alive = not _rests(path, found[1]) if locked is None else locked
    return found[0] if alive else None


def _watch(folder: Path, has_lock: bool) -> None:
    """Wait until the claim that is there is known to be dead. Raises Busy when it changes."""
    path = folder / CLAIM_FILE
    first = found = read(path)
    if first is None or (has_lock and first[0].boot == boot()):
        return  # a living owner would hold the lock
    if not _rests(path, first[1]):
        say(
            f"run {folder.name} has a claim ({first[0]}): waiting up to {DEAD_AFTER_SECONDS:.0f} s for a sign of life."
        )
    while found is not None and not _rests(path, found[1]):
        if found[1] != first[1]:
            raise _busy(folder, found[0])
        time.sleep(HEARTBEAT_SECONDS / 20)
        found = read(path)


_SEEN: dict[Path, tuple[object, float]] = {}  # claim -> how it looked, and since when it looks so


def _rests(path: Path, look: object) -> bool:
    """Whether a claim has stayed unchanged for longer than a living owner would leave it."""
    now = time.monotonic()
    before = _SEEN.get(path)
    if before is None or before[0] != look:
        _SEEN[path] = (look, now)
        return False
    return now - before[1] >= DEAD_AFTER_SECONDS


def _lock(folder: Path, seconds: float) -> FileLock | None:
    """The held lock; None where the file system has none. Raises Timeout when another holds it, OSError."""
    lock = FileLock(folder / LOCK_FILE, thread_local=False)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.01)
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return lock


def _is_locked(folder: Path) -> bool | None:
    """Whether somebody holds the lock; None where that cannot be known."""
    try:
        lock = _lock(folder, 0)
    except Timeout:
        return True
    except OSError:  # another user's folder
        return None
    if lock is None:
        return None
    lock.release()
    return False


def _busy(folder: Path, holder: Owner | None) -> Busy:
    named = "" if holder is None else f" ({holder})"
    return Busy(f"run {folder.name} is being trained by another process{named}.")


def _beat(claim: Claim, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        claim.beat()


def _now() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
