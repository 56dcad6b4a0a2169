"""Workers, the processes of a launcher on this machine: they save and end when the process that started them ends.

A worker checks once a second whether its parent still runs (by process number and start time, which works on every
system and for grandchildren: submitit has a process in between). When the parent has ended, the worker acts as on
SIGTERM. A parent that is stopped asks its workers to stop and waits until they have saved; joblib would kill them.
Jobs of a cluster have no parent on this machine: they go on, and `scancel` stops them (SIGTERM).

The parent's GPUs are assigned in turn: a worker process gets one GPU for all its runs, by the number of its first run.
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

LOOK_SECONDS = 1.0  # between two checks of a worker whether its parent runs
_gpu: str | None = None  # the GPU that this process uses

SAVE_SECONDS = 30.0  # how long a parent waits for its workers; SLURM and torchrun wait as long after SIGTERM


@dataclass(frozen=True)
class Worker:
    """A launcher's task that ends when the process that made it ends. Called in that process, it is the plain task."""

    task: Callable[[Any], Any]
    parent: int  # process number of the parent
    started: float | None  # when the parent started
    gpus: tuple[str, ...] = ()  # the GPUs that the parent may use

    def __call__(self, config: Any) -> Any:
        if os.getpid() == self.parent:
            return self.task(config)
        _take_turn(self.gpus)
        try:
            with stop_signals(), _ending_with(self.parent, self.started):
                return self.task(config)
        except KeyboardInterrupt as stop:
            # The parent has ended, and without this exit the launcher's loop would start the next task.
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(exit_status(stop))


def worker(task: Callable[[Any], Any]) -> Worker:
    """The task, made to end with this process and to use its GPUs in turn."""
    return Worker(task, os.getpid(), started(os.getpid()), usable(os.environ, present()))


def _take_turn(gpus: tuple[str, ...]) -> None:
    """Use the GPU whose turn it is, whatever the launcher hides: submitit hides all, or shows each job the first."""
    global _gpu
    if gpus and _gpu is None:  # a process that has run before has started CUDA and keeps its GPU
        _gpu = turn(gpus, HydraConfig.get().job.num)
        take(str(_gpu))


def stop_workers(results_dir: Path) -> None:
    """Ask all descendants of this process that train a run of the folder to stop, and wait until they have ended."""
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
