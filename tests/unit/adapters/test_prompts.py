"""Prompt tuning, prefix tuning and mam: inits, counts, masks, refusals."""

from typing import Any

import pytest
import torch

from petbench.adapters.registry import method_named
from petbench.errors import UserError
from petbench.models.sites import Layout
from petbench.tuned.attach import attach
from tiny_models import backbone, batch, logits, tuned


def count(name: str, layout: Layout, **fields: Any) -> int:
    method = method_named(name)
    return method.count(method.Spec.model_validate({"method": name, **fields}), layout)


def test_counts(tiny_bert: Layout, tiny_t5: Layout) -> None:
    assert count("prompt_tuning", tiny_bert, prompt_length=7) == 7 * 32
    assert count("prefix_tuning", tiny_bert, prefix_length=7) == 2 * 2 * 7 * 32
    with_mlp = 7 * 32 + (32 * 5 + 5) + (5 * 128 + 128)
    # Two layers of T5: two attentions in the encoder, two and two to the encoder in the decoder.
    assert count("prefix_tuning", tiny_t5, prefix_length=7) == 6 * 2 * 7 * 32
    assert count("prefix_tuning", tiny_t5, prefix_length=7, attentions=["decoder"]) == 2 * 2 * 7 * 32
    assert count("prefix_tuning", tiny_t5, prefix_length=7, mlp_width=5) == 3 * with_mlp
    assert count("prefix_tuning", tiny_t5, prefix_length=7, mlp_width=5, attentions=["cross"]) == with_mlp
    adapter = 2 * (2 * 32 * 3 + 3 + 32)
    assert count("mam", tiny_bert, prefix_length=7, bottleneck_dim=3) == 2 * 2 * 7 * 32 + adapter
    whole = 6 * 2 * 7 * 32 + 2 * adapter
    assert count("mam", tiny_t5, prefix_length=7, bottleneck_dim=3) == whole
    some = count("mam", tiny_t5, prefix_length=7, bottleneck_dim=3, attentions=["encoder", "cross"])
    assert some == whole - 2 * 2 * 7 * 32


def test_keys_are_narrower_under_grouped_query_attention() -> None:
    layout = backbone("tiny_llama").layout
    key = layout.sites("key")[0]
    assert key.d_out < layout.hidden
    assert count("prefix_tuning", layout, prefix_length=3) == 2 * 2 * 3 * key.d_out


def start(name: str, init: str, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(vectors at the start, embedding table)."""
    made = backbone(name)
    method = method_named("prompt_tuning")
    spec = method.Spec.model_validate({"method": "prompt_tuning", "init": init, "prompt_length": length})
    result = attach(made.model, method, spec, made.layout, seed=seed)
    (parameter,) = result.adapter_names
    return dict(result.model.named_parameters())[parameter].detach(), made.model.get_input_embeddings().weight


@pytest.mark.parametrize("name", ["tiny_bert", "tiny_t5", "tiny_gpt2"])
def test_token_init_is_the_first_rows_of_the_embedding_table(name: str) -> None:
    for seed in (0, 1):
        vectors, table = start(name, "token", 100, seed)
        assert torch.equal(vectors, table[:100])


def test_random_token_init_draws_rows_and_random_stays_within_half() -> None:
    for seed in (0, 1):
        vectors, table = start("tiny_bert", "random_token", 6, seed)
        rows = [int((table == vector).all(-1).nonzero()[0, 0]) for vector in vectors]
        assert rows != list(range(6)) and len(set(rows)) > 3
    assert not torch.equal(start("tiny_bert", "random_token", 6, 0)[0], vectors)
    vectors, table = start("tiny_bert", "random", 6)
    assert not any((table == vector).all(-1).any() for vector in vectors)
    assert 0.3 < float(vectors.abs().max()) <= 0.5


def test_more_vectors_than_rows_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"prompt_length 2000 with adapter.init=token.*has \d+ rows. Legal: 1 to"
    ):
        tuned("tiny_t5", "prompt_tuning", prompt_length=2000, init="token")


def test_a_prompt_of_all_positions_is_refused() -> None:
    with pytest.raises(UserError, match=r"prompt_length 512 leaves no room .*512 positions. Legal: 1 to 511"):
        tuned("tiny_bert", "prompt_tuning", prompt_length=512)


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_switched_off_the_model_is_the_backbone(method: str) -> None:
    made = tuned("tiny_gpt2", method)
    values = batch("tiny_gpt2")
    with made.disabled():
        assert torch.equal(logits(made.model, values), logits(backbone("tiny_gpt2").model, values))


@pytest.mark.parametrize("model", ["tiny_mpnet", "tiny_deberta"])
@pytest.mark.parametrize("method", ["prefix_tuning", "mam"])
def test_a_family_whose_attention_takes_no_keys_is_refused_with_the_reason(model: str, method: str) -> None:
    fields = {"bottleneck_dim": 2} if method == "mam" else {}
    with pytest.raises(UserError, match=r"has no place for a prefix: .*own code.* Use adapter=prompt_tuning"):
        tuned(model, method, **fields)


@pytest.mark.parametrize(
    ("model", "attentions", "legal"),
    [
        ("tiny_bert", ["cross"], "Legal for a bert model: null, or some of encoder."),
        ("tiny_bert", [], "Legal for a bert model: null, or some of encoder."),
        ("tiny_gpt2", ["encoder", "decoder"], "Legal for a gpt2 model: null, or some of decoder."),
        ("tiny_t5", [], "Legal for a t5 model: null, or some of encoder, decoder, cross."),
    ],
)
def test_attentions_that_are_not_there_are_named(model: str, attentions: list[str], legal: str) -> None:
    with pytest.raises(UserError) as caught:
        tuned(model, "prefix_tuning", attentions=attentions)
    assert str(caught.value) == f"adapter.attentions: got {attentions}. {legal}"


def test_a_run_of_before_there_was_a_choice_of_attentions_keeps_its_id() -> None:
    """The committed records name no attentions."""
    method = method_named("prefix_tuning")
    plain = {"method": "prefix_tuning", "prefix_length": 20, "mlp_width": None}
    assert "attentions" not in method.Spec.model_validate(plain).model_dump(mode="json")
    chosen = method.Spec.model_validate({**plain, "attentions": ["decoder"]}).model_dump(mode="json")
    assert chosen["attentions"] == ["decoder"]


def test_a_prefix_goes_into_all_layers() -> None:
    for method in ("prefix_tuning", "mam"):
        fields = {"bottleneck_dim": 2} if method == "mam" else {}
        with pytest.raises(UserError, match=r"adapter.layers: got 'last:1'. Legal: all"):
            tuned("tiny_bert", method, layers="last:1", **fields)


def test_no_cache_is_handed_back_to_who_asked_for_none() -> None:
    """Otherwise generation without a cache would read its tokens twice."""
    made = tuned("tiny_t5", "prefix_tuning")
    with torch.no_grad():
        assert "past_key_values" not in made.model(**batch("tiny_t5"), use_cache=False)
