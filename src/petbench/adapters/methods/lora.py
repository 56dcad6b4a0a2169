"""LoRA: a low-rank product beside a frozen projection.

    Y = X W + (α / r) · drop(X) A B        A (d_in, r), B (r, d_out)

r·(d_in + d_out) parameters a site. A is Kaiming-uniform(√5), B zero, so step 0 is the backbone.
Merges exactly: W + (α / r) A B.

Hu et al., LoRA: Low-rank adaptation of large language models, ICLR 2022, arXiv 2106.09685.
"""

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.adapter import Affine, Attachment
from petbench.adapters.hooks import OWNER
from petbench.adapters.maths.lowrank import lowrank_product, thin_product
from petbench.adapters.method import Installed, Method, target_sites
from petbench.adapters.peft_form import LowRank, PeftForm, Ranks, lora_form
from petbench.adapters.peft_in import Foreign, places, require_neutral, require_shape, roles_and_layers
from petbench.adapters.registry import register
from petbench.adapters.together import TogetherAdapter
from petbench.config.sections import AdapterSpec, Fraction
from petbench.errors import UserError
from petbench.models.sites import Layout, Site


class LoRASpec(AdapterSpec):
    """LoRA's hyper-parameters; scaling = alpha / rank."""

    targets: tuple[str, ...] = ("query", "value")
    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Fraction = 0.0


class LoRAAdapter(TogetherAdapter):
    """target + scaling · drop(source) A B. A and B are stored as PyTorch stores linear weights:
    A (rank, d_in), B (d_out, rank)."""

    def __init__(self, d_in: int, d_out: int, rank: int, scaling: float, dropout: float) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.empty(rank, d_in))
        self.B = nn.Parameter(torch.zeros(d_out, rank))
        self.scaling = scaling
        self.dropout = dropout
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        x = F.dropout(source, self.dropout, self.training) if self.dropout else source
        if (given := self.given()) is not None:
            return thin_product(self.first_product(x), given[0], target)
        return lowrank_product(x, self.A, self.B, target, self.scaling)

    def parts(self) -> tuple[Tensor, ...]:
        return self.A, self.B

    def matrices_of(self, *stacked: Tensor) -> tuple[Tensor, ...]:
        """s·B (n, d_out, r) and A (n, r, d_in)."""
        a, b = stacked
        return b * self.scaling, a

    def kind(self) -> float:
        return self.scaling

    def joins(self) -> bool:
        return not self.dropout

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return target + self.scaling * (source @ (self.B @ self.A).t())

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        return Affine(base.weight + self.scaling * (self.B @ self.A), base.bias)


@register
class LoRA(Method[LoRASpec]):
    """Low-rank adapters on projections."""

    name = "lora"
    Spec = LoRASpec
    peft_type = "LORA"

    def attachments(self, spec: LoRASpec, layout: Layout) -> Iterable[Attachment]:
        for site in target_sites(spec.targets, spec, layout):
            most = min(site.d_in, site.d_out)
            if spec.rank > most:
                raise UserError(
                    f"adapter.rank {spec.rank} does not fit {site}, which is {site.d_in} by {site.d_out}: "
                    f"legal ranks are 1 to {most}."
                )
            yield Attachment(
                site, LoRAAdapter(site.d_in, site.d_out, spec.rank, spec.alpha / spec.rank, spec.dropout)
            )

    def count(self, spec: LoRASpec, layout: Layout) -> int:
        return sum(spec.rank * (s.d_in + s.d_out) for s in target_sites(spec.targets, spec, layout))

    def mergeable(self, spec: LoRASpec, layout: Layout) -> bool:
        return True

    def peft_form(self, spec: LoRASpec, layout: Layout, installed: Installed, ranks: Ranks) -> PeftForm:
        changes = []
        for attachment in installed.attachments:
            adapter = attachment.adapter
            assert isinstance(adapter, LoRAAdapter)
            changes.append(LowRank(attachment.site, adapter.A.detach(), adapter.B.detach() * adapter.scaling))
        return lora_form(changes, layout)

    def spec_of_peft(self, foreign: Foreign, layout: Layout) -> LoRASpec:
        """A spec with the largest saved rank and scaling; `values_of_peft` adjusts the modules that have less."""

        def touches(site: Site) -> bool:
            start, stop = site.columns or (0, site.d_out)
            return bool(foreign.part(site, "lora_B")[0][start:stop].any())

        where = roles_and_layers(foreign, layout, places(foreign, layout, touches))
        ranks = {module: len(part["lora_A"]) for module, part in foreign.parts.items()}
        scaling = max(foreign.scaling(module, "lora_alpha", rank) for module, rank in ranks.items())
        rank = max(ranks.values())
        return LoRASpec(method="lora", name="lora", **where, rank=rank, alpha=scaling * rank)

    def values_of_peft(
        self, foreign: Foreign, spec: LoRASpec, layout: Layout, installed: Installed
    ) -> dict[str, Tensor]:
        """A as saved, and B · (PEFT's scaling / this scaling). Where the saved rank is smaller, the further rows of A
        keep their initial values and the further columns of B are zero."""
        require_neutral(foreign, [a.site for a in installed.attachments], "lora_B", 0.0)
        values: dict[str, Tensor] = {}
        for attachment in installed.attachments:
            site, own = attachment.site, attachment.adapter
            assert isinstance(own, LoRAAdapter)
            down, up = foreign.part(site, "lora_A", "lora_B")
            rank = len(down)
            if rank > spec.rank:
                raise UserError(f"{foreign.folder}: {site} has rank {rank}. Set adapter.rank={rank} or more.")
            start, stop = site.columns or (0, site.d_out)
            require_shape(foreign, site, down, (rank, site.d_in), "The adapter is of another model.")
            require_shape(
                foreign, site, up[start:stop], (site.d_out, rank), "The adapter is of another model."
            )
            a, b = own.A.detach().clone(), torch.zeros_like(own.B)
            a[:rank] = down
            b[:, :rank] = up[start:stop] * (foreign.scaling(site.module, "lora_alpha", rank) / own.scaling)
            values |= {f"{OWNER}.{attachment.key}.A": a, f"{OWNER}.{attachment.key}.B": b}
        return values

    def sizes(self, spec: LoRASpec, layout: Layout) -> Iterable[LoRASpec]:
        """Every rank up to the smallest size of a target layer, with the same alpha / rank."""
        most = min(min(s.d_in, s.d_out) for s in target_sites(spec.targets, spec, layout))
        for rank in range(1, most + 1):
            yield spec.model_copy(update={"rank": rank, "alpha": spec.alpha / spec.rank * rank})
