"""Methods that train a model's own parameters: full, head_only, bitfit.

    full        every parameter
    head_only   the task head alone (linear probe); a text-to-text model has no head, so it is refused
    bitfit      every bias; where an encoder-decoder has none (T5), zero biases are added to the projections, the
                FFN matrices, the norms inside the blocks and the output layer

Ben Zaken, Ravfogel and Goldberg, BitFit, ACL 2022, arXiv 2106.10199. T5's added biases follow the Compacter
paper's baseline (arXiv 2106.04647): in T5-base 248,832, and one more for each vocabulary entry.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from petbench.adapters.adapter import Adapter, Affine, Attachment
from petbench.adapters.method import Method
from petbench.adapters.registry import register
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError
from petbench.models.sites import Layout, Site


class FullSpec(AdapterSpec):
    """Full fine-tuning has nothing to choose."""


class HeadOnlySpec(AdapterSpec):
    """The linear probe has nothing to choose."""


class BitFitSpec(AdapterSpec):
    """BitFit has nothing to choose."""


@register
class Full(Method[FullSpec]):
    """Everything trains."""

    name = "full"
    Spec = FullSpec

    def attachments(self, spec: FullSpec, layout: Layout) -> Iterable[Attachment]:
        return ()

    def count(self, spec: FullSpec, layout: Layout) -> int:
        return 0

    def mergeable(self, spec: FullSpec, layout: Layout) -> bool:
        return True  # nothing to merge

    def trains(self, spec: FullSpec, layout: Layout, model: nn.Module) -> set[str]:
        return {name for name, _ in model.named_parameters()}


@register
class HeadOnly(Method[HeadOnlySpec]):
    """Only the head trains."""

    name = "head_only"
    Spec = HeadOnlySpec

    def attachments(self, spec: HeadOnlySpec, layout: Layout) -> Iterable[Attachment]:
        if not layout.head_modules:
            raise UserError(
                "adapter=head_only: this text-to-text model has no task head. Use task.form=head."
            )
        return ()

    def count(self, spec: HeadOnlySpec, layout: Layout) -> int:
        return 0

    def mergeable(self, spec: HeadOnlySpec, layout: Layout) -> bool:
        return True  # nothing to merge


class AddedBias(Adapter):
    """target + b, b (d_out) zero at the start."""

    def __init__(self, d_out: int) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(d_out))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return target + self.b

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return target + self.b

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        return Affine(base.weight, self.b if base.bias is None else base.bias + self.b)


_GIVEN_BIASES = (
    "query",
    "key",
    "value",
    "attention_output",
    "ffn_input",
    "ffn_output",
    "attention_norm",
    "ffn_norm",
)


@register
class BitFit(Method[BitFitSpec]):
    """All biases train."""

    name = "bitfit"
    Spec = BitFitSpec

    def _added_at(self, spec: BitFitSpec, layout: Layout) -> list[Site]:
        """Where biases are added: in an encoder-decoder whose layers have none of their own."""
        body = [site for site in layout.all_sites if site.role != "head"]
        if not layout.encoder_decoder or any(site.bias for site in body):
            return []
        inside = [site for role in _GIVEN_BIASES for site in layout.sites(role, layers=spec.layers)]
        return inside + ([] if layout.head_modules else layout.sites("head"))

    def attachments(self, spec: BitFitSpec, layout: Layout) -> Iterable[Attachment]:
        for site in self._added_at(spec, layout):
            yield Attachment(site, AddedBias(site.d_out))

    def count(self, spec: BitFitSpec, layout: Layout) -> int:
        return sum(site.d_out for site in self._added_at(spec, layout))

    def mergeable(self, spec: BitFitSpec, layout: Layout) -> bool:
        return not self._added_at(spec, layout)  # the layers have no place for added biases

    def trains(self, spec: BitFitSpec, layout: Layout, model: nn.Module) -> set[str]:
        biases = {name for name, _ in model.named_parameters() if name.endswith(".bias")}
        if not biases and not self._added_at(spec, layout):
            raise UserError(f"adapter=bitfit: a {layout.family} model has no biases to train.")
        return biases
