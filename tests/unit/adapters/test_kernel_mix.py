"""Kernel-mix: the thin products against loops over heads, both inits, counts, merging through the key."""

from typing import Any

import pytest
import torch
from torch import nn

from petbench.adapters.base import Affine
from petbench.adapters.kernel_mix import KernelMix, KernelMixAdapter, KernelMixSpec
from petbench.errors import UserError
from petbench.models.sites import Layout


def spec(**fields: Any) -> KernelMixSpec:
    return KernelMixSpec.model_validate({"method": "kernel_mix", **fields})


def adapter(*, splits: bool, mixes: bool, rank: int = 3, shared: int = 2, init: Any = "houlsby") -> Any:
    torch.manual_seed(0)
    return KernelMixAdapter(
        *(12, 8, 4, rank, shared), splits=splits, mixes=mixes, bias=True, init=init, dropout=0.0
    )


@pytest.mark.parametrize("shared", [0, 2])
@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize(("splits", "mixes"), [(False, False), (True, False), (True, True)])
def test_fast_path_equals_the_loop_over_heads(splits: bool, mixes: bool, rank: int, shared: int) -> None:
    made = adapter(splits=splits, mixes=mixes, rank=rank, shared=shared).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    source, target = torch.randn(2, 5, 12).double(), torch.randn(2, 5, 8).double()
    torch.testing.assert_close(made(source, target), made.reference(source, target))


def test_lora_init_leaves_the_target_and_houlsby_is_small_noise() -> None:
    source, target = torch.randn(2, 5, 12), torch.randn(2, 5, 8)
    assert torch.equal(adapter(splits=True, mixes=False, init="lora")(source, target), target)
    released = adapter(splits=True, mixes=False, init="houlsby")
    values = torch.cat([p.detach().flatten() for p in released.parameters()])
    assert 0.005 < float(values.std()) < 0.011
    assert float(values.abs().max()) < 0.02
    assert not torch.equal(released(source, target), target)


def test_the_values_part_merges_through_the_frozen_key() -> None:
    torch.manual_seed(0)
    made = KernelMixAdapter(8, 8, 4, 2, 0, splits=True, mixes=False, bias=True, init="houlsby", dropout=0.0)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    key, value, x = nn.Linear(6, 8), nn.Linear(6, 8), torch.randn(3, 5, 6)
    merged = made.merged(Affine(value.weight, value.bias), Affine(key.weight, key.bias))
    torch.testing.assert_close(nn.functional.linear(x, *merged), made(key(x), value(x)), rtol=1e-5, atol=1e-5)


def test_counts_by_target(tiny_bert: Layout) -> None:
    """d 32, 4 heads of 8, 2 layers; ranks 1, 2, 2, 4."""
    query, value, output = 4 * (32 + 8) + 2 * 64 + 32, 2 * 64 + 4 * 64 + 32, 2 * (32 + 128) + 4 * 64 + 32
    for target, one in (("query", query), ("value", value), ("attention_output", output)):
        assert KernelMix().count(spec(targets=[target]), tiny_bert) == 2 * one
    attachments = list(KernelMix().attachments(spec(), tiny_bert))
    counted = sum(p.numel() for a in attachments for p in a.adapter.parameters())
    assert counted == KernelMix().count(spec(), tiny_bert) == 2 * (query + value + output)


def test_the_value_reads_the_key_of_its_own_attention(tiny_t5: Layout) -> None:
    readers = [a for a in KernelMix().attachments(spec(targets=["value"]), tiny_t5) if a.reads]
    assert len(readers) == 6
    for attachment in readers:
        read = attachment.reads
        assert read is not None
        assert read.role == "key"
        assert (read.stack, read.layer, read.attention) == (
            attachment.site.stack,
            attachment.site.layer,
            attachment.site.attention,
        )


def test_wrong_targets_and_ranks_are_named(tiny_bert: Layout) -> None:
    with pytest.raises(UserError, match=r"got \['key'\]. Kernel-mix knows query, value, attention_output"):
        list(KernelMix().attachments(spec(targets=["key"]), tiny_bert))
    with pytest.raises(
        UserError, match=r"value_rank 9 does not fit encoder layer 0 value.*4 heads of 8.*up to 8"
    ):
        KernelMix().count(spec(value_rank=9), tiny_bert)


def test_budget_sizes_keep_the_released_proportion(tiny_bert: Layout) -> None:
    sizes = list(KernelMix().sizes(spec(), tiny_bert))
    assert [(s.query_rank, s.value_rank, s.shared_query_rank, s.shared_value_rank) for s in sizes] == [
        (n, 2 * n, 2 * n, 4 * n) for n in (1, 2, 3, 4)
    ]
    lite = list(KernelMix().sizes(spec(shared_query_rank=0, shared_value_rank=0), tiny_bert))
    assert lite[2].shared_value_rank == 0
