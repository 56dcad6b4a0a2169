"""KronA^B and KronA^B_res: Kronecker products in parallel to the whole FFN block.

    krona_b      Y = FFN(X) + Σ_m [ s · X (A_m ⊗ B_m) + c_m ]
    krona_b_res  Y = FFN(X) + Σ_m [ s · X (A_m ⊗ B_m) + c_m + r_m · X ]        r_m learned, 1 at the start

X is the input of the FFN's first matrix (after the norm in a pre-norm block); A (a1, a2), B (b1, b2) with
a1·b1 = a2·b2 = d; m runs over `modules_per_ffn`, 2 by default: only two added branches fit the paper's
counts. No nonlinearity. biases=1: c_m (d) on the output. biases=2: one more, e_m (a2, b1), between the two
factor products, s · (AᵀX + e) B with X read as (a1, b1). Parameters a module: a1·a2 + b1·b2 + biases (+ 1 for r_m).
A is Kaiming-uniform(√5), B and biases zero, so krona_b is the backbone at step 0; krona_b_res is not, by its
definition. Encoder and decoder; all layer norms train too. Neither merges: no linear layer spans the FFN.

Edalati et al., KronA: Parameter-efficient tuning with Kronecker adapter, ENLSP-III 2023, arXiv 2212.10650.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from petbench.adapters.adapter import Attachment
from petbench.adapters.folding import FoldingAdapter
from petbench.adapters.maths.kronecker import (
    Shape,
    cheaper_order,
    dense_product,
    divisors,
    factor_params,
    kron_sum_product,
    other_factor,
    squarest_first,
)
from petbench.adapters.method import Method
from petbench.adapters.methods.krona import FactorShape, init_factors, shape_for
from petbench.adapters.registry import register
from petbench.config.sections import AdapterSpec, PositiveInt
from petbench.models.sites import Layout, Site


class KronABSpec(AdapterSpec):
    """krona_b's hyper-parameters; `scale` is s, `factor_shape` the shape of A."""

    factor_shape: FactorShape = "auto"
    scale: float = 16.0
    biases: Annotated[int, Field(ge=0, le=2)] = 1
    modules_per_ffn: PositiveInt = 2
    init: Literal["kaiming", "normal"] = (
        "kaiming"  # normal: all factors N(0, std 1/√d), as in the paper's ablation
    )
    train_norms: bool = True


class KronABResSpec(KronABSpec):
    """krona_b_res's hyper-parameters: krona_b's, and the start of the learned residual scales."""

    residual_init: float = 1.0


class KronABAdapter(FoldingAdapter):
    """target + Σ_m [s · source (A_m ⊗ B_m) + c_m + r_m · source]; (batch, tokens, d) in and out.

    A (m, a1, a2), B (m, b1, b2), c (m, d), e (m, a2, b1), r (m).
    """

    vectors = frozenset({"c", "e"})

    def __init__(self, d: int, shape: Shape, spec: KronABSpec, residual_init: float | None) -> None:
        super().__init__()
        m, other = spec.modules_per_ffn, other_factor(d, d, shape)
        self.A = nn.Parameter(torch.empty(m, *shape))
        self.B = nn.Parameter(torch.empty(m, *other))
        for a, b in zip(self.A, self.B, strict=True):
            init_factors(a, b, spec.init, d)
        self.c = nn.Parameter(torch.zeros(m, d)) if spec.biases >= 1 else None
        self.e = nn.Parameter(torch.zeros(m, shape[1], other[0])) if spec.biases == 2 else None
        self.r = None if residual_init is None else nn.Parameter(torch.full((m,), residual_init))
        self.scale = spec.scale
        self.order = cheaper_order(shape, other)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        values = [value for value in (self.B, self.c, self.e, self.r) if value is not None]
        scaled, constant, residual = self.folded(values, self._summed)
        target = target + kron_sum_product(source, self.A, scaled, self.order)
        if constant.numel():
            target = target + constant
        return torch.addcmul(target, source, residual) if residual.numel() else target

    def _summed(self) -> tuple[Tensor, Tensor, Tensor]:
        """s·B (m, b1, b2), all biases as one vector (d) and Σ r; the last two empty where there is none."""
        scaled = self.B * self.scale
        constant = residual = self.B.new_empty(0)
        if self.c is not None:
            constant = self.c.sum(0)
        if self.e is not None:
            # (AᵀX + e) B = AᵀXB + eB: one vector, the same for every token.
            constant = constant + (self.e @ scaled).sum(0).flatten()
        if self.r is not None:
            residual = self.r.sum()
        return scaled, constant, residual

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        for m, (a, b) in enumerate(zip(self.A, self.B, strict=True)):
            target = target + self.scale * dense_product(source, a, b)
            if self.e is not None:
                target = target + self.scale * (self.e[m] @ b).flatten()
            if self.c is not None:
                target = target + self.c[m]
            if self.r is not None:
                target = target + self.r[m] * source
        return target


K = TypeVar("K", bound=KronABSpec)


class AbstractKronAB(Method[K]):
    """Kronecker products in parallel to the FFN; a subclass says whether there is a residual."""

    @abstractmethod
    def residual_start(self, spec: K) -> float | None:
        """r at the start; None without a residual."""

    def places(self, spec: K, layout: Layout) -> list[tuple[Site, Shape]]:
        """The FFNs of the chosen layers with A's shape there."""
        sites = layout.sites("ffn_block", layers=spec.layers)
        return [(site, shape_for(site, spec.factor_shape)) for site in sites]

    def attachments(self, spec: K, layout: Layout) -> Iterable[Attachment]:
        for site, shape in self.places(spec, layout):
            adapter = KronABAdapter(site.d_in, shape, spec, self.residual_start(spec))
            yield Attachment(site, adapter, at="parallel")

    def count(self, spec: K, layout: Layout) -> int:
        total = 0
        for site, shape in self.places(spec, layout):
            middle = shape[1] * other_factor(site.d_in, site.d_out, shape)[0]
            biases = (0, site.d_out, site.d_out + middle)[spec.biases]
            total += factor_params(site.d_in, site.d_out, shape) + biases
            total += self.residual_start(spec) is not None
        return spec.modules_per_ffn * total

    def identity_at_init(self, spec: K) -> bool:
        return spec.init == "kaiming" and not self.residual_start(spec)

    def sizes(self, spec: K, layout: Layout) -> Iterable[K]:
        """Every shape of A, the squarest first."""
        legal = divisors(layout.hidden)
        return (spec.model_copy(update={"factor_shape": s}) for s in squarest_first(legal, legal))


@register
class KronAB(AbstractKronAB[KronABSpec]):
    """Kronecker products in parallel to the FFN."""

    name = "krona_b"
    Spec = KronABSpec

    def residual_start(self, spec: KronABSpec) -> None:
        return None


@register
class KronABRes(AbstractKronAB[KronABResSpec]):
    """krona_b with a learned residual."""

    name = "krona_b_res"
    Spec = KronABResSpec

    def residual_start(self, spec: KronABResSpec) -> float:
        return spec.residual_init
