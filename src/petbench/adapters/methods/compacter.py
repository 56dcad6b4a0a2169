"""Compacter and Compacter++: bottleneck adapters of low-rank Kronecker sums that share their left factors.

    h' = h + σ(h D + b_D) U + b_U
    D = Σ_{i=1..n} A_i ⊗ (S_i T_i)        A_i (n, n), S_i (d/n, r), T_i (r, b/n); U in the same form

A (n, n, n), the slow weights, is one tensor that both matrices of every adapter share; S and T, the fast
weights, belong to one matrix each. n³ parameters once, and 2·r·(d + b) + b + d an adapter. n divides d and b.
A is N(0, std 1e-4), S and T Xavier-uniform with gain √2, biases 0. All layer norms train too.

    compacter      after self-attention and after the FFN
    compacter_pp   after the FFN alone (Compacter++)

Mahabadi, Henderson and Ruder, Compacter: Efficient low-rank hypercomplex adapter layers, NeurIPS 2021,
arXiv 2106.04647.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from petbench.adapters.maths.phm import phm_product_lowrank, phm_weight, phm_weights
from petbench.adapters.methods.bottleneck_base import (
    AbstractBottleneck,
    BottleneckSpec,
    Projection,
    Projector,
)
from petbench.adapters.methods.phm_adapter import check_terms, phm_options
from petbench.adapters.registry import register
from petbench.config.sections import PositiveInt
from petbench.models.sites import Site


class CompacterSpec(BottleneckSpec):
    """Compacter's hyper-parameters; `phm_dim` is n, `phm_rank` r."""

    phm_dim: PositiveInt = 4
    phm_rank: PositiveInt = 1


def slow_weights(n: int) -> nn.Parameter:
    """A (n, n, n): one tensor, held by every projection of a model."""
    a = nn.Parameter(torch.empty(n, n, n))
    nn.init.normal_(a, std=1e-4)
    return a


class LowRankPHMProjection(Projection):
    """W = Σ A_i ⊗ (S_i T_i); A shared, S (n, d_in/n, r), T (n, r, d_out/n)."""

    def __init__(self, slow: nn.Parameter, d_in: int, d_out: int, rank: int) -> None:
        super().__init__(d_out)
        n = slow.shape[0]
        # Shared as a tensor, not as a module: functional_call wrongly restores a module that has two names.
        self.slow = slow
        self.S = nn.Parameter(torch.empty(n, d_in // n, rank))
        self.T = nn.Parameter(torch.empty(n, rank, d_out // n))
        for factor in (self.S, self.T):
            for part in factor:
                nn.init.xavier_uniform_(part, gain=math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        return phm_product_lowrank(x, self.slow, self.S, self.T) + self.bias

    def dense(self) -> Tensor:
        return phm_weight(self.slow, self.S @ self.T).t()

    def factors(self) -> tuple[Tensor, ...]:
        return self.slow, self.S, self.T

    def all_dense(self, *factors: Tensor) -> Tensor:
        a, s, t = factors
        return phm_weights(a, s @ t).transpose(1, 2)


class AbstractCompacter(AbstractBottleneck[CompacterSpec]):
    """Bottleneck adapters with shared slow weights and low-rank fast weights."""

    def projector(self, spec: CompacterSpec) -> Projector:
        slow = slow_weights(spec.phm_dim)
        return lambda d_in, d_out: LowRankPHMProjection(slow, d_in, d_out, spec.phm_rank)

    def check(self, spec: CompacterSpec, site: Site, width: int) -> None:
        check_terms(spec.phm_dim, site, width)

    def projection_params(self, spec: CompacterSpec, d_in: int, d_out: int) -> int:
        return spec.phm_rank * (d_in + d_out) + d_out

    def shared_params(self, spec: CompacterSpec) -> int:
        return spec.phm_dim**3

    def options(self, spec: CompacterSpec, d: int) -> Iterable[dict[str, int]]:
        return phm_options(spec.phm_dim, d)


@register
class Compacter(AbstractCompacter):
    """After self-attention and after the FFN."""

    name = "compacter"
    Spec = CompacterSpec


@register
class CompacterPlusPlus(AbstractCompacter):
    """After the FFN."""

    name = "compacter_pp"
    Spec = CompacterSpec
    roles = ("ffn_output",)
