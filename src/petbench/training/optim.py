"""AdamW with warm-up and decay over exactly the parameters that train."""

import math
from collections.abc import Collection, Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from petbench.config.sections import OptimSpec


def make_optimizer(
    named: Iterable[tuple[str, nn.Parameter]], spec: OptimSpec, vectors: Collection[str] = ()
) -> torch.optim.AdamW:
    """Weight decay acts on what multiplies an input: matrices and their factors.

    It skips biases, norms, scales and prompts: parameters of one dimension, and those named in `vectors`,
    which count as vectors although they have more dimensions.
    """
    decayed: list[nn.Parameter] = []
    left: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            (left if parameter.dim() < 2 or name in vectors else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": left, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        # One operation for all tensors on a GPU; a CPU keeps the plain form, which gave the committed records.
        fused=True if all(parameter.is_cuda for parameter in decayed + left) else None,
        lr=spec.lr,
        betas=(spec.beta1, spec.beta2),
        eps=spec.eps,
    )


def warmup_steps(spec: OptimSpec, steps: int) -> int:
    """Steps of linear warm-up. A ratio is rounded, with at least one step left over; for linear_hf it is rounded up."""
    if spec.schedule == "linear_hf":
        return math.ceil(spec.warmup_ratio * steps) if spec.warmup_steps is None else spec.warmup_steps
    wanted = spec.warmup_steps if spec.warmup_steps is not None else round(spec.warmup_ratio * steps)
    return min(wanted, max(steps - 1, 0))


def make_schedule(optimizer: torch.optim.Optimizer, spec: OptimSpec, steps: int) -> LambdaLR:
    """Factor on the learning rate at step t (from 0) of T, with w steps of warm-up.

    linear: (t+1)/w in warm-up, then (T-t)/(T-w), so to 1/(T-w) in the last step. constant: the same warm-up, then 1.
    linear_hf: t/w in warm-up, as transformers' linear schedule, so the first step has rate zero.
    """
    warmup = warmup_steps(spec, steps)
    first = 0 if spec.schedule == "linear_hf" else 1

    def factor(step: int) -> float:
        if step < warmup:
            return (step + first) / warmup
        if spec.schedule == "constant":
            return 1.0
        return max(0.0, (steps - step) / max(1, steps - warmup))

    return LambdaLR(optimizer, factor)
