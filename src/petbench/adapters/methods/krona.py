"""KronA: a Kronecker product beside a frozen projection.

    Y = X W + s · X (A ⊗ B)        A (a1, a2), B (b1, b2), a1·b1 = d_in, a2·b2 = d_out

a1·a2 + b1·b2 parameters a site; rank(A ⊗ B) = rank A · rank B; no bias, no nonlinearity. A is
Kaiming-uniform(√5) and B zero at the start, so step 0 is the backbone. The paper (T5, query and value of
every attention, cross-attention included) also trains all layer norms: its counts include them.
Merges exactly: W + s (A ⊗ B).

Edalati et al., KronA: Parameter-efficient tuning with Kronecker adapter, ENLSP-III 2023, arXiv 2212.10650.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from petbench.adapters.adapter import Affine, Attachment
from petbench.adapters.hooks import OWNER
from petbench.adapters.maths.kronecker import (
    Shape,
    cheaper_order,
    dense_product,
    divisors,
    factor_params,
    kron_product,
    other_factor,
    squarest_first,
    squarest_shape,
)
from petbench.adapters.maths.kronecker_svd import KroneckerSVD
from petbench.adapters.method import Installed, Method, target_sites
from petbench.adapters.peft_form import ROOT, LowRank, PeftForm, Ranks, lora_form
from petbench.adapters.peft_in import Foreign, places, require_shape, roles_and_layers
from petbench.adapters.registry import register
from petbench.adapters.together import TogetherAdapter
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError, unknown
from petbench.models.sites import Layout, Site

FactorShape = Literal["auto"] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
ShapeByPlace = dict[str, FactorShape]  # keys: a role, `role.layer`, or `default`


class KronASpec(AdapterSpec):
    """KronA's hyper-parameters; `scale` is s, `factor_shape` the shape of the left factor A."""

    targets: tuple[str, ...] = ("query", "value")
    factor_shape: FactorShape | ShapeByPlace = "auto"
    scale: float = 1.0
    init: Literal["kaiming", "normal"] = (
        "kaiming"  # normal: both factors N(0, std 1/√d_in), as in the paper's ablation
    )
    train_norms: bool = True


def shape_for(site: Site, factor_shape: FactorShape) -> Shape:
    """A's shape at a site. Raises UserError naming the layer, its size and the legal sizes."""
    if factor_shape == "auto":
        return squarest_shape(site.d_in, site.d_out)
    for size, d, side in ((factor_shape[0], site.d_in, "first"), (factor_shape[1], site.d_out, "second")):
        if d % size:
            raise UserError(
                f"adapter.factor_shape {list(factor_shape)} does not fit {site}, which is {site.d_in} by {site.d_out}: "
                f"{size} does not divide {d}. Legal {side} sizes: {', '.join(map(str, divisors(d)))}."
            )
    return factor_shape


def shapes_of(spec: KronASpec, layout: Layout) -> list[tuple[Site, Shape]]:
    """Every target site with A's shape there; a key `role.layer` overrides the role's, the role's `default`.

    Raises UserError when a shape does not fit or a key of the mapping names no target.
    """
    sites = target_sites(spec.targets, spec, layout)
    given = spec.factor_shape
    if not isinstance(given, dict):
        return [(site, shape_for(site, given)) for site in sites]
    keys = {site: (f"{site.role}.{site.layer}", site.role, "default") for site in sites}
    legal = {key for of_site in keys.values() for key in of_site}
    for key in given:
        if key not in legal:
            raise unknown("adapter.factor_shape", key, legal)
    found = []
    for site in sites:
        place = next((key for key in keys[site] if key in given), None)
        found.append((site, shape_for(site, "auto" if place is None else given[place])))
    return found


def init_factors(a: Tensor, b: Tensor, init: str, d_in: int) -> None:
    """kaiming: A Kaiming-uniform(√5), B zero. normal: both N(0, std 1/√d_in)."""
    if init == "kaiming":
        nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        nn.init.zeros_(b)
    else:
        nn.init.normal_(a, std=d_in**-0.5)
        nn.init.normal_(b, std=d_in**-0.5)


class KronAAdapter(TogetherAdapter):
    """target + s · source (A ⊗ B); source (batch, tokens, d_in), target (batch, tokens, d_out)."""

    def __init__(self, d_in: int, d_out: int, shape: Shape, scale: float, init: str) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.empty(shape))
        self.B = nn.Parameter(torch.empty(other_factor(d_in, d_out, shape)))
        self.scale = scale
        self.order = cheaper_order(shape, other_factor(d_in, d_out, shape))
        init_factors(self.A, self.B, init, d_in)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        if (given := self.given()) is not None:
            a, b = given
            return kron_product(self.lowered(source, a), a, b, self.order, target)
        a = self.A if self.scale == 1.0 else self.A * self.scale
        return kron_product(source, a, self.B, self.order, target)

    def parts(self) -> tuple[Tensor, ...]:
        return self.A, self.B

    def matrices_of(self, *stacked: Tensor) -> tuple[Tensor, ...]:
        """s·A (n, a1, a2) and B (n, b1, b2)."""
        a, b = stacked
        return a if self.scale == 1.0 else a * self.scale, b

    def kind(self) -> float:
        return self.scale

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return target + self.scale * dense_product(source, self.A, self.B)

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        return Affine(base.weight + self.scale * torch.kron(self.A, self.B).t(), base.bias)


@register
class KronA(Method[KronASpec]):
    """Kronecker adapters on projections."""

    name = "krona"
    Spec = KronASpec
    peft_type = "LOKR"

    def attachments(self, spec: KronASpec, layout: Layout) -> Iterable[Attachment]:
        for site, shape in shapes_of(spec, layout):
            yield Attachment(site, KronAAdapter(site.d_in, site.d_out, shape, spec.scale, spec.init))

    def count(self, spec: KronASpec, layout: Layout) -> int:
        return sum(factor_params(site.d_in, site.d_out, shape) for site, shape in shapes_of(spec, layout))

    def identity_at_init(self, spec: KronASpec) -> bool:
        return spec.init == "kaiming"

    def mergeable(self, spec: KronASpec, layout: Layout) -> bool:
        return True

    def peft_form(self, spec: KronASpec, layout: Layout, installed: Installed, ranks: Ranks) -> PeftForm:
        """LoKr where PEFT's split of both sides gives these factors, an exact LoRA where the rank is small, or else
        the best LoRA of rank `ranks.approximate`. Raises UserError where neither is exact and that is None."""
        found = [(a.site, a.adapter) for a in installed.attachments if isinstance(a.adapter, KronAAdapter)]
        factor = _lokr_factor(found)
        if factor is not None:
            return _lokr(found, factor)
        svds = [(site, KroneckerSVD(adapter.A, adapter.B, adapter.scale)) for site, adapter in found]
        rank = max(svd.rank for _, svd in svds)
        kept = rank if rank <= ranks.most else ranks.approximate
        if kept is None:
            raise UserError(
                f"krona cannot be exported exactly: rank(A ⊗ B) is {rank}, more than --max-rank {ranks.most}, and "
                "PEFT's LoKr splits these layers otherwise.\nUse `petbench merge` for a plain checkpoint, --max-rank "
                f"{rank}, or --approximate RANK for the nearest LoRA (its error is printed)."
            )
        form = lora_form([LowRank(site, *svd.best(kept)) for site, svd in svds], layout)
        if kept == rank:
            return replace(form, note=f"exact LoRA: rank(A ⊗ B) is at most {rank}")
        error = f"relative error of the changes {form.relative_error:.3f}"
        return replace(form, note=f"LoRA of rank {kept}, the nearest: {error}")

    def spec_of_peft(self, foreign: Foreign, layout: Layout) -> KronASpec:
        """A spec with the saved factor shapes, by role and layer where they differ, and the largest saved scaling."""
        sites = places(foreign, layout, lambda site: True)
        where = roles_and_layers(foreign, layout, sites)
        found = {site: tuple(_lokr_pair(foreign, site)[0].shape) for site in sites}
        by_place = {f"{site.role}.{site.layer}": shape for site, shape in found.items()}
        if any(by_place[f"{site.role}.{site.layer}"] != shape for site, shape in found.items()):
            raise foreign.refusal("its factors differ between two places of one role and layer")
        same = len(set(found.values())) == 1
        scale = max(foreign.scaling(site.module, "alpha") for site in sites)
        factor_shape: Any = next(iter(found.values())) if same else by_place
        return KronASpec(
            method="krona", name="krona", **where, factor_shape=factor_shape, scale=scale, train_norms=False
        )

    def values_of_peft(
        self, foreign: Foreign, spec: KronASpec, layout: Layout, installed: Installed
    ) -> dict[str, Tensor]:
        """A = w1ᵀ and B = w2ᵀ · (PEFT's scaling / spec.scale); a w that PEFT saved as two factors is multiplied out."""
        sites = {attachment.site.module for attachment in installed.attachments}
        if extra := foreign.parts.keys() - sites:
            raise UserError(f"{foreign.folder} also adapts {min(extra)}. Name its role in adapter.targets.")
        values: dict[str, Tensor] = {}
        for attachment in installed.attachments:
            site, own = attachment.site, attachment.adapter
            assert isinstance(own, KronAAdapter)
            a, b = _lokr_pair(foreign, site)
            fix = f"Set adapter.factor_shape={list(a.shape)}."
            require_shape(foreign, site, a, tuple(own.A.shape), fix)
            require_shape(foreign, site, b, tuple(own.B.shape), "The adapter is of another model.")
            scaled = b * (foreign.scaling(site.module, "alpha") / own.scale)
            values |= {f"{OWNER}.{attachment.key}.A": a, f"{OWNER}.{attachment.key}.B": scaled}
        return values

    def sizes(self, spec: KronASpec, layout: Layout) -> Iterable[KronASpec]:
        """Every shape of A that fits all target sites, the squarest first."""
        sites = target_sites(spec.targets, spec, layout)
        firsts = set.intersection(*(set(divisors(site.d_in)) for site in sites))
        seconds = set.intersection(*(set(divisors(site.d_out)) for site in sites))
        for shape in squarest_first(firsts, seconds):
            yield spec.model_copy(update={"factor_shape": shape})


def _lokr_factor(found: list[tuple[Site, KronAAdapter]]) -> int | None:
    """PEFT's `decompose_factor` that gives every site its factors' shapes; None when there is none."""
    from peft.tuners.lokr.layer import factorization  # peft takes seconds

    if any(site.transposed or site.columns for site, _ in found):
        return None  # PEFT's LoKr adapts plain linear layers alone
    shapes = {(site.d_in, site.d_out, tuple(adapter.A.shape)) for site, adapter in found}
    for factor in (-1, *(size for _, _, shape in shapes for size in shape)):
        if all(
            (factorization(d_in, factor)[0], factorization(d_out, factor)[0]) == shape
            for d_in, d_out, shape in shapes
        ):
            return int(factor)
    return None


def _lokr(found: list[tuple[Site, KronAAdapter]], factor: int) -> PeftForm:
    values, scale = {}, 1.0
    full = 1 + max(
        max(site.d_in, site.d_out) for site, _ in found
    )  # a rank so large that PEFT splits neither factor
    for site, adapter in found:
        scale = adapter.scale
        values[f"{ROOT}{site.module}.lokr_w1.default"] = adapter.A.detach().t()
        values[f"{ROOT}{site.module}.lokr_w2.default"] = adapter.B.detach().t()
    arguments = {
        "r": full,
        "alpha": scale * full,
        "decompose_factor": factor,
        "target_modules": [site.module for site, _ in found],
    }
    return PeftForm("LOKR", arguments, values, f"LoKr with decompose_factor {factor}")


def _lokr_pair(foreign: Foreign, site: Site) -> tuple[Tensor, Tensor]:
    """A and B of PEFT's LoKr at a site. Raises UserError where the layer is fused or not linear."""
    if site.columns or site.transposed:
        raise foreign.refusal(f"{site.module} is a fused projection, which KronA adapts in parts")
    factors = []
    for name in ("lokr_w1", "lokr_w2"):
        if name in foreign.parts.get(site.module, {}):
            (factor,) = foreign.part(site, name)
        else:
            left, right = foreign.part(site, f"{name}_a", f"{name}_b")
            if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[0]:
                raise UserError(f"{foreign.folder}: the factors of {site.module} do not fit each other.")
            factor = left @ right
        if factor.dim() != 2:
            raise foreign.refusal(f"{name} of {site.module} has {factor.dim()} dimensions")
        factors.append(factor.t().contiguous())
    return factors[0], factors[1]
