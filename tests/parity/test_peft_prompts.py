"""Prompt and prefix tuning against huggingface/peft: the same vectors give the same logits and texts."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from petbench.adapters.peft.config import PeftSpec, peft_config
from petbench.adapters.peft.method import no_keys_in
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


def cache_argument(module: nn.Module) -> str:
    """What this release of transformers calls a model's key-value cache."""
    return next(n for n in ("cache", "past_key_values") if n in inspect.signature(module.forward).parameters)


@torch.no_grad()
def logits_over_pefts_cache(wrapped: Any, values: dict[str, Tensor], length: int) -> Tensor:
    """What PEFT's forward computes where it works: its keys and values as the cache of the model's body."""
    model = wrapped.get_base_model()
    rows = len(values["input_ids"])

    def put(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        mask = torch.cat([torch.ones(rows, length, dtype=torch.long), keywords["attention_mask"]], dim=1)
        cache = wrapped.get_prompt(batch_size=rows)
        return arguments, {**keywords, "attention_mask": mask, cache_argument(module): cache}

    handle = model.base_model.register_forward_pre_hook(put, with_kwargs=True)
    try:
        result: Tensor = model.eval()(**values).logits
    finally:
        handle.remove()
    return result


CACHED = ["tiny_bert", "tiny_roberta", "tiny_electra", "tiny_gpt2", "tiny_llama", "tiny_qwen2", "tiny_qwen3"]


@pytest.mark.parametrize(
    ("model", "mlp_width"),
    # PEFT's projection starts from the key's width, which is narrower in the others; ours from the model's.
    [*((model, None) for model in CACHED), *((model, 16) for model in CACHED[:4])],
)
def test_prefix_tuning_equals_pefts(model: str, mlp_width: int | None) -> None:
    """The same values: as PEFT hands them in, and through PEFT's own call where this transformers lets it."""
    import peft

    made = backbone(model)
    spec = PeftSpec(
        method="peft",
        peft_type="PREFIX_TUNING",
        arguments={
            "num_virtual_tokens": 5,
            "prefix_projection": mlp_width is not None,
            "encoder_hidden_size": mlp_width,
        },
    )
    theirs = peft.get_peft_model(made.model, peft_config(spec, made.layout))
    native = tuned(model, "prefix_tuning", prefix_length=5, mlp_width=mlp_width)
    own = {
        name.rpartition("prefix.")[2]: p for name, p in native.model.named_parameters() if "prefix" in name
    }
    copied = {"prompt_encoder.default.embedding.weight": own.pop("P")}
    for name, value in own.items():
        copied[f"prompt_encoder.default.transform.{name.removeprefix('mlp.')}"] = value
    learned = {n: p for n, p in theirs.named_parameters() if n.startswith("prompt_encoder.")}
    assert copied.keys() == learned.keys()
    copy_values(copied, theirs)
    values = batch(model)
    ours = logits(native.model, values)
    assert (ours - logits(backbone(model).model, values)).abs().max() > 1e-3
    torch.testing.assert_close(ours, logits_over_pefts_cache(theirs, values, 5), rtol=0, atol=1e-5)
    theirs.requires_grad_(True)
    if not no_keys_in(theirs, list(learned.values())) and model not in ("tiny_roberta", "tiny_electra"):
        # PEFT leaves out the head's first layers in those two.
        torch.testing.assert_close(ours, logits(theirs, values), rtol=0, atol=1e-5)


def test_prefix_tuning_of_t5_equals_pefts_where_all_layers_share_one_prefix() -> None:
    """PEFT gives layer j of T5's decoder entry 2j modulo L of its table, so every second entry is never used."""
    native = tuned("tiny_t5", "prefix_tuning", prefix_length=5, attentions=["decoder"])
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
    tuned_model = tuned(model, method).model
    values = batch(model)
    alone = {k: v[1:, :5] if k != "labels" else v[1:] for k, v in values.items()}
    torch.testing.assert_close(logits(tuned_model, values)[1:], logits(tuned_model, alone), rtol=0, atol=1e-5)
