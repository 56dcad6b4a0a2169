"""An encoder-decoder that cannot be decoded is refused in the plan, before weights and rows are touched."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.errors import UserError
from petbench.training.plan import Plan, plan

T5 = {
    "vocab_size": 1024, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0,
}  # fmt: skip

BART = {
    "vocab_size": 1024, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
}  # fmt: skip


def planned(folder: Path, form: str, model_type: str, **values: Any) -> Plan:
    """The plan of LoRA on a model that is a config alone."""
    AutoConfig.for_model(model_type, **values).save_pretrained(folder)
    words = ["adapter=lora", f"model.name={folder}", "model.weights=random", "model.tokenizer=built"]
    (member,) = expand([*words, f"task.form={form}"])
    return plan(parse(member.values, spec_of))


@pytest.mark.parametrize(
    ("form", "model_type", "values", "why"),
    [
        ("auto", "t5", T5 | {"num_decoder_layers": 0}, "this t5 model has no decoder layer"),
        ("text", "t5", T5 | {"num_decoder_layers": 0}, "this t5 model has no decoder layer"),
        ("auto", "t5", T5 | {"is_encoder_decoder": False}, "config.json says is_encoder_decoder=false"),
        ("head", "t5", T5 | {"is_encoder_decoder": False}, "config.json says is_encoder_decoder=false"),
        ("text", "t5", T5 | {"is_encoder_decoder": False}, "which is not an encoder-decoder"),
        ("text", "bart", BART, "task.form: got 'text' for a bart model, whose label strings cannot be scored"),
        ("head", "bart", BART | {"is_encoder_decoder": False}, "this bart model's config.json says"),
    ],
)  # fmt: skip
def test_what_cannot_be_decoded_is_refused(
    tmp_path: Path,
    form: str,
    model_type: str,
    values: dict[str, Any],
    why: str,
) -> None:
    with pytest.raises(UserError, match=why):
        planned(tmp_path, form, model_type, **values)


@pytest.mark.parametrize("model_type", ["mt5", "umt5", "pegasus"])
def test_a_family_that_no_table_has_is_refused(tmp_path: Path, model_type: str) -> None:
    with pytest.raises(UserError, match=rf"the architecture: '{model_type}' is unknown"):
        planned(tmp_path, "auto", model_type)


@pytest.mark.parametrize("form", ["auto", "text", "head"])
@pytest.mark.parametrize("gated", [{}, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}])
def test_a_whole_t5_is_planned(tmp_path: Path, form: str, gated: dict[str, Any]) -> None:
    assert planned(tmp_path, form, "t5", **T5, **gated).form == ("head" if form == "head" else "text")


@pytest.mark.parametrize("form", ["auto", "head"])
def test_a_bart_answers_by_its_head(tmp_path: Path, form: str) -> None:
    assert planned(tmp_path, form, "bart", **BART).form == "head"
