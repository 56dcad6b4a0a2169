"""Frozen layers that hold their bf16 weights: the same bits, float32 parameters, new copies when a weight changes."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from petbench.tuned.attach import Tuned
from petbench.tuned.held import hold_frozen
from tiny_models import batch, tuned


def bits(one: Tuned, model: str) -> dict[str, Tensor]:
    """Loss, logits and gradients under bf16 autocast, dropout drawn from one seed."""
    one.model.train().zero_grad()
    inputs = batch(model)
    labels = {} if "labels" in inputs else {"labels": torch.tensor([0, 1])}
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        out = one.model(**inputs, **labels)
    out.loss.backward()
    found = {n: p.grad.clone() for n, p in one.model.named_parameters() if p.grad is not None}
    return {"loss": out.loss.detach(), "logits": out.logits.detach(), **found}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5", "tiny_gpt2", "tiny_llama"])
@pytest.mark.parametrize("method", ["krona", "bitfit", "houlsby", "prefix_tuning", "full"])
def test_the_bits_are_those_of_a_cast_at_every_call(method: str, model: str) -> None:
    fields: dict[str, Any] = {"bottleneck_dim": 8} if method == "houlsby" else {}
    if method == "bitfit" and model == "tiny_llama":
        pytest.skip("no biases")
    one = tuned(model, method, **fields)
    before, names = bits(one, model), {n: p.dtype for n, p in one.model.named_parameters()}
    hold_frozen(one.model)
    assert same(before, bits(one, model))
    assert same(before, bits(one, model))  # from the copies
    assert names == {n: p.dtype for n, p in one.model.named_parameters()}
    assert set(names.values()) == {torch.float32}
    assert one.model.state_dict().keys() >= names.keys()


def held_layer(one: Tuned) -> Any:
    return one.model.get_submodule(one.layout.sites("query")[0].module)


def test_a_copy_is_made_once_and_again_when_its_weight_changes() -> None:
    one = tuned("tiny_bert", "krona")
    hold_frozen(one.model)
    first = bits(one, "tiny_bert")
    layer = held_layer(one)
    kept = layer._lower._folded
    assert [each.dtype for each in kept] == [torch.bfloat16] * 2
    bits(one, "tiny_bert")
    assert layer._lower._folded is kept
    one.merge()
    merged = bits(one, "tiny_bert")
    assert not torch.equal(layer._lower._folded[0], kept[0])
    assert torch.allclose(merged["logits"], first["logits"], atol=0.1)
    one.unmerge()
    assert same(first, bits(one, "tiny_bert"))


def test_outside_autocast_and_in_a_copy_the_layer_is_what_it_was() -> None:
    one = tuned("tiny_bert", "krona")
    x = torch.randn(2, 3, 32)
    layer = held_layer(one)
    plain = torch.nn.functional.linear(x, layer.weight, layer.bias)
    hold_frozen(one.model)
    bits(one, "tiny_bert")
    twin = copy.deepcopy(layer)
    twin.weight.data.zero_()
    with torch.no_grad():
        assert torch.equal(torch.nn.functional.linear(x, layer.weight, layer.bias), plain)
        assert twin._lower._folded == ()
        assert not torch.equal(twin(x), layer(x))
