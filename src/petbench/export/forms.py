"""The PEFT form of a tuned model: which of PEFT's configs holds it exactly, and with which values."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from petbench.adapters.methods.ia3 import ScaleAdapter
from petbench.adapters.methods.lora import LoRAAdapter
from petbench.adapters.methods.prefix import PrefixAdapter
from petbench.adapters.methods.prompt import PromptAdapter
from petbench.errors import UserError
from petbench.export.krona import krona_form
from petbench.export.lowrank import ROOT, LowRank, PeftForm, attachments_of, lora_form, width_of
from petbench.tuned.attach import Tuned


def peft_form(tuned: Tuned, max_rank: int, approximate: int | None) -> PeftForm:
    """Raises UserError where PEFT has no equal form, saying why and what to do instead."""
    name = tuned.method.name
    if name == "peft":
        own = dict(tuned.model.named_parameters())
        config = tuned.installed.model.peft_config["default"].to_dict()  # type: ignore[union-attr, index]
        drop = ("peft_type", "task_type", "inference_mode", "modules_to_save", "base_model_name_or_path")
        arguments = {key: value for key, value in config.items() if key not in drop}
        values = {n: own[n].detach() for n in tuned.adapter_names}
        return PeftForm(tuned.spec.kind, arguments, values)  # type: ignore[attr-defined]
    if name == "krona":
        return krona_form(tuned, max_rank, approximate)
    if name not in _FORMS:
        instead = (
            " `petbench merge` writes a plain checkpoint instead."
            if tuned.method.mergeable(tuned.spec, tuned.layout)
            else ""
        )
        raise UserError(f"{name} cannot be exported to PEFT: no method of PEFT computes the same.{instead}")
    return _FORMS[name](tuned)


def _lora(tuned: Tuned) -> PeftForm:
    changes = []
    for attachment in attachments_of(tuned):
        adapter = attachment.adapter
        assert isinstance(adapter, LoRAAdapter)
        up = adapter.B.detach() * adapter.scaling
        changes.append(LowRank(attachment.site, adapter.A.detach(), up, (0.0, 0.0)))
    return lora_form(changes, tuned.layout)


def _ia3(tuned: Tuned) -> PeftForm:
    values: dict[str, Tensor] = {}
    inputs: list[str] = []
    for attachment in attachments_of(tuned):
        adapter, site = attachment.adapter, attachment.site
        assert isinstance(adapter, ScaleAdapter)
        name, vector = f"{ROOT}{site.module}.ia3_l.default", adapter.l.detach()
        if attachment.at == "input":
            inputs.append(site.module)
            values[name] = vector[None, :]
            continue
        whole = values.setdefault(name, vector.new_ones(width_of(tuned.layout, site.module), 1))
        start, stop = site.columns or (0, site.d_out)
        whole[start:stop, 0] = vector
    modules = list(dict.fromkeys(attachment.site.module for attachment in attachments_of(tuned)))
    arguments = {
        "target_modules": modules,
        "feedforward_modules": inputs,
        "fan_in_fan_out": any(a.site.transposed for a in attachments_of(tuned)),
    }
    return PeftForm("IA3", arguments, values, "(IA)^3")


def _ln_tuning(tuned: Tuned) -> PeftForm:
    own = dict(tuned.model.named_parameters())
    values = {}
    for name in tuned.norm_names:
        module, _, leaf = name.rpartition(".")
        values[f"{ROOT}{module}.ln_tuning_layers.default.{leaf}"] = own[name].detach()
    modules = sorted({name.rpartition(".")[0] for name in tuned.norm_names})
    return PeftForm("LN_TUNING", {"target_modules": modules}, values, "LN-tuning", norms_in_form=True)


def _prompt(tuned: Tuned) -> PeftForm:
    layout = tuned.layout
    if layout.head_modules and layout.head_reads != "first":
        raise UserError(
            f"prompt_tuning on {layout.family} with a head cannot be exported: under PEFT the head no longer knows "
            "which tokens are real, so the logits would differ."
        )
    (attachment,) = attachments_of(tuned)
    adapter = attachment.adapter
    assert isinstance(adapter, PromptAdapter)
    length, width = adapter.P.shape
    # PEFT wants heads and layers even for a prompt, and does not find them under DistilBERT's names.
    arguments = {
        "num_virtual_tokens": length,
        "token_dim": width,
        "num_attention_heads": layout.sites("query")[0].heads,
        "num_layers": next(iter(layout.layers.values())),
        "num_transformer_submodules": 1,
    }
    values = {"prompt_encoder.default.embedding.weight": adapter.P.detach()}
    return PeftForm("PROMPT_TUNING", arguments, values, f"prompt tuning of {length} vectors")


def _prefix(tuned: Tuned) -> PeftForm:
    layout = tuned.layout
    if layout.encoder_decoder or ("encoder" in layout.layers and not layout.pooled_head):
        why = (
            "PEFT gives a table to the decoder's own attention alone, and spreads it otherwise over the layers"
            if layout.encoder_decoder
            else "PEFT does not call this family's head"
        )
        raise UserError(
            f"prefix_tuning on {layout.family} cannot be exported: {why}. The forms agree for bert."
        )
    (attachment,) = attachments_of(tuned)
    adapter = attachment.adapter
    assert isinstance(adapter, PrefixAdapter)
    with torch.no_grad():
        table = adapter.mlp(adapter.P)  # PEFT too saves what its projection gives
    key = layout.sites("key", attention="self")[0]
    arguments = {
        "num_virtual_tokens": adapter.length,
        "token_dim": key.d_out,
        "num_attention_heads": key.heads,
        "num_layers": adapter.layers,
        "num_transformer_submodules": 1,
        "prefix_projection": False,
    }
    values = {"prompt_encoder.default.embedding.weight": table.detach()}
    return PeftForm("PREFIX_TUNING", arguments, values, f"prefix tuning of {adapter.length} positions")


_FORMS: Mapping[str, Callable[[Tuned], PeftForm]] = {
    "lora": _lora,
    "ia3": _ia3,
    "ln_tuning": _ln_tuning,
    "prompt_tuning": _prompt,
    "prefix_tuning": _prefix,
}
