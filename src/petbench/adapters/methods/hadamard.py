"""Hadamard adapter: an elementwise scale and shift of the self-attention output.

    A' = w ⊙ A + b        w, b (d), A (batch, tokens, d)

2·d parameters a layer. The norm of every attention sublayer trains too, so L layers train 4·d·L in all
(BERT-base: 36,864, the paper's 0.033 %). w is 1 and b is 0 at the start, so step 0 is the backbone.

    before_output_dense   A is the concatenated heads: W' = diag(w) W_O, bias' = b W_O + bias
    after_output_dense    A is the output of W_O, before residual and norm: W' = W_O diag(w), bias' = w ⊙ bias + b

Both merge exactly where W_O has a bias. Two stages: first the head alone trains, then adapter and norms, the
head frozen (the only reading that gives the paper's count). A model without a head has the second stage alone.

Chen et al., Hadamard adapter: an extreme parameter-efficient adapter tuning method for pre-trained language
models, CIKM 2023, arXiv 2407.11033. The position of A and the layers of the pruned form are petbench's choices.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from petbench.adapters.adapter import Adapter, Affine, At, Attachment
from petbench.adapters.method import Method, Stage
from petbench.adapters.registry import register
from petbench.config.sections import AdapterSpec
from petbench.models.sites import Layout, Site

Position = Literal["before_output_dense", "after_output_dense"]


class HadamardSpec(AdapterSpec):
    """The Hadamard adapter's hyper-parameters; `head_share` 0 leaves the first stage out."""

    position: Position = "before_output_dense"
    shared: bool = False  # one w and b for all layers
    train_attention_norm: bool = True
    head_share: Annotated[float, Field(ge=0, lt=1)] = 0.5  # of the steps, for the first stage
    freeze_head_in_stage2: bool = True


class HadamardAdapter(Adapter):
    """w ⊙ target + b; (batch, tokens, d) in and out. The source is not used."""

    def __init__(self, d: int, position: Position) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(d))
        self.b = nn.Parameter(torch.zeros(d))
        self.position = position

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return torch.addcmul(self.b, self.w, target)

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return self.w * target + self.b

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        weight, bias = base
        if self.position == "after_output_dense":
            old = 0 if bias is None else self.w * bias
            return Affine(self.w[:, None] * weight, old + self.b)
        moved = weight @ self.b
        return Affine(weight * self.w, moved if bias is None else bias + moved)


@register
class Hadamard(Method[HadamardSpec]):
    """Scale and shift of the self-attention output."""

    name = "hadamard"
    Spec = HadamardSpec

    def _places(self, spec: HadamardSpec, layout: Layout) -> list[Site]:
        return layout.sites("attention_output", layers=spec.layers, attention="self")

    def _width(self, spec: HadamardSpec, site: Site) -> int:
        return site.d_in if spec.position == "before_output_dense" else site.d_out

    def attachments(self, spec: HadamardSpec, layout: Layout) -> Iterable[Attachment]:
        at: At = "input" if spec.position == "before_output_dense" else "output"
        one: HadamardAdapter | None = None
        for site in self._places(spec, layout):
            if one is None or not spec.shared:
                one = HadamardAdapter(self._width(spec, site), spec.position)
            yield Attachment(site, one, at=at)

    def count(self, spec: HadamardSpec, layout: Layout) -> int:
        """2·d an adapter, or once when all layers share one."""
        widths = [self._width(spec, site) for site in self._places(spec, layout)]
        return 2 * (widths[0] if spec.shared else sum(widths))

    def trains(self, spec: HadamardSpec, layout: Layout, model: nn.Module) -> set[str]:
        """The norm of the self-attention sublayer, in the chosen layers."""
        if not spec.train_attention_norm:
            return set()
        sites = layout.sites("attention_norm", layers=spec.layers, attention="self")
        return {
            f"{site.module}.{name}"
            for site in sites
            for name, _ in model.get_submodule(site.module).named_parameters()
        }

    def mergeable(self, spec: HadamardSpec, layout: Layout) -> bool:
        return all(
            site.bias for site in self._places(spec, layout)
        )  # without a bias in the layer, b cannot be merged

    def stages(self, spec: HadamardSpec) -> tuple[Stage, ...]:
        second = Stage(share=1 - spec.head_share, head=not spec.freeze_head_in_stage2)
        if spec.head_share == 0:
            return (Stage(share=1.0),)
        return (Stage(share=spec.head_share, adapter=False), second)

    def sizes(self, spec: HadamardSpec, layout: Layout) -> Iterable[HadamardSpec]:
        """The last N layers, for every N."""
        for number in range(1, max(layout.layers.values()) + 1):
            if all(number <= count for count in layout.layers.values()):
                yield spec.model_copy(update={"layers": f"last:{number}"})
