"""Prompt and prefix tuning against huggingface/peft: the same vectors give the same logits and texts."""

import pytest
import torch

from tiny_models import backbone, batch, copy_values, logits, tuned

TASKS = {"tiny_t5": "SEQ_2_SEQ_LM"}


@pytest.mark.parametrize(
    ("model", "padded"),
    [("tiny_bert", True), ("tiny_roberta", True), ("tiny_t5", True), ("tiny_gpt2", False)],
)
def test_prompt_tuning_equals_pefts(model: str, padded: bool) -> None:
    """GPT-2's head loses the padding under PEFT, so it is compared without."""
    import peft

    native = tuned(model, "prompt_tuning", prompt_length=5)
    (name,) = native.adapter_names
    vectors = dict(native.model.named_parameters())[name]
    config = peft.PromptTuningConfig(
        task_type=TASKS.get(model, "SEQ_CLS"), num_virtual_tokens=5, num_transformer_submodules=1
    )
    theirs = peft.get_peft_model(backbone(model).model, config)
    copy_values({"prompt_encoder.default.embedding.weight": vectors}, theirs)
    values = batch(model, padded)
    ours = logits(native.model, values)
    assert (ours - logits(backbone(model).model, values)).abs().max() > 1e-3
    torch.testing.assert_close(ours, logits(theirs, values), rtol=0, atol=1e-5)
    if model == "tiny_t5":
        given = {k: v for k, v in values.items() if k != "labels"}
        written = native.model.generate(**given, max_new_tokens=5, do_sample=False)  # type: ignore[operator]
        assert torch.equal(written, theirs.generate(**given, max_new_tokens=5, do_sample=False))


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_gpt2", "tiny_llama"])
@pytest.mark.parametrize("mlp_width", [None, 16])
def test_prefix_tuning_equals_pefts(model: str, mlp_width: int | None) -> None:
    arguments = {
        "num_virtual_tokens": 5,
        "prefix_projection": mlp_width is not None,
        "encoder_hidden_size": mlp_width,
    }
    if mlp_width is not None and model == "tiny_llama":
        pytest.skip(
            "PEFT's projection starts from the key's width where keys are narrower; ours from the model's"
        )
    native = tuned(model, "prefix_tuning", prefix_length=5, mlp_width=mlp_width)
    theirs = tuned(model, "peft", peft_type="PREFIX_TUNING", arguments=arguments)
    own = {
        name.rpartition("prefix.")[2]: p for name, p in native.model.named_parameters() if "prefix" in name
    }
    copied = {"prompt_encoder.default.embedding.weight": own.pop("P")}
    for name, value in own.items():
        copied[f"prompt_encoder.default.transform.{name.removeprefix('mlp.')}"] = value
    assert copied.keys() == theirs.adapter_names
    copy_values(copied, theirs.model)
    values = batch(model)
    ours = logits(native.model, values)
    assert (ours - logits(backbone(model).model, values)).abs().max() > 1e-3
    torch.testing.assert_close(ours, logits(theirs.model, values), rtol=0, atol=1e-5)


def test_prefix_tuning_of_t5_equals_pefts_where_all_layers_share_one_prefix() -> None:
    """PEFT gives layer j of T5's decoder entry 2j modulo L of its table, so every second entry is never used."""
    native = tuned("tiny_t5", "prefix_tuning", prefix_length=5)
    theirs = tuned("tiny_t5", "peft", peft_type="PREFIX_TUNING", arguments={"num_virtual_tokens": 5})
    (name,) = native.adapter_names
    table = dict(native.model.named_parameters())[name]
    with torch.no_grad():
        table[:, 64:] = table[:, :64]  # (n, 2 layers · 2 · 32)
    copy_values({"prompt_encoder.default.embedding.weight": table}, theirs.model)
    values = batch("tiny_t5")
    torch.testing.assert_close(logits(native.model, values), logits(theirs.model, values), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning", "mam"])
def test_generation_with_a_cache_equals_generation_without(method: str) -> None:
    fields = {"bottleneck_dim": 4} if method == "mam" else {}
    model = tuned("tiny_t5", method, **fields).model
    given = {k: v for k, v in batch("tiny_t5").items() if k != "labels"}
    cached, plain = (
        model.generate(**given, max_new_tokens=6, do_sample=False, use_cache=cache)  # type: ignore[operator]
        for cache in (True, False)
    )
    assert torch.equal(cached, plain)


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("model", ["tiny_bert", "tiny_roberta", "tiny_gpt2", "tiny_modernbert", "tiny_t5"])
def test_padding_changes_nothing(method: str, model: str) -> None:
    if method == "prefix_tuning" and model == "tiny_modernbert":
        pytest.skip("no place for a prefix")
    tuned_model = tuned(model, method).model
    values = batch(model)
    alone = {k: v[1:, :5] if k != "labels" else v[1:] for k, v in values.items()}
    torch.testing.assert_close(logits(tuned_model, values)[1:], logits(tuned_model, alone), rtol=0, atol=1e-5)
