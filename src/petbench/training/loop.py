"""The loop: forward, backward, clip, step, report. It knows no method, no task, no file."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from petbench.machine.clock import StepClock

MicroBatches = Sequence[tuple[float, dict[str, Tensor]]]  # (share of the step's examples, tensors)
Pass = Callable[[dict[str, Tensor], float], Tensor]  # (tensors, share) -> the share of the loss, detached


def eager_pass(accelerator: Accelerator, model: nn.Module, on_loss: Callable[[Tensor], None]) -> Pass:
    """Forward and backward of a micro-batch, operation by operation. on_loss(part): before each backward pass."""

    def go(batch: dict[str, Tensor], share: float) -> Tensor:
        part: Tensor = model(**batch).loss * share
        on_loss(part)
        accelerator.backward(part)
        return part.detach()

    return go


def train(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Any,
    schedule: Any,
    batches: Iterable[MicroBatches],
    *,
    go: Pass,
    clip_norm: float | None,
    clock: StepClock,
    on_gradients: Callable[[Tensor], None],
    after_step: Callable[[], None],
    on_step: Callable[[Tensor], None],
) -> None:
    """One optimiser step for every item of `batches`, which holds the step's micro-batches.

    go: adds a micro-batch's gradients. on_gradients(loss): after the step's last one, before clipping.
    after_step(): the method's own part of a step, before gradients are cleared; the clock still runs.
    on_step(loss): after each step, with the clock stopped. loss is the step's mean, left on the device, so
    that only a caller who reads it waits for it.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    model.train()
    inner = accelerator.unwrap_model(model)  # the one that an evaluation switches
    for micro_batches in clock.timed(batches):
        # Only after an evaluation: going through all modules costs as much as a small step.
        if not inner.training:
            model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=accelerator.device)
        for number, (share, batch) in enumerate(micro_batches, start=1):
            last = number == len(micro_batches)
            with nullcontext() if last else accelerator.no_sync(model):
                loss += go(batch, share)
        on_gradients(loss)
        if clip_norm is not None:
            accelerator.clip_grad_norm_(trained, clip_norm)
        optimizer.step()
        schedule.step()
        after_step()
        clock.stop()
        on_step(loss)
