"""Precision: bf16 autocast and float32 calls of one model in any order, and scores in float32 under bf16."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from petbench.config.tree import options
from petbench.inference.ask import head_answerer, replies
from petbench.inference.label_tree import label_scores, written_answers
from petbench.models.precision import in_float32
from petbench.tasks.encode.encode import Encoded
from petbench.tuned.own_model import attach_by_name
from tiny_models import backbone, batch, disturb

NATIVE = [name for name in options("adapter") if "/" not in name]
CASES = [
    (name, adapter)
    for name in ("tiny_bert", "tiny_t5", "tiny_gpt2")
    for adapter in NATIVE
    if (name, adapter) != ("tiny_t5", "head_only")  # there is no head to train
]


@torch.no_grad()
def call(model: nn.Module, values: dict[str, Tensor], bf16: bool) -> Tensor:
    """Logits, without a change of mode: what was kept from earlier calls is still there."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found: Tensor = model(**values).logits
    return found


@pytest.mark.parametrize(("name", "adapter"), CASES)
def test_bf16_and_float32_calls_follow_each_other(name: str, adapter: str) -> None:
    """Each call gives what it gives on a fresh model: nothing of one precision is kept for the other."""
    tuned = attach_by_name(backbone(name).model, adapter, seed=1)
    disturb(tuned.model, tuned.adapter_names)
    values = batch(name)
    alone = {}
    for bf16 in (True, False):
        tuned.model.train()  # forgets
        alone[bf16] = call(tuned.model.eval(), values, bf16)
    assert not torch.equal(alone[True].float(), alone[False])
    for bf16 in (True, False, True, True, False, False):
        assert torch.equal(call(tuned.model, values, bf16), alone[bf16])


def rows(number: int, tokens: int = 12) -> Encoded:
    """Random rows without labels."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 99, (number * tokens,), generator=generator).numpy().astype("int32")
    offsets = torch.arange(0, number * tokens + 1, tokens).numpy()
    return Encoded("head", ids, offsets, None, None, None)


@pytest.mark.parametrize("adapter", ["krona", "peft/lora"])
@pytest.mark.parametrize(
    "name", ["tiny_bert", "tiny_roberta", "tiny_distilbert", "tiny_gpt2", "tiny_deberta"]
)
def test_regression_answers_are_not_quantised_by_bf16(name: str, adapter: str) -> None:
    """bf16 has 8 bits of mantissa: 128 numbers near one value would become a handful."""
    made = backbone(name, regression=True)
    tuned = attach_by_name(made.model, adapter, seed=1)
    answerer = head_answerer(True, made.layout.head_modules)
    found: dict[str, list[Any]] = {}
    for precision in ("bf16", "no"):
        AcceleratorState._reset_state(reset_partial_state=True)  # of whatever ran before in this process
        accelerator = Accelerator(cpu=True, mixed_precision=precision)
        said = replies(accelerator, tuned.model, rows(128), answerer, 32, 0)
        found[precision] = [reply.answer for reply in said]
        accelerator.state._reset_state(reset_partial_state=True)
    assert len(set(found["bf16"])) > 125  # with a bf16 head 95 to 123, and 7 near 2.5
    assert torch.tensor(found["bf16"]) == pytest.approx(torch.tensor(found["no"]), abs=0.05)
    assert found["bf16"] != found["no"]  # the body did run in bf16


def scored(model: Any, tokenizer: Any, values: dict[str, Tensor]) -> None:
    label_scores(model, values, [[7, 1], [8, 1], [9, 4, 1]])


def written(model: Any, tokenizer: Any, values: dict[str, Tensor]) -> None:
    written_answers(model, values, tokenizer, 3)


@pytest.mark.parametrize("adapter", ["krona", "bitfit", "peft/lora"])
@pytest.mark.parametrize("ask", [scored, written])
def test_odds_of_tokens_are_computed_in_float32(ask: Any, adapter: str) -> None:
    """bitfit's bias on the output layer is a hook: it acts on the float32 logits."""
    made = backbone("tiny_t5")
    tuned = attach_by_name(made.model, adapter, seed=1)
    disturb(tuned.model, tuned.adapter_names)
    tuned.model.eval()
    values = {key: value for key, value in batch("tiny_t5").items() if key != "labels"}
    seen: list[Tensor] = []
    made.model.lm_head.register_forward_hook(lambda module, given, output: seen.append(output))
    with torch.autocast("cpu", torch.bfloat16):
        ask(tuned.model, made.tokenizer, values)
        odds = [tensor for tensor in seen if tensor.numel()]
        assert odds and all(tensor.dtype == torch.float32 for tensor in odds)
        assert not any(torch.equal(tensor, tensor.bfloat16().float()) for tensor in odds)
        seen.clear()
        call(tuned.model, batch("tiny_t5"), bf16=True)
    assert seen[0].dtype == torch.bfloat16, "outside, the output layer is as it was"


def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model = backbone("tiny_bert").model
    with pytest.raises(RuntimeError, match="stop"), in_float32(model, ["classifier"]):
        raise RuntimeError("stop")
    assert "forward" not in vars(model.classifier)
    with pytest.raises(AttributeError), in_float32(model, ["no_such_head"]):
        pass
