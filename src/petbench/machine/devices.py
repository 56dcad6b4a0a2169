"""Device, precision, threads and determinism of a run, and freeing the memory of an earlier one."""

import gc
import os
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import torch

from petbench.config.sections import TrainerSpec
from petbench.errors import UserError

T = TypeVar("T")


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
    """Set threads, determinism and float32 for this run, whatever an earlier run of the process needed.

    Determinism is strict: an operation without a deterministic form raises. With warnings alone, cuDNN's attention
    and nondeterministic backward passes of other attention code would run. TF32 is off: fp32 means full float32.
    """
    if spec.threads is not None:  # a run that is only loaded may come from a machine with more cores
        torch.set_num_threads(min(spec.threads, os.cpu_count() or 1))
    # Set for every run: cuBLAS reads it once, and a later run of the process may need determinism.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(spec.deterministic)
    # Else torch would fill every new tensor, at the cost of one more write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def uses_tf32() -> bool:
    """Whether float32 products on CUDA may be rounded to TF32."""
    return bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)


def free_dead_model() -> None:
    """Free a finished run's memory, also on a device: only a garbage collection frees what refers to itself.

    The first call exempts what is alive then (mostly imported modules) from later collections, which so take a
    millisecond instead of 0.4 s.
    """
    gc.collect()
    _leave_out_imports()


@cache
def _leave_out_imports() -> None:
    # `gc.get_freeze_count() == 0` would do for the cache, but it counts object by object: 50 ms.
    gc.freeze()
