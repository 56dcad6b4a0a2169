"""phm_adapter: a bottleneck adapter whose matrices are sums of Kronecker products, no factor shared.

    h' = h + σ(h D + b_D) U + b_U
    D = Σ_{i=1..n} A_i ⊗ B_i        A_i (n, n), B_i (d/n, b/n); U in the same form with its own A_i and B_i

One adapter follows self-attention and one the FFN, as in houlsby; each has 2·(n³ + d·b/n) + b + d parameters.
n divides d and b. A is N(0, std 0.01), B Xavier-uniform with gain √2, biases 0. All layer norms train too.
Training never builds D or U.

Mahabadi, Henderson and Ruder, Compacter: Efficient low-rank hypercomplex adapter layers, NeurIPS 2021,
arXiv 2106.04647, where it is called PHM-Adapter.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from petbench.adapters.maths.kronecker import divisors
from petbench.adapters.maths.phm import phm_product, phm_weight, phm_weights
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

MOST_TERMS = 16  # the largest n that a budget may choose: beyond it the n³ parameters outgrow the rest


class PHMSpec(BottleneckSpec):
    """phm_adapter's hyper-parameters; `phm_dim` is n."""

    phm_dim: PositiveInt = 4


def check_terms(n: int, site: Site, width: int) -> None:
    """Raise UserError unless n divides the site's size and the bottleneck."""
    if site.d_out % n or width % n:
        legal = ", ".join(map(str, divisors(math.gcd(site.d_out, width))))
        raise UserError(
            f"adapter.phm_dim {n} does not fit {site}: it must divide its size {site.d_out} and the "
            f"bottleneck {width}. Legal: {legal}."
        )


def phm_options(n: int, d: int) -> Iterable[dict[str, int]]:
    """Every n up to MOST_TERMS that divides d, and the given n, each with every bottleneck that it divides."""
    for terms in divisors(d):
        if 1 < terms <= MOST_TERMS or terms == n:
            for width in range(terms, d + 1, terms):
                yield {"phm_dim": terms, "bottleneck_dim": width}


class PHMProjection(Projection):
    """W = Σ A_i ⊗ B_i; A (n, n, n), B (n, d_in/n, d_out/n)."""

    def __init__(self, d_in: int, d_out: int, n: int) -> None:
        super().__init__(d_out)
        self.A = nn.Parameter(torch.empty(n, n, n))
        self.B = nn.Parameter(torch.empty(n, d_in // n, d_out // n))
        nn.init.normal_(self.A, std=0.01)
        for part in self.B:
            nn.init.xavier_uniform_(part, gain=math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        return phm_product(x, self.A, self.B) + self.bias

    def dense(self) -> Tensor:
        return phm_weight(self.A, self.B).t()

    def factors(self) -> tuple[Tensor, ...]:
        return self.A, self.B

    def all_dense(self, *factors: Tensor) -> Tensor:
        return phm_weights(*factors).transpose(1, 2)


@register
class PHMAdapter(AbstractBottleneck[PHMSpec]):
    """Bottleneck adapters with hypercomplex matrices that share no factor."""

    name = "phm_adapter"
    Spec = PHMSpec

    def projector(self, spec: PHMSpec) -> Projector:
        return lambda d_in, d_out: PHMProjection(d_in, d_out, spec.phm_dim)

    def check(self, spec: PHMSpec, site: Site, width: int) -> None:
        check_terms(spec.phm_dim, site, width)

    def projection_params(self, spec: PHMSpec, d_in: int, d_out: int) -> int:
        return spec.phm_dim**3 + d_in * d_out // spec.phm_dim + d_out

    def shared_params(self, spec: PHMSpec) -> int:
        return 0

    def options(self, spec: PHMSpec, d: int) -> Iterable[dict[str, int]]:
        return phm_options(spec.phm_dim, d)
