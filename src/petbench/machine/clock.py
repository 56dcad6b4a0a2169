"""How long steps take, and the peak of memory."""

import ctypes
import gc
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from petbench.machine.devices import T


class StepClock:
    """Seconds of each training step, from drawing its batch on; evaluation excluded.

    On CUDA the device records the times as it works, and is waited for only when `seconds` is read.
    """

    def __init__(
        self,
        device: torch.device,
        earlier: list[float] | None = None,
        host: Callable[[], float] | None = None,
    ) -> None:
        """earlier: seconds of steps before a stop. host: the clock, in seconds, of a device that keeps
        none; the process's own where it is not given."""
        self._seconds: list[float] = list(earlier or [])
        self._on_cuda = device.type == "cuda"
        self._host = host or time.perf_counter
        self._started: Any = None
        self._unread: list[tuple[Any, Any]] = []  # of steps on CUDA: two events each

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """`batches`, each drawn after the clock has started: collating and moving them is part of the step."""
        source = iter(batches)
        while True:
            self._started = self._now()
            try:
                batch = next(source)
            except StopIteration:
                return
            yield batch

    def stop(self) -> None:
        """Called when the step is done."""
        if self._on_cuda:
            self._unread.append((self._started, self._now()))
        else:
            self._seconds.append(self._now() - self._started)

    def _now(self) -> Any:
        if not self._on_cuda:
            return self._host()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @property
    def seconds(self) -> list[float]:
        """Seconds of each step so far."""
        if self._unread:
            self._unread[-1][1].synchronize()
            self._seconds += [start.elapsed_time(stop) / 1000 for start, stop in self._unread]
            self._unread.clear()
        return self._seconds

    @property
    def total(self) -> float:
        """Seconds of all steps so far."""
        return sum(self.seconds)

    def median(self, skip: int = 3) -> float | None:
        """Median step, the first steps (warm-up of caches and allocators) left out where there are enough."""
        seconds = self.seconds
        steps = sorted(seconds[skip:] if len(seconds) > 2 * skip else seconds)
        if not steps:
            return None
        middle = len(steps) // 2
        return steps[middle] if len(steps) % 2 else (steps[middle - 1] + steps[middle]) / 2


def reset_peak_memory(device: torch.device) -> None:
    """Measure the peak from here on, so that a run's peak is not that of an earlier run of the process.

    Dead models are freed first: hooks and adapters refer to each other, so only a garbage collection frees them.
    On Linux the C library returns its free memory, then the kernel resets the peak; elsewhere a CPU process has
    one peak for its whole life.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):  # not Linux, not glibc, or a container that forbids it
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Peak bytes since the reset. CUDA: allocated memory. CPU: the resident set, Python and torch included."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    import resource  # not everywhere: Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if platform.system() == "Darwin" else peak * 1024)
