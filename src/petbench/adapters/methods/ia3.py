"""(IA)^3: learned vectors that scale keys, values and the input of the second FFN matrix.

    K' = l_k ⊙ K,  V' = l_v ⊙ V        l (d_out of the projection)
    FFN = (l_ff ⊙ σ(X W_1)) W_2        l_ff (d_in of the second matrix)

d_k + d_v + d_ff parameters a layer (cross-attention has its own l_k and l_v): 55,296 in BERT-base. Every vector
is 1 at the start, so step 0 is the backbone. Merges exactly: l_k and l_v scale rows of the weight and the bias,
l_ff scales columns of the weight.

Liu et al., Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning, NeurIPS
2022, arXiv 2205.05638.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from petbench.adapters.adapter import Adapter, Affine, Attachment
from petbench.adapters.hooks import OWNER
from petbench.adapters.method import Installed, Method, target_sites
from petbench.adapters.peft_form import PeftForm, Ranks, ia3_form
from petbench.adapters.peft_in import Foreign, places, require_neutral, require_shape, roles_and_layers
from petbench.adapters.registry import register
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError
from petbench.models.sites import Layout, Site


class IA3Spec(AdapterSpec):
    """Where the vectors are: `targets` are scaled at their output, `feedforward` at their input."""

    targets: tuple[str, ...] = ("key", "value")
    feedforward: tuple[str, ...] = ("ffn_output",)


class ScaleAdapter(Adapter):
    """l ⊙ target; (batch, tokens, d) in and out. The source is not used."""

    def __init__(self, d: int, side: Literal["input", "output"]) -> None:
        super().__init__()
        self.l = nn.Parameter(torch.ones(d))
        self.side = side

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return target * self.l

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return target @ torch.diag(self.l)

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        if self.side == "input":
            return Affine(base.weight * self.l, base.bias)
        return Affine(self.l[:, None] * base.weight, None if base.bias is None else self.l * base.bias)


@register
class IA3(Method[IA3Spec]):
    """Scaling vectors on keys, values and the FFN."""

    name = "ia3"
    Spec = IA3Spec
    peft_type = "IA3"

    def _places(self, spec: IA3Spec, layout: Layout) -> tuple[list[Site], list[Site]]:
        """(sites scaled at the output, sites scaled at the input)."""
        if not spec.targets and not spec.feedforward:
            raise UserError(
                "adapter.targets: got none, and adapter.feedforward is empty too. Name at least one role."
            )
        both = set(spec.targets) & set(spec.feedforward)
        if both:
            raise UserError(
                f"adapter.targets: {sorted(both)} is also in adapter.feedforward. Name each once."
            )
        outputs, inputs = (
            target_sites(roles, spec, layout) if roles else [] for roles in (spec.targets, spec.feedforward)
        )
        return outputs, inputs

    def attachments(self, spec: IA3Spec, layout: Layout) -> Iterable[Attachment]:
        outputs, inputs = self._places(spec, layout)
        for site in outputs:
            yield Attachment(site, ScaleAdapter(site.d_out, "output"))
        for site in inputs:
            yield Attachment(site, ScaleAdapter(site.d_in, "input"), at="input")

    def count(self, spec: IA3Spec, layout: Layout) -> int:
        outputs, inputs = self._places(spec, layout)
        return sum(site.d_out for site in outputs) + sum(site.d_in for site in inputs)

    def mergeable(self, spec: IA3Spec, layout: Layout) -> bool:
        return True

    def peft_form(self, spec: IA3Spec, layout: Layout, installed: Installed, ranks: Ranks) -> PeftForm:
        scales = []
        for attachment in installed.attachments:
            adapter = attachment.adapter
            assert isinstance(adapter, ScaleAdapter)
            scales.append((attachment.site, attachment.at, adapter.l))
        return ia3_form(scales, layout)

    def spec_of_peft(self, foreign: Foreign, layout: Layout) -> IA3Spec:
        def touches(site: Site) -> bool:
            start, stop = site.columns or (0, site.d_out)
            return bool((foreign.part(site, "ia3_l")[0][start:stop] != 1).any())

        def scaled_at(site: Site) -> str:
            return "input" if len(foreign.part(site, "ia3_l")[0]) == 1 else "output"

        sites = places(foreign, layout, touches)
        where = roles_and_layers(foreign, layout, sites)
        sides = {role: {scaled_at(site) for site in sites if site.role == role} for role in where["targets"]}
        if mixed := [role for role, found in sides.items() if len(found) > 1]:
            raise foreign.refusal(
                f"{mixed[0]} is scaled at its input in some layers and at its output in others"
            )
        outputs, inputs = (
            tuple(role for role, found in sides.items() if found == {side}) for side in ("output", "input")
        )
        return IA3Spec(method="ia3", name="ia3", targets=outputs, feedforward=inputs, layers=where["layers"])

    def values_of_peft(
        self, foreign: Foreign, spec: IA3Spec, layout: Layout, installed: Installed
    ) -> dict[str, Tensor]:
        fields = "adapter.targets or adapter.feedforward"
        require_neutral(foreign, [a.site for a in installed.attachments], "ia3_l", 1.0, fields)
        values = {}
        for attachment in installed.attachments:
            site, at_input = attachment.site, attachment.at == "input"
            (scale,) = foreign.part(site, "ia3_l")
            start, stop = (0, 1) if at_input else site.columns or (0, site.d_out)
            shape = (1, site.d_in) if at_input else (site.d_out, 1)
            require_shape(
                foreign, site, scale[start:stop], shape, f"Name the role in the right one of {fields}."
            )
            values[f"{OWNER}.{attachment.key}.l"] = scale[start:stop].flatten()
        return values
