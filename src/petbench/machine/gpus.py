"""The machine's GPUs: which this process may use, which job gets which, and a warning where none is seen."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")  # one entry a GPU, whatever a process may see


def present(driver: Path = DRIVER) -> int:
    """How many NVIDIA GPUs the machine has; 0 where the driver does not say (not Linux, no driver)."""
    try:
        return len(list(driver.iterdir()))
    except OSError:
        return 0


def usable(environment: Mapping[str, str], number: int) -> tuple[str, ...]:
    """The GPUs that a process with this environment may use, as CUDA_VISIBLE_DEVICES names them.

    number: of GPUs in the machine. As CUDA reads the variable: all GPUs where it is unset; otherwise its entries up
    to the first that is no GPU (an index out of range, or -1; names such as GPU-… and MIG-… are taken as they are).
    """
    said = environment.get(VISIBLE)
    if said is None:
        return tuple(map(str, range(number)))
    found: list[str] = []
    for entry in map(str.strip, said.split(",")):
        is_index = entry.lstrip("-").isdigit()
        if not entry or entry in found or (is_index and not 0 <= int(entry) < number):
            break
        found.append(entry)
    return tuple(found)


def turn(gpus: Sequence[str], job: int) -> str | None:
    """The GPU of a sweep's job, whose number counts from 0: jobs take GPUs in turn. None where there are no GPUs."""
    return gpus[job % len(gpus)] if gpus else None


def take(gpu: str) -> None:
    """Let this process see one GPU and no other. To be called before CUDA starts: afterwards it has no effect."""
    os.environ[VISIBLE] = gpu


def unseen(wanted: str, used: str, number: int, environment: Mapping[str, str]) -> str:
    """The warning for a run that trains on the CPU of a machine with GPUs; empty where none is needed.

    wanted: trainer.device; used: the type of the device that was chosen.
    """
    if wanted != "auto" or used != "cpu" or not number:
        return ""
    hidden = f"{VISIBLE} is '{environment[VISIBLE]}'" if VISIBLE in environment else "torch sees none of them"
    return (
        f"this run trains on the CPU, though the machine has {number} GPU{'s' * (number > 1)}: {hidden}. "
        "Let it see one, or say trainer.device=cpu (`petbench doctor` shows which job gets which)."
    )
