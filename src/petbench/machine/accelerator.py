"""Accelerate, set up for one run, whatever an earlier run of the same process needed."""

from typing import Literal

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from petbench.config.sections import TrainerSpec
from petbench.machine.devices import choose_device, choose_precision, prepare_process


def accelerator_for(spec: TrainerSpec, device: str) -> tuple[Accelerator, Literal["fp32", "bf16"]]:
    """Set threads and determinism, choose device and precision; gives Accelerate and the precision that is used.

    device: auto, cpu or cuda. Raises UserError when the device is not there.
    """
    prepare_process(spec)
    place = choose_device(device)
    precision = choose_precision(spec.precision, place)
    AcceleratorState._reset_state(reset_partial_state=True)  # else the state of the process's first run stays
    mixed = "bf16" if precision == "bf16" else "no"
    return Accelerator(mixed_precision=mixed, cpu=place.type == "cpu"), precision
