"""LoRA and (IA)^3 against huggingface/peft: the same weights give the same logits."""

import pytest
import torch

from petbench.models.sites import Site
from petbench.tuned.attach import Tuned
from tiny_models import backbone, batch, copy_values, logits, tuned


def _sites(native: Tuned) -> list[tuple[str, Site]]:
    """(key of the native adapter, its site)."""
    return [(a.key, a.site) for a in native.installed.attachments]  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5", "tiny_llama"])
def test_lora_equals_pefts(model: str) -> None:
    native = tuned(model, "lora", rank=4, alpha=6.0)
    theirs = tuned(
        model, "peft", peft_type="LORA", targets=["query", "value"], arguments={"r": 4, "lora_alpha": 6}
    )
    own = dict(native.model.named_parameters())
    assert theirs.adapter_names
    copied = {
        f"base_model.model.{site.module}.lora_{part}.default.weight": own[f"petbench.{key}.{part}"]
        for key, site in _sites(native)
        for part in "AB"
    }
    assert copied.keys() == theirs.adapter_names
    copy_values(copied, theirs.model)
    values = batch(model)
    bare = logits(backbone(model).model, values)
    ours = logits(native.model, values)
    assert (ours - bare).abs().max() > 1e-3, "the adapter changes too little for a comparison"
    torch.testing.assert_close(ours, logits(theirs.model, values), rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5", "tiny_llama"])
def test_ia3_equals_pefts(model: str) -> None:
    native = tuned(model, "ia3")
    theirs = tuned(
        model,
        "peft",
        peft_type="IA3",
        targets=["key", "value", "ffn_output"],
        feedforward=["ffn_output"],
    )
    own = dict(native.model.named_parameters())
    copied = {}
    for key, site in _sites(native):
        vector = own[f"petbench.{key}.l"]
        shaped = vector[None, :] if site.role == "ffn_output" else vector[:, None]
        copied[f"base_model.model.{site.module}.ia3_l.default"] = shaped
    assert copied.keys() == theirs.adapter_names
    copy_values(copied, theirs.model)
    values = batch(model)
    ours = logits(native.model, values)
    assert (ours - logits(backbone(model).model, values)).abs().max() > 1e-3
    torch.testing.assert_close(ours, logits(theirs.model, values), rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5"])
def test_ln_tuning_equals_pefts(model: str) -> None:
    native = tuned(model, "ln_tuning", norms=["attention_norm", "ffn_norm"])
    theirs = tuned(model, "peft", peft_type="LN_TUNING", targets=["attention_norm", "ffn_norm"])
    own = dict(native.model.named_parameters())
    generator = torch.Generator().manual_seed(3)
    copied = {}
    with torch.no_grad():
        for name in sorted(native.norm_names):
            own[name].add_(torch.randn(own[name].shape, generator=generator) * 0.2)
            module, _, leaf = name.rpartition(".")
            copied[f"base_model.model.{module}.ln_tuning_layers.default.{leaf}"] = own[name]
    assert copied.keys() == theirs.adapter_names
    copy_values(copied, theirs.model)
    values = batch(model)
    ours = logits(native.model, values)
    assert (ours - logits(backbone(model).model, values)).abs().max() > 1e-3
    torch.testing.assert_close(ours, logits(theirs.model, values), rtol=0, atol=1e-5)
