"""Hadamard: positions, merging, sharing, pruning and the two stages."""

import pytest
import torch
from torch import nn

from petbench.adapters.adapter import Affine
from petbench.adapters.method import Stage
from petbench.adapters.methods.hadamard import Hadamard, HadamardAdapter, HadamardSpec
from petbench.models.sites import Layout


def spec(**fields: object) -> HadamardSpec:
    return HadamardSpec.model_validate({"method": "hadamard", **fields})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("position", ["before_output_dense", "after_output_dense"])
def test_merged_layer_equals_adapter_and_layer(position: str, bias: bool) -> None:
    torch.manual_seed(0)
    dense = nn.Linear(6, 4, bias=bias)
    adapter = HadamardAdapter(6 if position == "before_output_dense" else 4, position)  # type: ignore[arg-type]
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 5, 6)
    expected = dense(adapter(x, x)) if position == "before_output_dense" else adapter(x, dense(x))
    weight, merged_bias = adapter.merged(Affine(dense.weight, dense.bias), None)
    torch.testing.assert_close(nn.functional.linear(x, weight, merged_bias), expected)


def test_two_stages_by_default_and_one_without_the_heads(tiny_bert: Layout) -> None:
    assert Hadamard().stages(spec()) == (
        Stage(share=0.5, adapter=False, head=True),
        Stage(share=0.5, adapter=True, head=False),
    )
    assert Hadamard().stages(spec(head_share=0.2, freeze_head_in_stage2=False))[1] == Stage(share=0.8)
    assert Hadamard().stages(spec(head_share=0)) == (Stage(share=1.0),)


def test_counts_shared_pruned_and_per_layer(tiny_bert: Layout, tiny_t5: Layout) -> None:
    assert Hadamard().count(spec(), tiny_bert) == 2 * 2 * 32
    assert Hadamard().count(spec(shared=True), tiny_bert) == 2 * 32
    assert Hadamard().count(spec(layers="last:1"), tiny_bert) == 2 * 32
    assert Hadamard().count(spec(), tiny_t5) == 4 * 2 * 32, "no adapter on cross-attention"


def test_shared_form_is_one_module(tiny_bert: Layout) -> None:
    first, second = Hadamard().attachments(spec(shared=True), tiny_bert)
    assert first.adapter is second.adapter
    assert first.key != second.key


def test_a_fraction_of_the_layers(tiny_bert: Layout) -> None:
    (only,) = Hadamard().attachments(spec(layers="last:2/3"), tiny_bert)
    assert only.site.layer == 1


def test_no_merge_where_the_output_layer_has_no_bias(tiny_bert: Layout, tiny_t5: Layout) -> None:
    assert Hadamard().mergeable(spec(), tiny_bert)
    assert not Hadamard().mergeable(spec(), tiny_t5)
