"""What merging changes is the greatest change over all of its rows, whichever batch they are in."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from petbench.measure.merge_effect import BATCH, ROWS, merge_effect
from petbench.tasks.encode.encode import Encoded

MARKED = 42  # merging changes the logits of rows that begin with it


class Model(nn.Module):
    """Logits (1, 0) of every row, and after a merge (1, 3) of marked rows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.merged = False
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        self.shapes.append(tuple(input_ids.shape))
        second = 3.0 * (input_ids[:, 0] == MARKED) * self.merged
        return SimpleNamespace(logits=torch.stack([torch.ones(len(input_ids)), second], dim=-1))


def encoded(lengths: list[int], marked: int) -> Encoded:
    rows = [
        np.full(length, MARKED if row == marked else 7, dtype=np.int32) for row, length in enumerate(lengths)
    ]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Encoded("head", np.concatenate(rows), offsets, None, np.zeros(len(lengths), dtype=np.int64), None)


@pytest.mark.parametrize(("marked", "flipped"), [(0, 1), (3, 1), (ROWS - 1, 1), (ROWS, 0)])
def test_every_one_of_the_first_rows_counts(marked: int, flipped: int) -> None:
    """Row 3 is the longest; row 64 is the first that is not looked at."""
    model = Model()
    tuned: Any = SimpleNamespace(
        model=model,
        method=SimpleNamespace(mergeable=lambda *_: True),
        spec=None,
        layout=None,
        merge=lambda: setattr(model, "merged", True),
        unmerge=lambda: setattr(model, "merged", False),
    )
    backbone: Any = SimpleNamespace(form="head", tokenizer=SimpleNamespace(pad_token_id=0))
    found = merge_effect(tuned, backbone, encoded([100 if n == 3 else 5 for n in range(80)], marked), [])
    assert (found.labels_flipped, found.max_abs_logit_change) == (flipped, 3.0 * flipped)
    assert not model.merged
    # Before and after: only the batch with the long row is long.
    assert model.shapes == 2 * [*[(BATCH, 5)] * (ROWS // BATCH - 1), (BATCH, 100)]
