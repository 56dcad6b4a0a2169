"""Claims: at most one process trains a run at a time, and a dead owner's claim is taken over.

`claim.json` in a run's folder names its owner; a thread touches the file while the owner lives. A claim is dead
when its owner's process is gone (same host) or the file has not been touched for a minute (another host).
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petbench.errors import RunError
from petbench.files import unwritable

CLAIM_FILE = "claim.json"
LOCK_FILE = ".claim.lock"
HEARTBEAT_SECONDS = 5.0
DEAD_AFTER_SECONDS = 60.0


class Busy(RunError):
    """Another live process is training this run."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the claim on a run's folder. Raises Busy when another live process holds it, and as
    `atomic.unwritable` says when the folder cannot be written."""
    own = _take(folder)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(folder / CLAIM_FILE, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        _give_back(folder, own)


def owner(folder: Path) -> str | None:
    """`host, process 123` of the live process that holds a run; None when nobody does."""
    holder = _holder(folder)
    return None if holder is None else f"{holder[0]}, process {holder[1]}"


def owner_here(folder: Path) -> int | None:
    """The number of the live process of this machine that holds a run."""
    holder = _holder(folder)
    return holder[1] if holder is not None and holder[0] == socket.gethostname() else None


def _holder(folder: Path) -> tuple[str, int] | None:
    path = folder / CLAIM_FILE
    try:
        claim = json.loads(path.read_text(encoding="utf-8"))
        age = time.time() - path.stat().st_mtime
        host, pid, began = claim["host"], int(claim["pid"]), claim["started"]
    except (OSError, ValueError, TypeError, KeyError):
        return None  # no claim, or one that its owner is just writing under the lock
    alive = started(pid) == began if host == socket.gethostname() else age < DEAD_AFTER_SECONDS
    return (host, pid) if alive else None


def _take(folder: Path) -> str:
    """Write our claim, if nobody alive holds one; returns its text. The lock covers this moment only, not the
    training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            holder = owner(folder)
            if holder is not None:
                raise Busy(f"run {folder.name} is being trained by another process ({holder}).")
            pid = os.getpid()
            claim = {"host": socket.gethostname(), "pid": pid, "started": started(pid), "since": time.time()}
            text = json.dumps(claim)
            (folder / CLAIM_FILE).write_text(text, encoding="utf-8")
            return text
    except OSError as error:
        raise unwritable(folder, error) from error


def _give_back(folder: Path, own: str) -> None:
    """Remove our claim; one that was taken over while this machine slept is another's and stays."""
    with contextlib.suppress(OSError), _locked(folder):
        if (folder / CLAIM_FILE).read_text(encoding="utf-8") == own:
            (folder / CLAIM_FILE).unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


def started(pid: int) -> float | None:
    """When a process started, so that a new process with an old number is not taken for it; None: it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None
