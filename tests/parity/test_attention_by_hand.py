"""Hadamard and Kernel-mix against one attention layer taken apart: plain loops over heads."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tiny_models import tuned

LAYER, HEADS = 1, 4
Weights = dict[str, Tensor]


def _layer(method: str, **fields: Any) -> tuple[Any, Weights, Weights, Tensor]:
    """BERT's attention module of one layer, its projections, the adapter's tensors, and an input."""
    made = tuned("tiny_bert", method, **fields)
    attention = made.model.bert.encoder.layer[LAYER].attention  # type: ignore[union-attr, index]
    own: Weights = {}
    for name, part in (("q", "self.query"), ("k", "self.key"), ("v", "self.value"), ("o", "output.dense")):
        module = attention.get_submodule(part)
        own[f"W_{name}"], own[f"b_{name}"] = module.weight.detach().t(), module.bias.detach()
    start = f"petbench.encoder_{LAYER}_"
    added = {
        n.removeprefix(start): p.detach() for n, p in made.model.named_parameters() if n.startswith(start)
    }
    generator = torch.Generator().manual_seed(5)
    return attention, own, added, torch.randn(2, 6, 32, generator=generator)


def _heads(x: Tensor) -> list[Tensor]:
    return list(x.split(x.shape[-1] // HEADS, dim=-1))


def _context(queries: list[Tensor], keys: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    """softmax(Q_i K_iᵀ / √p) V_i for every head."""
    return [
        (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        for q, k, v in zip(queries, keys, values, strict=True)
    ]


@torch.no_grad()
def _theirs(attention: Any, x: Tensor) -> Tensor:
    """What the module's attention and output projection give, before residual and norm."""
    attention.eval()
    result: Tensor = attention.output.dense(attention.self(x)[0])
    return result


@pytest.mark.parametrize("position", ["before_output_dense", "after_output_dense"])
def test_hadamard(position: str) -> None:
    attention, own, added, x = _layer("hadamard", position=position)
    w, b = added["attention_output.w"], added["attention_output.b"]
    queries, keys, values = (_heads(x @ own[f"W_{n}"] + own[f"b_{n}"]) for n in "qkv")
    context = torch.cat(_context(queries, keys, values), dim=-1)
    if position == "before_output_dense":
        expected = (w * context + b) @ own["W_o"] + own["b_o"]
    else:
        expected = w * (context @ own["W_o"] + own["b_o"]) + b
    torch.testing.assert_close(_theirs(attention, x), expected, rtol=0, atol=1e-5)


def test_kernel_mix() -> None:
    attention, own, added, x = _layer("kernel_mix", query_rank=2, value_rank=3)
    p = 32 // HEADS
    q, v, o = "query.", "value.", "attention_output."
    from_key = "value_from_key."
    queries, keys, values = (_heads(x @ own[f"W_{n}"] + own[f"b_{n}"]) for n in "qkv")
    for i in range(HEADS):
        columns = slice(i * p, (i + 1) * p)
        queries[i] = (
            queries[i]
            + x @ added[q + "A"][i].t() @ added[q + "B"][i].t()
            + (x @ added[q + "C"].t() @ added[q + "D"].t())[..., columns]
            + added[q + "b"][columns]
        )
        values[i] = (
            values[i]
            + keys[i] @ added[from_key + "A"][i].t() @ added[from_key + "B"][i].t()
            + (x @ added[v + "C"].t() @ added[v + "D"].t())[..., columns]
            + added[from_key + "b"][columns]
        )
    context = _context(queries, keys, values)
    middle = torch.cat([head @ added[o + "A"][i].t() for i, head in enumerate(context)], dim=-1)
    whole = torch.cat(context, dim=-1)
    expected = (
        whole @ own["W_o"]
        + own["b_o"]
        + middle @ added[o + "B"].t()
        + whole @ added[o + "C"].t() @ added[o + "D"].t()
        + added[o + "b"]
    )
    torch.testing.assert_close(_theirs(attention, x), expected, rtol=0, atol=1e-5)
    shapes = {name: tuple(t.shape) for name, t in added.items()}
    assert shapes["query.A"] == (4, 2, 32)
    assert shapes["value_from_key.A"] == (4, 3, 8)
    assert shapes["attention_output.B"] == (32, 12)
