"""Learned keys and values in attention: the formula by loops, and every family whole, on and off."""

import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from petbench.adapters.attention import _attend, _Keys
from petbench.adapters.hooks import HookedAdapters
from petbench.errors import UserError
from petbench.models.checkpointing import enable_checkpointing, no_checkpointing
from tiny_models import backbone, batch, logits, tuned

# Every family whose attention takes more keys; of each the number of attentions of its two layers.
FAMILIES = {
    **{f"tiny_{name}": 2 for name in ("bert", "roberta", "electra", "distilbert", "modernbert")},
    **{f"tiny_{name}": 2 for name in ("gpt2", "llama", "qwen2", "qwen3")},
    "tiny_albert": 1,  # both layers are one
    "tiny_t5": 6,
    "tiny_bart": 6,
    "tiny_t5_gated": 6,
}


class Plain(nn.Module):
    """What an attention module shows to an attention function."""

    def __init__(self, causal: bool, groups: int) -> None:
        super().__init__()
        self.is_causal, self.num_key_value_groups = causal, groups


def by_loops(
    query: Tensor, key: Tensor, value: Tensor, pair: Tensor, seen: Tensor, bias: Tensor, scale: float
) -> Tensor:
    """softmax(scale · q [P_K; K]ᵀ + [0, bias]) [P_V; V] for every row, head and query; (batch, queries, heads, p)."""
    rows, heads, queries, width = query.shape
    groups = heads // key.shape[1]
    out = torch.zeros(rows, queries, heads, width)
    for row in range(rows):
        for head in range(heads):
            keys = torch.cat([pair[0, head // groups], key[row, head // groups]])
            values = torch.cat([pair[1, head // groups], value[row, head // groups]])
            for i in range(queries):
                scores = scale * keys @ query[row, head, i]
                scores[pair.shape[2] :] += bias[head, i]
                scores[pair.shape[2] :][~seen[row, i]] = -math.inf
                out[row, i, head] = scores.softmax(0) @ values
    return out


@pytest.mark.parametrize("mask", ["none", "bool", "added"])
@pytest.mark.parametrize(
    ("causal", "groups", "biased", "queries"),
    [
        *((causal, 1, biased, 5) for causal in (False, True) for biased in (False, True)),
        (True, 2, False, 5),
        (True, 2, False, 1),
        (False, 1, False, 3),
    ],
)
def test_the_formula(mask: str, causal: bool, groups: int, biased: bool, queries: int) -> None:
    """Over the masks that sdpa gets: none (all is seen, or causal), True where seen, numbers to be added."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, queries, 8, generator=generator)
    key, value = (torch.randn(2, 4 // groups, 5, 8, generator=generator) for _ in "kv")
    pair = torch.randn(2, 4 // groups, 3, 8, generator=generator)
    bias = torch.randn(4, queries, 5, generator=generator) if biased else torch.zeros(4, queries, 5)
    seen = torch.ones(2, queries, 5, dtype=torch.bool)
    if causal and (queries > 1 or mask != "none"):
        seen = seen.tril(5 - queries)
    if mask != "none":
        seen[1, :, :2] = False
        seen[:, 0, 3 if not causal or queries == 1 else 0] = True
    given = {
        "none": None,
        "bool": seen[:, None],
        "added": torch.zeros(2, 1, queries, 5).masked_fill(~seen[:, None], torch.finfo().min),
    }[mask]
    found, _ = _attend(
        "sdpa",
        Plain(causal, groups),
        query,
        key,
        value,
        given,
        scaling=0.3,
        **({"position_bias": bias[None]} if biased else {}),
        petbench_keys=_Keys(pair, None),
    )
    torch.testing.assert_close(found, by_loops(query, key, value, pair, seen, bias, 0.3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", FAMILIES)
def test_every_family_whole(model: str) -> None:
    """sdpa equals eager; every prefix has a gradient, also in bf16 and from layers that run again; off and
    taken off the model is the backbone to the bit, and its neighbour in the process is left alone throughout."""
    values, bare = batch(model), backbone(model).model
    plain = logits(bare, values)
    base = bare.config._attn_implementation
    made = tuned(model, "prefix_tuning", prefix_length=3)
    installed = made.installed
    assert isinstance(installed, HookedAdapters)
    on = logits(made.model, values)
    assert (on - plain).abs().max() > 1e-3
    assert torch.equal(logits(bare, values), plain)
    eager = backbone(model)
    for module in (m for m in eager.model.modules() if hasattr(m, "set_attn_implementation")):
        module.set_attn_implementation("eager")  # type: ignore[operator]
    torch.testing.assert_close(
        logits(tuned(model, "prefix_tuning", made=eager, prefix_length=3).model, values),
        on,
        rtol=0,
        atol=1e-4,
    )
    assert len(_pieces(made.model, _gradients(made.model, values))) == FAMILIES[model]
    with torch.autocast("cpu", torch.bfloat16):
        assert all(piece.isfinite().all() for piece in _pieces(made.model, _gradients(made.model, values)))
    with made.disabled():
        assert torch.equal(logits(made.model, values), plain)
    assert torch.equal(logits(made.model, values), on)
    if not no_checkpointing(made.model):
        expected = _gradients(made.model, values)
        made.model.train()
        for module in made.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if isinstance(getattr(module, "dropout", None), float):  # of T5's attention
                module.dropout = 0.0
        enable_checkpointing(made.model)
        for name, gradient in _gradients(made.model, values).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)
        made.model.gradient_checkpointing_disable()  # type: ignore[operator]
    installed.remove()
    assert torch.equal(logits(made.model, values), plain)
    names = {m.config._attn_implementation for m in made.model.modules() if hasattr(m, "config")}
    assert names == {base}
    assert not any(len(m._forward_pre_hooks) for m in made.model.modules())


def _gradients(model: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    labels = values.get("labels", torch.tensor([0, 1]))
    model(**{**values, "labels": labels}).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if ".P" in n and p.grad is not None}


def _pieces(model: nn.Module, gradients: dict[str, Tensor]) -> list[Tensor]:
    """The gradient of each attention's part of a table; all of them are there and not zero."""
    pieces = []
    for name, gradient in gradients.items():
        adapter: Any = model.get_submodule(name.rpartition(".")[0])
        pieces += gradient.chunk(adapter.layers, dim=-1)
    assert all(bool(piece.abs().max() > 0) for piece in pieces)
    return pieces


@pytest.mark.parametrize("model", ["tiny_gpt2", "tiny_llama", "tiny_qwen3"])
def test_a_cache_of_tokens_never_holds_the_prefix(model: str) -> None:
    """Reading five tokens, and then four more after their cache, is reading nine."""
    body: Any = tuned(model, "prefix_tuning").model.base_model  # type: ignore[union-attr]
    name = next(n for n in ("cache", "past_key_values") if n in inspect.signature(body.forward).parameters)
    ids = batch(model)["input_ids"]
    with torch.no_grad():
        whole = body(input_ids=ids, use_cache=False).last_hidden_state
        first = body(input_ids=ids[:, :5], use_cache=True)
        assert first[name].get_seq_length() == 5
        second = body(input_ids=ids[:, 5:], use_cache=True, **{name: first[name]})
    torch.testing.assert_close(second.last_hidden_state, whole[:, 5:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["tiny_gpt2", "tiny_llama", "tiny_t5"])
def test_left_padding_changes_nothing(model: str) -> None:
    """Two rows, the second with padding before it; positions are counted from its first token."""
    made, values = tuned(model, "prefix_tuning").model, batch(model)
    ids, mask = values["input_ids"].clone(), torch.ones(2, 9, dtype=torch.long)
    ids[1, 4:], ids[1, :4], mask[1, :4] = ids[1, :5].clone(), 0, 0
    given = {**values, "input_ids": ids, "attention_mask": mask}
    alone = {k: v[1:] for k, v in values.items()} | {"input_ids": ids[1:, 4:], "attention_mask": mask[1:, 4:]}
    if model != "tiny_t5":
        given["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    torch.testing.assert_close(logits(made, given)[1:], logits(made, alone), rtol=0, atol=1e-5)


def test_local_attention_sees_the_prefix_from_everywhere() -> None:
    """ModernBERT's second layer sees a window alone: the last of 60 tokens has a gradient to the prefix there."""
    made = tuned("tiny_modernbert", "prefix_tuning", prefix_length=2)
    body: Any = made.model.base_model  # type: ignore[union-attr]
    local = [kind == "sliding_attention" for kind in body.config.layer_types]
    assert any(local)
    ids = torch.randint(5, 99, (1, 300), generator=torch.Generator().manual_seed(0))
    body(input_ids=ids).last_hidden_state[0, -1].sum().backward()
    (table,) = (p for n, p in made.model.named_parameters() if n in made.adapter_names)
    assert table.grad is not None
    for piece in table.grad.chunk(len(local), dim=-1):
        assert bool((piece.abs().amax(-1) > 0).all())


def test_lanes_of_one_prefix() -> None:
    """The adapter is a function of its values: stacked values give stacked keys."""
    adapters = [
        tuned("tiny_bert", "prefix_tuning", mlp_width=width).model.get_submodule(
            "petbench.encoder_embedding_prefix"
        )
        for width in (6, 6)
    ]
    stacked = {n: torch.stack([p, p + 1]) for n, p in adapters[0].named_parameters()}
    together = torch.func.vmap(lambda values: torch.func.functional_call(adapters[0], values, (1,)))(stacked)
    for lane in (0, 1):
        alone = torch.func.functional_call(adapters[0], {n: v[lane] for n, v in stacked.items()}, (1,))
        torch.testing.assert_close(together[lane], alone)


def test_other_attention_code_is_refused() -> None:
    made = backbone("tiny_bert")
    made.model.config._attn_implementation = "flex_attention"
    with pytest.raises(
        UserError, match=r"model.attn: got 'flex_attention'.*Legal for a prefix: auto, sdpa, eager"
    ):
        tuned("tiny_bert", "prefix_tuning", made=made)


@pytest.mark.parametrize(("model", "room"), [("tiny_bert", 512), ("tiny_roberta", 512), ("tiny_gpt2", 512)])
def test_more_positions_than_the_model_has_are_refused_with_the_numbers(model: str, room: int) -> None:
    made = tuned(model, "prefix_tuning", prefix_length=20)
    made.model(input_ids=torch.full((1, room - 20), 7))
    with pytest.raises(
        UserError, match=rf"20 positions and {room - 19} tokens.*{room} positions.*={room - 20} "
    ):
        made.model(input_ids=torch.full((1, room - 19), 7))
