"""Runtime: device, precision, threads, seeds, step clock, memory and provenance of the machine."""

import ctypes
import gc
import hashlib
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from petbench.config import TrainerSpec
from petbench.errors import UserError

T = TypeVar("T")

VERSIONED = (
    "petbench", "torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "hydra-core",
    "tokenizers", "numpy",
)  # fmt: skip


def choose_device(wanted: str) -> torch.device:
    """auto: CUDA where there is one. Raises UserError when CUDA is wanted and absent."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("trainer.device: got 'cuda' but no CUDA device is visible. Use trainer.device=cpu.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device) -> Literal["fp32", "bf16"]:
    """auto: bf16 autocast where the hardware multiplies bf16 itself (CUDA from Ampere on, CPUs with AMX or
    AVX512-BF16), else fp32. Weights of adapters and head stay in float32 either way."""
    if wanted != "auto":
        return wanted  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp32"
    return "bf16" if _cpu_multiplies_bf16() else "fp32"


@cache
def _cpu_multiplies_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def require_threads(spec: TrainerSpec) -> None:
    """Raise UserError for more threads than this machine has cores."""
    cores = os.cpu_count() or 1
    if spec.threads is not None and spec.threads > cores:
        raise UserError(
            f"trainer.threads: got {spec.threads}. Legal: null or 1 to {cores}, this machine's cores."
        )


def prepare_process(spec: TrainerSpec) -> None:
    """Threads, determinism and float32 as this run wants them, whatever an earlier run of the process wanted.

    Determinism is strict: an operation without a deterministic form raises. A mere warning would let cuDNN's
    attention in, and the nondeterministic backward pass of the others. TF32 is off: fp32 is float32.
    """
    if spec.threads is not None:  # a run that is only loaded may come from a machine with more cores
        torch.set_num_threads(min(spec.threads, os.cpu_count() or 1))
    # Also for runs that need no determinism: cuBLAS reads it once, and a later run of the process may need it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(spec.deterministic)
    # Else every new tensor would be written once more.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def uses_tf32() -> bool:
    """Whether float32 products on CUDA may be rounded to TF32."""
    return bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)


def derive_seed(seed: int, purpose: str) -> int:
    """Independent seeds from one: the head's values must not change when the data order does."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:4], "big")


class StepClock:
    """Seconds of each training step, from drawing its batch on; evaluation excluded.

    On CUDA it waits for the device at both ends.
    """

    def __init__(self, device: torch.device, earlier: list[float] | None = None) -> None:
        self.seconds: list[float] = list(earlier or [])
        self._wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
        self._started = 0.0

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """`batches`, each drawn after the clock has started: collating and moving them is part of the step."""
        source = iter(batches)
        while True:
            self._wait()
            self._started = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            yield batch

    def stop(self) -> None:
        """The step is done."""
        self._wait()
        self.seconds.append(time.perf_counter() - self._started)

    @property
    def total(self) -> float:
        """Seconds of all steps so far."""
        return sum(self.seconds)

    def median(self, skip: int = 3) -> float | None:
        """Median step, the first steps (warm-up of caches and allocators) left out where there are enough."""
        steps = sorted(self.seconds[skip:] if len(self.seconds) > 2 * skip else self.seconds)
        if not steps:
            return None
        middle = len(steps) // 2
        return steps[middle] if len(steps) % 2 else (steps[middle - 1] + steps[middle]) / 2


def reset_peak_memory(device: torch.device) -> None:
    """Count the peak from here, so that a run's does not hold that of an earlier run of the process.

    Dead models go first: hooks and adapters refer to each other, so only a collection frees them.
    Linux forgets the peak when it is asked to, once the C library gave back what is free; elsewhere a CPU
    process has one peak for its whole life.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):  # not Linux, not glibc, or a container that forbids it
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def free_dead_model() -> None:
    """Give back a finished run's memory, also a device's: only a collection frees what refers to itself.

    The first time, all that is alive then (modules, for the most part) is left out of later collections, which
    take a millisecond instead of 0.4 s.
    """
    gc.collect()
    if gc.get_freeze_count() == 0:
        gc.freeze()


def peak_memory_bytes(device: torch.device) -> int:
    """Peak since the reset. CUDA: allocated bytes. CPU: the resident set, which Python and torch are part of."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if platform.system() == "Darwin" else peak * 1024)


def versions() -> dict[str, str]:
    """Versions of the packages that a number depends on, and of Python."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def git_state() -> dict[str, Any]:
    """Commit and dirtiness of petbench's own checkout; empty when it runs from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        dirty = bool(_git(root, "status", "--porcelain", "--", "src", "conf"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "dirty": dirty}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def device_name(device: torch.device) -> str:
    """The device as a person would name it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
