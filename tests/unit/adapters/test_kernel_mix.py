"""Kernel-mix: the thin products against loops over heads, both inits, dropout masks, counts, merging."""

from typing import Any

import pytest
import torch
from torch import nn

from petbench.adapters.adapter import Affine
from petbench.adapters.methods.kernel_mix import KernelMix, KernelMixAdapter, KernelMixSpec
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


@pytest.mark.parametrize(
    ("splits", "mixes", "width"), [(False, False, 12), (True, False, 3), (True, True, 3)]
)
@pytest.mark.parametrize("rank", [1, 3, 16])
def test_lora_init_has_the_bounds_of_the_authors_he(splits: bool, mixes: bool, width: int, rank: int) -> None:
    """1/√(r·width of a head's input) for A, 1/√d for C: uniform, so the largest of many draws is near the bound."""
    torch.manual_seed(0)
    made = KernelMixAdapter(
        *(12, 8, 4, rank, 40), splits=splits, mixes=mixes, bias=True, init="lora", dropout=0.0
    )
    for values, bound in ((made.A, (rank * width) ** -0.5), (made.C, 12**-0.5)):
        assert 0.75 * bound < float(values.detach().abs().max()) <= bound
        assert float(values.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.35)
    assert all(not p.any() for p in (made.B, made.D, made.b))


@pytest.mark.parametrize(("splits", "mixes"), [(False, False), (True, True)])
def test_each_pair_draws_its_own_dropout_mask(splits: bool, mixes: bool) -> None:
    """With an input of ones and identity-like matrices the two parts of the change show their masks."""
    d, heads = 8, 4
    made = KernelMixAdapter(
        *(d, d, heads, d // heads if splits else d, d), splits=splits, mixes=mixes, bias=False, init="lora",
        dropout=0.5,
    )  # fmt: skip
    with torch.no_grad():
        if splits:  # each head hands its part of the input through
            made.A.copy_(torch.eye(d // heads).expand_as(made.A))
            made.B.copy_(torch.eye(d))
        else:  # every head reads all of it and writes its own part
            made.A.copy_(torch.eye(d).expand_as(made.A))
            made.B.copy_(torch.stack([torch.eye(d)[i * 2 : i * 2 + 2] for i in range(heads)]))
        made.C.copy_(torch.eye(d))
        made.D.copy_(torch.eye(d) * 10)
    torch.manual_seed(0)
    change = made(torch.ones(1, 200, d), torch.zeros(1, 200, d)).detach()
    # A kept number is 2: 0 or 2 from the heads' pair, 0 or 20 from the shared one.
    shares = [float((change == value).float().mean()) for value in (0, 2, 20, 22)]
    assert sum(shares) == pytest.approx(1.0)
    assert all(0.2 < share < 0.3 for share in shares), "one mask for both would give 0 and 22 alone"
    made.eval()
    assert torch.equal(made(torch.ones(1, 3, d), torch.zeros(1, 3, d)), torch.full((1, 3, d), 11.0))


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
    with pytest.raises(
        UserError, match=r"got \['key'\]. Legal for kernel_mix: query, value, attention_output"
    ):
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
