"""The bottleneck family: places, initial values, shared tensors, folding, errors."""

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from petbench.adapters.adapter import Attachment
from petbench.adapters.methods.bottleneck_base import BottleneckAdapter
from petbench.adapters.methods.compacter import LowRankPHMProjection
from petbench.adapters.registry import method_named
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError
from petbench.models.sites import Layout


def spec_of(method: str, **fields: Any) -> AdapterSpec:
    if not {"bottleneck_dim", "reduction_factor"} & fields.keys():
        fields["bottleneck_dim"] = 8
    return method_named(method).Spec(method=method, **fields)


def attached(method: str, layout: Layout, **fields: Any) -> list[Attachment]:
    torch.manual_seed(0)
    return list(method_named(method).attachments(spec_of(method, **fields), layout))


# Tiny T5: 2 encoder and 2 decoder layers; the decoder's cross-attention never has an adapter.
PLACES = {
    "houlsby": 8,
    "pfeiffer": 4,
    "pfeiffer_attn": 4,
    "adapter_drop": 4,  # auto skips ⌈5/12 · 2⌉ = 1 of the two layers
    "adapter_lowrank": 8,
    "phm_adapter": 8,
    "compacter": 8,
    "compacter_pp": 4,
}


@pytest.mark.parametrize(("method", "places"), PLACES.items())
def test_places(method: str, places: int, tiny_t5: Layout) -> None:
    attachments = attached(method, tiny_t5)
    assert len(attachments) == places
    assert not [a for a in attachments if a.site.attention == "cross"]
    assert {a.at for a in attachments} == {"output"}
    only = {"pfeiffer": "ffn_output", "compacter_pp": "ffn_output", "pfeiffer_attn": "attention_output"}
    assert {a.site.role for a in attachments} == (
        {only[method]} if method in only else {"attention_output", "ffn_output"}
    )


def test_adapter_drop_skips_in_each_stack(tiny_t5: Layout) -> None:
    assert {(a.site.stack, a.site.layer) for a in attached("adapter_drop", tiny_t5)} == {
        ("encoder", 1),
        ("decoder", 1),
    }
    with pytest.raises(UserError, match=r"adapter\.skip_first 5 leaves no layer.*Legal: auto or 0 to 1"):
        attached("adapter_drop", tiny_t5, skip_first=5)


def test_formula_of_one_place(tiny_bert: Layout) -> None:
    """h + gelu_new(hD + b_D)U + b_U with numbers worked out by hand: all weights 0.5, h = 1."""
    adapter = attached("houlsby", tiny_bert, bottleneck_dim=4)[0].adapter
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.fill_(0.5)
    h = torch.ones(1, 1, 32)
    middle = 32 * 0.5 + 0.5  # far in gelu's linear part
    assert adapter(torch.zeros_like(h), h)[0, 0, 0].item() == pytest.approx(1 + 4 * middle * 0.5 + 0.5)


def test_initial_values(tiny_bert: Layout) -> None:
    dense = [
        p for a in attached("houlsby", tiny_bert) for n, p in a.adapter.named_parameters() if "weight" in n
    ]
    assert torch.cat([p.flatten() for p in dense]).std().item() == pytest.approx(0.01, rel=0.05)
    compacter = attached("compacter", tiny_bert)[0].adapter
    assert isinstance(compacter, BottleneckAdapter)
    assert isinstance(compacter.down, LowRankPHMProjection)
    slow = compacter.down.slow
    assert slow.std().item() == pytest.approx(1e-4, rel=0.3)
    # Xavier with gain √2 on an 8x1 slice: uniform within √2·√(6/9).
    assert 0.8 * (4 / 3) ** 0.5 < compacter.down.S.abs().max().item() <= (4 / 3) ** 0.5
    assert not compacter.down.bias.any()
    phm = attached("phm_adapter", tiny_bert)[0].adapter
    left = dict(phm.named_parameters())["down.A"]
    assert left.std().item() == pytest.approx(0.01, rel=0.3)


def test_slow_weights_are_one_tensor(tiny_t5: Layout) -> None:
    attachments = attached("compacter", tiny_t5)
    slow = {
        id(p)
        for a in attachments
        for n, p in a.adapter.named_parameters(remove_duplicate=False)
        if "slow" in n
    }
    assert len(slow) == 1
    again = attached("compacter", tiny_t5)
    assert (
        id(next(p for n, p in again[0].adapter.named_parameters() if "slow" in n)) not in slow
    )  # a model each


def test_phm_adapters_share_nothing(tiny_t5: Layout) -> None:
    ids = [id(p) for a in attached("phm_adapter", tiny_t5) for p in a.adapter.parameters()]
    assert len(ids) == len(set(ids)) == 8 * 6


def test_folding_follows_the_values(tiny_bert: Layout) -> None:
    """In evaluation the dense tensors are made once; any change of a value makes them anew."""
    adapter = attached("compacter", tiny_bert)[0].adapter.eval()
    h = torch.randn(2, 3, 32)
    with torch.no_grad():
        made = []
        original = LowRankPHMProjection.dense
        try:
            LowRankPHMProjection.dense = lambda self: made.append(1) or original(self)  # type: ignore[method-assign, func-returns-value]
            for _ in range(3):
                adapter(h, h)
            assert len(made) == 2  # down and up, once
            dict(adapter.named_parameters())["down.slow"].add_(0.1)
            after = adapter(h, h)
            assert len(made) == 4
        finally:
            LowRankPHMProjection.dense = original  # type: ignore[method-assign]
        torch.testing.assert_close(after, adapter.reference(h, h))
        torch.testing.assert_close(copy.deepcopy(adapter)(h, h), after)
    adapter.train()
    torch.testing.assert_close(adapter(h, h), after)


def test_folded_values_do_not_outlive_a_functional_call(tiny_bert: Layout) -> None:
    adapter = attached("compacter", tiny_bert)[0].adapter.eval()
    h = torch.randn(2, 3, 32)
    others = {name: (p + 0.5).detach() for name, p in adapter.named_parameters()}
    with torch.no_grad():
        before = adapter(h, h)
        other = torch.func.functional_call(adapter, others, (h, h))
        assert not torch.equal(before, other)
        assert torch.equal(adapter(h, h), before)


def test_reduction_factor(tiny_bert: Layout) -> None:
    method = method_named("houlsby")
    by_factor = spec_of("houlsby", reduction_factor=4)
    assert method.count(by_factor, tiny_bert) == 4 * (2 * 32 * 8 + 8 + 32)
    with pytest.raises(
        UserError, match=r"adapter\.reduction_factor 5 does not fit encoder layer 0 attention_output"
    ):
        attached("houlsby", tiny_bert, reduction_factor=5)
    for fields in (
        {"bottleneck_dim": 8, "reduction_factor": 4},
        {"bottleneck_dim": None, "reduction_factor": None},
    ):
        with pytest.raises(ValidationError, match="give one of bottleneck_dim and reduction_factor"):
            method.Spec(method="houlsby", **fields)


@pytest.mark.parametrize("method", ["compacter", "compacter_pp", "phm_adapter"])
def test_n_must_divide_both(method: str, tiny_bert: Layout) -> None:
    with pytest.raises(UserError) as error:
        attached(method, tiny_bert, bottleneck_dim=24, phm_dim=3)  # 3 divides 24 and not 32
    place = "ffn_output" if method == "compacter_pp" else "attention_output"
    assert str(error.value) == (
        f"adapter.phm_dim 3 does not fit encoder layer 0 {place}: it must divide its size 32 and the "
        "bottleneck 24. Legal: 1, 2, 4, 8."
    )


@pytest.mark.parametrize("method", list(PLACES))
def test_every_size_of_a_budget_is_legal(method: str, tiny_bert: Layout) -> None:
    found = method_named(method)
    sizes = list(found.sizes(spec_of(method, reduction_factor=4), tiny_bert))
    assert len(sizes) >= 30
    assert all(found.count(size, tiny_bert) > 0 for size in sizes)
