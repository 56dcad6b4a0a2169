"""Batches of several lanes as one: which lie side by side, padded to the longest; and the loss of each lane."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.tasks.encode.encode import IGNORED, filling

MOST_PADDING = 0.25  # of a pass; lanes that would make more are split into groups of like length
CPU_FILLED = 3e9  # products of a lane's forward pass; from there on a wider pass was slower (docs/speed.md)

Batch = dict[str, Tensor]


def side_by_side(batches: Sequence[Batch], pad_id: int) -> Batch:
    """(rows, tokens) of each lane -> (lanes·rows, tokens), lane after lane, rows and tokens those of the largest.

    A lane with fewer rows has its first one again in their place: real tokens, which no loss and no answer is read of.
    """
    rows = max(map(rows_of, batches))
    return {name: torch.cat([_filled(b[name], rows, width, filling(name, pad_id)) for b in batches])
            for name, width in _widths(batches).items()}  # fmt: skip


def rows_of(batch: Batch) -> int:
    """Rows of one lane's batch."""
    return len(batch["input_ids"])


def size_of(batch: Batch) -> tuple[int, int]:
    """Rows and tokens of one lane's batch."""
    rows, tokens = batch["input_ids"].shape
    return rows, tokens


def tokens_that_fill_a_cpu(model: nn.Module) -> float:
    """Tokens of one lane's batch whose products (tokens × entries of all matrices) keep a CPU busy by themselves.

    Embeddings do not count: they look a row up. Layers that a model passes several times (ALBERT's) count once, so it
    is taken for smaller than it is, and its lanes lie side by side for longer.
    """
    layers = (module for module in model.modules() if not isinstance(module, nn.Embedding))
    return CPU_FILLED / sum(p.numel() for m in layers for p in m.parameters(recurse=False) if p.dim() > 1)


def losses(logits: Tensor, labels: Tensor, counts: Sequence[int]) -> Tensor:
    """Each lane's mean loss as the model's own code computes it on that lane's rows: (lanes,).

    logits: (lanes·rows, classes), or (lanes·rows, tokens, vocabulary) with labels (lanes·rows, tokens). Float labels
    are numbers to be met: mean squared error. counts: the rows of each lane that are its own.
    """
    lanes = len(counts)
    rows = torch.arange(len(logits) // lanes, device=logits.device)
    is_own = (rows < torch.tensor(counts, device=logits.device)[:, None]).flatten()
    if labels.is_floating_point():
        each, counted = (logits.squeeze(-1) - labels).square(), is_own
    elif labels.dim() == 2:
        each = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=IGNORED)
        counted = is_own[:, None] & (labels != IGNORED)
    else:
        each, counted = F.cross_entropy(logits, labels, reduction="none"), is_own
    total = torch.where(counted, each, 0.0).view(lanes, -1).sum(1)
    return total / counted.view(lanes, -1).sum(1)


def padding(sizes: Sequence[tuple[int, int]]) -> float:
    """Share of a pass that lanes of these (rows, tokens) add to what they would compute alone; 0 to 1."""
    return 1 - sum(r * t for r, t in sizes) / _area(sizes)


def like_lengths(sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Lanes in groups of like length, none of which is more than a quarter padding. sizes: (rows, tokens) of each."""
    return _parts(sorted(range(len(sizes)), key=lambda lane: sizes[lane][1]), sizes)


def _parts(lanes: list[int], sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    of = [sizes[lane] for lane in lanes]
    if len(lanes) == 1 or padding(of) <= MOST_PADDING:
        return [sorted(lanes)]
    cut = min(range(1, len(lanes)), key=lambda at: _area(of[:at]) + _area(of[at:]))
    return _parts(lanes[:cut], sizes) + _parts(lanes[cut:], sizes)


def _area(sizes: Sequence[tuple[int, int]]) -> int:
    return len(sizes) * max(r for r, _ in sizes) * max(t for _, t in sizes)


def _widths(batches: Sequence[Batch]) -> dict[str, int | None]:
    """Columns of each tensor in the common batch; None of those that have none."""
    return {
        name: max(batch[name].shape[1] for batch in batches) if tensor.dim() == 2 else None
        for name, tensor in batches[0].items()
    }


def _filled(tensor: Tensor, rows: int, width: int | None, fill: int) -> Tensor:
    if width is not None:
        tensor = F.pad(tensor, (0, width - tensor.shape[1]), value=fill)
    if len(tensor) < rows:
        tensor = torch.cat([tensor, tensor[:1].expand(rows - len(tensor), *tensor.shape[1:])])
    return tensor
