"""Workers: processes of a launcher on this machine end with the process that started them, and save first.

A worker asks once a second whether its parent is still there (by number and start time, so it works on every
system and for grandchildren: submitit puts a process between), and takes the parent's end as SIGTERM. A parent
that is stopped itself asks its workers to stop and waits until they have saved; joblib would kill them.
Jobs of a cluster have no parent here: they go on, and `scancel` stops them (SIGTERM).

The parent's GPUs take turns: a worker process gets one for all its runs, by the number of its first one.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from hydra.core.hydra_config import HydraConfig

from petbench.machine.gpus import present, take, turn, usable
from petbench.machine.signals import exit_status, stop_signals
from petbench.training.claim import owner_here
from petbench.training.claim_file import started

LOOK_SECONDS = 1.0  # between a worker's looks at its parent
_gpu: str | None = None  # that this process took

SAVE_SECONDS = 30.0  # that a parent waits for its workers; as long as SLURM and torchrun wait after SIGTERM


@dataclass(frozen=True)
class Worker:
    """A launcher's task that ends with the process it was made in. Called there, it is the plain task."""

    task: Callable[[Any], Any]
    parent: int  # number of the process
    started: float | None  # when it started
    gpus: tuple[str, ...] = ()  # that it may use

    def __call__(self, config: Any) -> Any:
        if os.getpid() == self.parent:
            return self.task(config)
        _take_turn(self.gpus)
        try:
            with stop_signals(), _ending_with(self.parent, self.started):
                return self.task(config)
        except KeyboardInterrupt as stop:
            # Nobody waits for the result, and the launcher's loop would take the next task.
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(exit_status(stop))


def worker(task: Callable[[Any], Any]) -> Worker:
    """The task, to end with this process and to share its GPUs."""
    return Worker(task, os.getpid(), started(os.getpid()), usable(os.environ, present()))


def _take_turn(gpus: tuple[str, ...]) -> None:
    """See the GPU whose turn it is, whatever the launcher hid: submitit hides all, or shows each job the first."""
    global _gpu
    if gpus and _gpu is None:  # a process that has runs behind it has started CUDA, and keeps its own
        _gpu = turn(gpus, HydraConfig.get().job.num)
        take(str(_gpu))


def stop_workers(results_dir: Path) -> None:
    """Ask every process below this one that trains a run of the folder to stop, and wait until they have ended."""
    below = {process.pid for process in psutil.Process().children(recursive=True)}
    claims = [owner_here(path) for path in results_dir.glob("runs/*")]
    asked = {pid: started(pid) for pid in claims if pid is not None and pid in below}
    for pid in asked:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + SAVE_SECONDS
    while time.monotonic() < end and any(began and started(pid) == began for pid, began in asked.items()):
        time.sleep(0.1)


@contextmanager
def _ending_with(parent: int, began: float | None) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            if started(parent) != began:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
