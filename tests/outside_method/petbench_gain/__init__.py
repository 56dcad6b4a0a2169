"""gain: a learned gain on the output of every FFN.

    Y' = Y · (1 + g)        Y (batch, tokens, d) the FFN's output, g (d), zero at the start

d parameters a layer. Merges exactly: W (1 + g). To PEFT it is (IA)^3 with the vector 1 + g.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from petbench.adapters import (
    Adapter,
    AdapterSpec,
    Affine,
    Attachment,
    Installed,
    Layout,
    Method,
    PeftForm,
    Ranks,
    ia3_form,
    register,
    target_sites,
)


class GainSpec(AdapterSpec):
    targets: tuple[str, ...] = ("ffn_output",)


class Gain(Adapter):
    def __init__(self, d: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.zeros(d))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return torch.addcmul(target, target, self.g)

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return target * (1 + self.g)

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        gain = 1 + self.g
        return Affine(base.weight * gain[:, None], None if base.bias is None else base.bias * gain)


@register
class GainMethod(Method[GainSpec]):
    """A gain on every FFN."""

    name = "gain"
    Spec = GainSpec

    def attachments(self, spec: GainSpec, layout: Layout) -> Iterable[Attachment]:
        return (Attachment(site, Gain(site.d_out)) for site in target_sites(spec.targets, spec, layout))

    def count(self, spec: GainSpec, layout: Layout) -> int:
        return sum(site.d_out for site in target_sites(spec.targets, spec, layout))

    def mergeable(self, spec: GainSpec, layout: Layout) -> bool:
        return True

    def sizes(self, spec: GainSpec, layout: Layout) -> Iterable[GainSpec]:
        """The last N layers, for every N."""
        for number in range(1, min(layout.layers.values()) + 1):
            yield spec.model_copy(update={"layers": f"last:{number}"})

    def peft_form(self, spec: GainSpec, layout: Layout, installed: Installed, ranks: Ranks) -> PeftForm:
        scales = [
            (a.site, a.at, 1 + a.adapter.g) for a in installed.attachments if isinstance(a.adapter, Gain)
        ]
        return ia3_form(scales, layout, "(IA)^3 with 1 + g")
