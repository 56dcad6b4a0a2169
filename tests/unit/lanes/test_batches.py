"""Lanes' batches side by side, their losses, and how they are split by length."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from petbench.training.lanes.batches import (
    MOST_PADDING,
    like_lengths,
    losses,
    padding,
    side_by_side,
    tokens_that_fill_a_cpu,
)


def batch(rows: int, tokens: int, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    ids = torch.full((rows, tokens), 7)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def test_lanes_lie_one_after_the_other_and_are_padded_to_the_largest() -> None:
    found = side_by_side([batch(2, 3, torch.tensor([0, 1])), batch(1, 4, torch.tensor([1]))], pad_id=9)
    assert found["input_ids"].tolist() == [[7, 7, 7, 9], [7, 7, 7, 9], [7, 7, 7, 7], [7, 7, 7, 7]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert found["labels"].tolist() == [0, 1, 1, 1]


def test_a_lanes_loss_is_the_mean_over_its_own_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator)
    labels = torch.tensor([0, 1, 2, 1, 1, 0])
    found = losses(logits, labels, [3, 2])
    torch.testing.assert_close(found[0], F.cross_entropy(logits[:3], labels[:3]))
    torch.testing.assert_close(found[1], F.cross_entropy(logits[3:5], labels[3:5]))
    numbers = torch.tensor([0.0, 1.0, 2.0, float("nan")])
    found = losses(logits[:4, :1], numbers, [2, 1])
    torch.testing.assert_close(found[0], F.mse_loss(logits[:2, 0], numbers[:2]))
    assert float(found[1]) == pytest.approx(float((logits[2, 0] - 2.0) ** 2))  # a row of nobody's is not read


def test_a_text_loss_is_the_mean_over_target_tokens() -> None:
    logits = torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[1, 2], [3, -100], [4, -100], [0, 0]])
    found = losses(logits, labels, [2, 1])
    torch.testing.assert_close(found[0], F.cross_entropy(logits[:2].flatten(0, 1), labels[:2].flatten()))
    torch.testing.assert_close(found[1], F.cross_entropy(logits[2, :1], labels[2, :1]))


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([(8, 10), (8, 10), (8, 10)], [[0, 1, 2]]),
        ([(8, 10), (8, 8), (8, 9)], [[0, 1, 2]]),  # 10 % padding: not worth two passes
        ([(8, 40), (8, 10), (8, 38), (8, 11)], [[1, 3], [0, 2]]),
        ([(8, 64)], [[0]]),
        ([(8, 10), (8, 20), (8, 40), (8, 80)], [[0, 1], [2, 3]]),
    ],
)
def test_lanes_are_split_where_more_than_a_quarter_would_be_padding(
    sizes: list[tuple[int, int]], groups: list[list[int]]
) -> None:
    assert like_lengths(sizes) == groups
    for group in groups:
        assert padding([sizes[lane] for lane in group]) <= MOST_PADDING


def test_tokens_fill_a_cpu_by_the_matrices_that_each_of_them_meets() -> None:
    layers = nn.Sequential(nn.Embedding(1000, 30), nn.Linear(30, 50), nn.LayerNorm(50), nn.Linear(50, 10))
    assert tokens_that_fill_a_cpu(layers) == 3e9 / (30 * 50 + 50 * 10)
