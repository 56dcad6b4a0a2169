"""The order of rows in an epoch: seeded, every row once, rows of similar length together."""

from collections.abc import Sequence

import numpy as np

BUCKET_BATCHES = (
    32  # batches whose rows are sorted together; a larger number means less padding, but less shuffling
)


def batch_order(
    lengths: Sequence[int] | np.ndarray,
    batch_size: int,
    seed: int,
    epoch: int,
    bucket: bool = True,
) -> list[list[int]]:
    """The positions of the rows of every batch of one epoch; depends on its arguments only.

    Rows are shuffled. With `bucket`, stretches of up to 32 batches (at least two stretches, so that epochs differ)
    are then sorted by length and cut into batches, whose order is shuffled. All batches but one are full. Raises
    ValueError for a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: at least 1")
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(lengths))
    if not bucket:
        return [
            shuffled[start : start + batch_size].tolist() for start in range(0, len(shuffled), batch_size)
        ]
    sizes = np.asarray(lengths)
    batches: list[list[int]] = []
    run = batch_size * min(BUCKET_BATCHES, max(1, len(shuffled) // batch_size // 2))
    for start in range(0, len(shuffled), run):
        rows = shuffled[start : start + run]
        rows = rows[np.argsort(sizes[rows], kind="stable")]  # rows of equal length stay shuffled
        batches += [rows[at : at + batch_size].tolist() for at in range(0, len(rows), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def padding_fraction(lengths: Sequence[int] | np.ndarray, order: Sequence[Sequence[int]]) -> float:
    """Padding tokens over all tokens, when each batch is padded to its longest row; 0 to 1."""
    sizes = np.asarray(lengths)
    real = padded = 0
    for batch in order:
        here = sizes[np.asarray(batch, dtype=np.int64)]
        real += int(here.sum())
        padded += int(here.max()) * len(batch)
    return 1 - real / padded if padded else 0.0
