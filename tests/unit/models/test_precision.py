"""Precision: bf16 autocast and float32 calls of one model, in any order, for every method."""

import pytest
import torch
from torch import Tensor, nn

from petbench.config.tree import options
from petbench.errors import UserError
from petbench.tuned.load import attach_by_name
from tiny_models import backbone, batch, disturb

NATIVE = [name for name in options("adapter") if "/" not in name]


@torch.no_grad()
def call(model: nn.Module, values: dict[str, Tensor], bf16: bool) -> Tensor:
    """Logits, without a change of mode: what was kept from earlier calls is still there."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found: Tensor = model(**values).logits
    return found


@pytest.mark.parametrize("name", ["tiny_bert", "tiny_t5", "tiny_gpt2"])
@pytest.mark.parametrize("adapter", NATIVE)
def test_bf16_and_float32_calls_follow_each_other(name: str, adapter: str) -> None:
    """Each call gives what it gives on a fresh model: nothing of one precision is kept for the other."""
    made = backbone(name)
    try:
        tuned = attach_by_name(made.model, adapter, seed=1)
    except UserError as error:
        pytest.skip(str(error))
    disturb(tuned.model, tuned.adapter_names)
    values = batch(name)
    alone = {}
    for bf16 in (True, False):
        tuned.model.train()
        alone[bf16] = call(tuned.model.eval(), values, bf16)
    assert not torch.equal(alone[True].float(), alone[False])
    for bf16 in (True, False, True, True, False, False):
        assert torch.equal(call(tuned.model, values, bf16), alone[bf16])
