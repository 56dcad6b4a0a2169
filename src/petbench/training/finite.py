"""Finite: whether a run may go on with its trained values."""

from collections.abc import Iterable

import torch
from torch import Tensor

# A value whose square overflows float32 counts as infinite, since its norm and second moment are.
LARGEST = float(torch.finfo(torch.float32).max) ** 0.5  # 1.8e19


@torch.no_grad()
def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no entry is NaN, infinite or beyond LARGEST. The device is waited for once."""
    peaks = [tensor.abs().amax().float() for tensor in tensors if tensor.numel()]
    return not peaks or bool((torch.stack(peaks) < LARGEST).all())  # NaN < LARGEST is False
