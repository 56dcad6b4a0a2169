"""Dense bottleneck adapters in series with a sublayer: houlsby, pfeiffer, pfeiffer_attn, adapter_drop.

    h' = h + σ(h D + b_D) U + b_U        D (d, b), U (b, d), σ = gelu_new

2·d·b + b + d parameters an adapter; h is the sublayer's output before its dropout and residual.

    houlsby        after self-attention and after the FFN (Houlsby et al. 2019, arXiv 1902.00751)
    pfeiffer       after the FFN alone (Pfeiffer et al. 2021, arXiv 2005.00247)
    pfeiffer_attn  after self-attention alone: what the Compacter paper (arXiv 2106.04647) calls Pfeiffer
    adapter_drop   as houlsby, but none in the first layers of each stack (Rücklé et al. 2021, arXiv 2010.11918)

As in the Compacter paper no adapter follows cross-attention: T5-base has 48, 24, 24 and 28 of them. Weights are
N(0, std 0.01), biases 0, so step 0 is near the backbone and not equal to it. All layer norms train too
(`train_norms`). These adapters do not merge: σ is not linear.
"""

import math
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.methods.bottleneck_base import (
    AbstractBottleneck,
    B,
    BottleneckSpec,
    Projection,
    Projector,
)
from petbench.adapters.registry import register
from petbench.errors import UserError
from petbench.models.sites import Site


class HoulsbySpec(BottleneckSpec):
    """houlsby's hyper-parameters: those of every bottleneck adapter."""


class PfeifferSpec(BottleneckSpec):
    """pfeiffer's and pfeiffer_attn's hyper-parameters: those of every bottleneck adapter."""


class AdapterDropSpec(BottleneckSpec):
    """skip_first: how many layers at the start of each stack have no adapter.

    auto: the paper's share, 5 of 12, rounded up: 3 of 6, 1 of 2.
    """

    skip_first: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"


class DenseProjection(Projection):
    """A dense W, drawn from N(0, std 0.01); weight is stored (d_out, d_in)."""

    folds = False

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__(d_out)
        self.weight = nn.Parameter(torch.empty(d_out, d_in))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def dense(self) -> Tensor:
        return self.weight

    def factors(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def all_dense(self, *factors: Tensor) -> Tensor:
        return factors[0]


class AbstractDenseBottleneck(AbstractBottleneck[B]):
    """A bottleneck method whose D and U are dense."""

    def projector(self, spec: B) -> Projector:
        return DenseProjection

    def check(self, spec: B, site: Site, width: int) -> None:
        """Every width fits."""

    def projection_params(self, spec: B, d_in: int, d_out: int) -> int:
        return d_in * d_out + d_out

    def shared_params(self, spec: B) -> int:
        return 0

    def options(self, spec: B, d: int) -> Iterable[dict[str, int]]:
        return ({"bottleneck_dim": width} for width in range(1, d + 1))


@register
class Houlsby(AbstractDenseBottleneck[HoulsbySpec]):
    """After self-attention and after the FFN."""

    name = "houlsby"
    Spec = HoulsbySpec


@register
class Pfeiffer(AbstractDenseBottleneck[PfeifferSpec]):
    """After the FFN."""

    name = "pfeiffer"
    Spec = PfeifferSpec
    roles = ("ffn_output",)


@register
class PfeifferAttention(AbstractDenseBottleneck[PfeifferSpec]):
    """After self-attention."""

    name = "pfeiffer_attn"
    Spec = PfeifferSpec
    roles = ("attention_output",)


@register
class AdapterDrop(AbstractDenseBottleneck[AdapterDropSpec]):
    """houlsby without the first layers."""

    name = "adapter_drop"
    Spec = AdapterDropSpec

    def skipped_layers(self, spec: AdapterDropSpec, count: int) -> int:
        skip = math.ceil(count * 5 / 12) if spec.skip_first == "auto" else spec.skip_first
        if skip >= count:
            raise UserError(
                f"adapter.skip_first {skip} leaves no layer: a stack of this model has {count}. "
                f"Legal: auto or 0 to {count - 1}."
            )
        return skip
