"""Seeded orders of rows: stratified and nested, in groups of equal texts, or the papers' own permutation."""

from collections.abc import Hashable, Sequence

import numpy as np


def strata(labels: Sequence[int] | Sequence[float]) -> np.ndarray:
    """Class of every row; a score counts as its nearest whole number. Shape (rows,)."""
    return np.rint(np.asarray(labels, dtype=np.float64)).astype(np.int64)


def stratified_order(labels: Sequence[int] | Sequence[float], seed: int) -> list[int]:
    """A seeded order of all rows: every prefix holds each class in its share, within one row.

    Samples of different sizes are prefixes of one order: small ones are inside large ones. Row k of the
    n rows of a class (in seeded order) stands at (k + u) / n, with u one seeded number per class.
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
    """Positions of (kept, taken) rows: `size` taken, stratified, equal rows all on one side.

    Groups of equal rows are walked in stratified order; one that no longer fits is passed over. The two lists
    are in file order. Fewer than `size` are taken only where no group fits the rest.
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
    """The permutation of the Compacter code (`torch.randperm`, its seed is 42), so that its rows are ours."""
    import torch  # torch takes seconds

    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
