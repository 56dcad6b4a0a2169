"""Seeded orders and cuts of rows: stratified and nested, groups of equal texts kept together, or a paper's own."""

from collections.abc import Hashable, Sequence

import numpy as np


def strata(labels: Sequence[int] | Sequence[float]) -> np.ndarray:
    """(rows,) the class of every row; for a number, the nearest whole number."""
    return np.rint(np.asarray(labels, dtype=np.float64)).astype(np.int64)


def stratified_order(labels: Sequence[int] | Sequence[float], seed: int) -> list[int]:
    """A seeded order of all rows in which every prefix holds each class in proportion, within one row.

    Samples of different sizes are prefixes of the order, so a small one is part of a large one. Row k of the n rows
    of a class (in seeded order) is sorted by (k + u) / n, with one seeded number u in [0, 1) for each class.
    """
    rng = np.random.default_rng(seed)
    classes = strata(labels)
    place = np.empty(len(classes))
    for value in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == value))
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place, kind="stable").tolist()


def group_cut(
    rows: Sequence[Hashable], labels: Sequence[int] | Sequence[float], size: int, seed: int
) -> tuple[list[int], list[int]]:
    """Positions of the (kept, taken) rows: `size` are taken, stratified, equal rows all on the same side.

    Groups of equal rows are taken in stratified order; a group that no longer fits is skipped. Both lists are in file
    order. Fewer than `size` rows are taken only if no group fits into the rest.
    """
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(row, len(numbers)) for row in rows], dtype=np.int64)
    firsts = np.unique(group, return_index=True)[1]
    sizes = np.bincount(group)
    chosen: list[int] = []
    left = size
    for number in stratified_order(np.asarray(labels)[firsts].tolist(), seed):
        if sizes[number] <= left:
            chosen.append(number)
            left -= sizes[number]
        if not left:
            break
    taken = np.isin(group, chosen)
    return np.flatnonzero(~taken).tolist(), np.flatnonzero(taken).tolist()


def paper_permutation(n: int, seed: int) -> list[int]:
    """The permutation of the Compacter code (`torch.randperm`, with seed 42 there), which gives the same rows."""
    import torch  # torch takes seconds

    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
