"""adapter_lowrank: a bottleneck adapter whose two matrices are products of low rank.

    h' = h + σ(h D + b_D) U + b_U,  D = S T        S (d, r), T (r, b), r = 1; U in the same form

One adapter follows self-attention and one the FFN, as in houlsby; each has 2·r·(d + b) + b + d parameters. Both
factors are Xavier-uniform with gain √2, biases 0. All layer norms train too. It is the Compacter paper's low-rank
baseline.

Mahabadi, Henderson and Ruder, Compacter: Efficient low-rank hypercomplex adapter layers, NeurIPS 2021,
arXiv 2106.04647.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from petbench.adapters.methods.bottleneck_base import (
    AbstractBottleneck,
    BottleneckSpec,
    Projection,
    Projector,
)
from petbench.adapters.registry import register
from petbench.config.sections import PositiveInt
from petbench.errors import UserError
from petbench.models.sites import Site


class LowRankSpec(BottleneckSpec):
    """adapter_lowrank's hyper-parameters; `rank` is r."""

    rank: PositiveInt = 1


class LowRankProjection(Projection):
    """W = S T; S (d_in, r), T (r, d_out)."""

    def __init__(self, d_in: int, d_out: int, rank: int) -> None:
        super().__init__(d_out)
        self.S = nn.Parameter(torch.empty(d_in, rank))
        self.T = nn.Parameter(torch.empty(rank, d_out))
        nn.init.xavier_uniform_(self.S, gain=math.sqrt(2))
        nn.init.xavier_uniform_(self.T, gain=math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.S @ self.T + self.bias

    def dense(self) -> Tensor:
        return (self.S @ self.T).t()

    def factors(self) -> tuple[Tensor, ...]:
        return self.S, self.T

    def all_dense(self, *factors: Tensor) -> Tensor:
        s, t = factors
        return (s @ t).transpose(1, 2)


@register
class AdapterLowRank(AbstractBottleneck[LowRankSpec]):
    """Bottleneck adapters with low-rank matrices."""

    name = "adapter_lowrank"
    Spec = LowRankSpec

    def projector(self, spec: LowRankSpec) -> Projector:
        return lambda d_in, d_out: LowRankProjection(d_in, d_out, spec.rank)

    def check(self, spec: LowRankSpec, site: Site, width: int) -> None:
        if spec.rank > width:
            raise UserError(
                f"adapter.rank {spec.rank} does not fit {site} with a bottleneck of {width}: "
                f"legal are 1 to {width}."
            )

    def projection_params(self, spec: LowRankSpec, d_in: int, d_out: int) -> int:
        return spec.rank * (d_in + d_out) + d_out

    def shared_params(self, spec: LowRankSpec) -> int:
        return 0

    def options(self, spec: LowRankSpec, d: int) -> Iterable[dict[str, int]]:
        return (
            {"bottleneck_dim": width, "rank": rank}
            for width in range(1, d + 1)
            for rank in range(1, min(width, 8) + 1)
        )
