"""Made-up inputs: every family takes them with a head, for one number, and as text."""

from functools import cache
from typing import Any

import pytest
import torch

from petbench.adapters.registry import method_named
from petbench.compose.expand import choice
from petbench.config.sections import ModelSpec
from petbench.config.tree import options
from petbench.errors import UserError
from petbench.models.load import Backbone, Form, load
from petbench.models.made_up import made_up
from petbench.tuned.attach import attach

TINY = [name for name in options("model") if name.startswith("tiny_")]
FORMS = [(name, "head") for name in TINY] + [(name, "text") for name in TINY if "t5" in name]
SEVERAL_SEGMENTS = {"tiny_bert", "tiny_albert", "tiny_electra"}
LENGTHS = (9, 4, 7)


@cache
def made(name: str, form: Form, labels: int = 2) -> Backbone:
    spec = ModelSpec.model_validate(choice("model", name))
    return load(spec, form, labels, labels == 1, seed=0)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_every_family_takes_them(name: str, form: Form) -> None:
    backbone = made(name, form)
    given = made_up(backbone.model, LENGTHS)
    with torch.no_grad():
        out = backbone.model(**given)
    assert out.loss.isfinite()
    assert out.logits.shape == ((3, 2) if form == "head" else (3, 2, backbone.model.config.vocab_size))
    assert given["attention_mask"].sum(1).tolist() == list(LENGTHS)
    padding = given["input_ids"][given["attention_mask"] == 0]
    assert set(padding.tolist()) == {backbone.tokenizer.pad_token_id}
    assert ("token_type_ids" in given) == (name in SEVERAL_SEGMENTS)
    if "token_type_ids" in given:
        assert given["token_type_ids"][0].tolist() == [0] * 5 + [1] * 4
        assert given["token_type_ids"][1].tolist() == [0, 0, 1, 1] + [0] * 5


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_padding_is_what_the_model_takes_for_padding(name: str, form: Form) -> None:
    """The short row alone and beside longer ones has the same logits."""
    model = made(name, form).model
    given = made_up(model, LENGTHS)
    alone = {n: t[1:2, : LENGTHS[1]] if t.shape[-1] == max(LENGTHS) else t[1:2] for n, t in given.items()}
    with torch.no_grad():
        torch.testing.assert_close(model(**alone).logits[0], model(**given).logits[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_no_token_is_special_but_the_end_of_an_encoder_decoders_row(name: str, form: Form) -> None:
    backbone = made(name, form)
    given = made_up(backbone.model, [40] * 20, seed=5)
    special = {*backbone.tokenizer.all_special_ids, backbone.model.config.pad_token_id}
    special -= {backbone.tokenizer.unk_token_id, getattr(backbone.tokenizer, "mask_token_id", None)}
    ends = (
        [given["input_ids"][:, -1], given["input_ids"][:, :-1]]
        if backbone.model.config.is_encoder_decoder
        else []
    )
    if ends:
        assert set(ends[0].tolist()) == {backbone.tokenizer.eos_token_id}
    body = ends[1] if ends else given["input_ids"]
    assert not special & set(body.flatten().tolist())
    assert len(body.unique()) > 300  # random, out of the whole vocabulary


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("labels", [1, 3])
def test_labels_fit_the_head(name: str, labels: int) -> None:
    model = made(name, "head", labels).model
    given = made_up(model, [5, 5, 5, 5])
    expected = [0.0, 1.0, 0.0, 1.0] if labels == 1 else [0, 1, 2, 0]
    assert given["labels"].tolist() == expected
    loss = model(**given).loss
    loss.backward()  # a number's loss wants float32 labels
    model.zero_grad()
    assert loss.isfinite()


def test_a_seed_is_one_draw() -> None:
    model = made("tiny_bert", "head").model
    first, again, other = (made_up(model, LENGTHS, seed)["input_ids"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_wrapper_of_peft_is_looked_through() -> None:
    backbone = made("tiny_t5", "head")
    method = method_named("peft")
    spec: Any = method.Spec.model_validate({"method": "peft", "peft_type": "LORA", "targets": ["query"]})
    tuned = attach(made.__wrapped__("tiny_t5", "head").model, method, spec, backbone.layout)
    own, wrapped = made_up(backbone.model, LENGTHS), made_up(tuned.model, LENGTHS)
    assert own.keys() == wrapped.keys()
    assert all(torch.equal(own[name], wrapped[name]) for name in own)


@pytest.mark.parametrize(
    ("name", "room"),
    [
        *(("tiny_bert", 512), ("tiny_roberta", 512), ("tiny_mpnet", 512), ("tiny_gpt2", 512)),
        *(("tiny_t5", None), ("tiny_llama", None), ("tiny_deberta", None)),
    ],
)
def test_a_row_ends_where_the_positions_do(name: str, room: int | None) -> None:
    """RoBERTa and MPNet have 514 places and begin at the third; rotary and relative positions have no end."""
    model = made(name, "head").model
    with torch.no_grad():
        assert model(**made_up(model, [room or 600])).logits.isfinite().all()
    if room is not None:
        with pytest.raises(UserError, match=f"row of {room + 1} tokens, but the model has {room} positions"):
            made_up(model, [room + 1])
