"""A tensor plus a product with a low-rank matrix, in the forms that BLAS computes fastest.

down is (r, d_in), up (d_out, r), both as PyTorch stores linear weights; x has d_in features in its last
dimension, base d_out.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def lowrank_product(x: Tensor, down: Tensor, up: Tensor, base: Tensor, scale: float = 1.0) -> Tensor:
    """base + scale · x downᵀ upᵀ. x (..., d_in), base (..., d_out) -> (..., d_out)."""
    middle = F.linear(x, down)  # (..., r): all that is kept for the backward pass besides x
    if not torch.is_grad_enabled():
        return torch.add(base, F.linear(middle, up), alpha=scale)
    if middle.dtype != base.dtype or (
        base.dtype == torch.float32 and torch.is_autocast_enabled(x.device.type)
    ):
        return base + F.linear(middle * scale, up)  # in one call autocast would round the base
    # With upᵀ stored row by row, (r, d_out), the two backward products are several times as fast for small r.
    wide = up.t().contiguous()
    flat = torch.addmm(base.reshape(-1, up.shape[0]), middle.reshape(-1, up.shape[1]), wide, alpha=scale)
    return flat.view_as(base)


def thin_product(middle: Tensor, up: Tensor, base: Tensor) -> Tensor:
    """base + middle upᵀ, one operation where dtypes are equal. middle (..., k), up (d_out, k), base (..., d_out)."""
    rows = middle.reshape(-1, up.shape[1])
    if base.dtype != up.dtype:
        return base + (rows @ up.t()).view_as(base)
    return torch.addmm(base.reshape(-1, len(up)), rows, up.t()).view_as(base)
