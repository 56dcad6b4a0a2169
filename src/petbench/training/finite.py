"""Finite: whether a run may go on with its trained values."""

from collections.abc import Iterable

import torch
from torch import Tensor

# A value whose square is no float32 is as good as infinite: norms and second moments of it are.
LARGEST = float(torch.finfo(torch.float32).max) ** 0.5  # 1.8e19


@torch.no_grad()
def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no entry is NaN, infinite or beyond LARGEST. The device is waited for once."""
    peaks = [tensor.abs().amax().float() for tensor in tensors if tensor.numel()]
    return not peaks or bool((torch.stack(peaks) < LARGEST).all())  # NaN is smaller than nothing
