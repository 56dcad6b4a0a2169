"""LN-tuning: weight and bias of the layer norms train, nothing is added.

    y = g ⊙ (x - mean) / std + c        g, c (d) of every norm of the chosen roles train

2·d parameters a norm (d where the norm has no bias, as in T5). BERT-base's encoder has 36,864, as many as the
Hadamard adapter trains, so a table that shows one should show the other.

Qi et al., Parameter-efficient tuning on layer normalization for pre-trained language models, 2022,
arXiv 2211.08682; the count of its norms follows Chen et al. 2023 (arXiv 2407.11033).
"""

from collections.abc import Iterable

from torch import Tensor, nn

from petbench.adapters.adapter import Attachment
from petbench.adapters.method import Installed, Method
from petbench.adapters.peft_form import ROOT, PeftForm, Ranks
from petbench.adapters.peft_in import Foreign, places
from petbench.adapters.registry import register
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError
from petbench.models.sites import Layout

NORM_ROLES = ("attention_norm", "ffn_norm", "final_norm")


class LNTuningSpec(AdapterSpec):
    """Which norms train; a role that the model does not have is skipped."""

    norms: tuple[str, ...] = NORM_ROLES


@register
class LNTuning(Method[LNTuningSpec]):
    """The norms of the encoder and decoder."""

    name = "ln_tuning"
    Spec = LNTuningSpec
    peft_type = "LN_TUNING"

    def attachments(self, spec: LNTuningSpec, layout: Layout) -> Iterable[Attachment]:
        return ()

    def count(self, spec: LNTuningSpec, layout: Layout) -> int:
        return 0  # nothing is added: norms are counted apart

    def mergeable(self, spec: LNTuningSpec, layout: Layout) -> bool:
        return True  # nothing to merge

    def trains(self, spec: LNTuningSpec, layout: Layout, model: nn.Module) -> set[str]:
        wrong = [role for role in spec.norms if role not in NORM_ROLES]
        if wrong or not spec.norms:
            raise UserError(
                f"adapter.norms: got {list(spec.norms)}. Legal: one or more of {', '.join(NORM_ROLES)}."
            )
        modules = self._modules(spec, layout)
        if not modules:
            raise UserError(f"adapter.norms: a {layout.family} model has none of {', '.join(spec.norms)}.")
        return {f"{m}.{name}" for m in modules for name, _ in model.get_submodule(m).named_parameters()}

    def _modules(self, spec: LNTuningSpec, layout: Layout) -> list[str]:
        return [
            site.module
            for role in spec.norms
            # A final norm belongs to no layer: it trains when all layers do.
            if layout.has(role) and (role != "final_norm" or spec.layers == "all")
            for site in layout.sites(role, layers=spec.layers)
        ]

    def peft_form(self, spec: LNTuningSpec, layout: Layout, installed: Installed, ranks: Ranks) -> PeftForm:
        own, values, modules = dict(installed.model.named_parameters()), {}, set()
        for name in self.trains(spec, layout, installed.model):
            module, _, leaf = name.rpartition(".")
            modules.add(module)
            values[f"{ROOT}{module}.ln_tuning_layers.default.{leaf}"] = own[name].detach()
        arguments = {"target_modules": sorted(modules)}
        return PeftForm("LN_TUNING", arguments, values, "LN-tuning", norms_in_form=True)

    def spec_of_peft(self, foreign: Foreign, layout: Layout) -> LNTuningSpec:
        sites = places(foreign, layout, lambda site: True, NORM_ROLES)
        norms = tuple(role for role in NORM_ROLES if any(site.role == role for site in sites))
        layers = tuple(sorted({site.layer for site in sites if site.layer >= 0}))
        for choice in ("all", layers):
            spec = LNTuningSpec(method="ln_tuning", name="ln_tuning", norms=norms, layers=choice)
            if {site.module for site in sites} == set(self._modules(spec, layout)):
                return spec
        raise foreign.refusal(f"its norms are not {', '.join(norms)} of the same layers for each role")

    def values_of_peft(
        self, foreign: Foreign, spec: LNTuningSpec, layout: Layout, installed: Installed
    ) -> dict[str, Tensor]:
        own = self.trains(spec, layout, installed.model)
        values = {f"{m}.{leaf}": t for m, part in foreign.parts.items() for leaf, t in part.items()}
        if values.keys() != own:
            odd = min(values.keys() ^ own)
            side = "in this adapter alone" if odd in values else "in this run alone"
            raise UserError(
                f"{foreign.folder}: {odd} trains {side}. Set adapter.norms and adapter.layers to the adapter's."
            )
        return values
