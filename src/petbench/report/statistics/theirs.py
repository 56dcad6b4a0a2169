"""A published number beside ours: consistent, differs, or cannot tell.

One published run y against our n runs: y should lie within mean ± t·sqrt(s²·(1 + 1/n) + rows), rows the part for other
rows where theirs are others than ours; a mean of n₂ runs within the same with 1/n₂ for 1. s² is moderated by the table.
A published mean with a deviation is compared by Welch's t.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean, variance
from typing import Literal

from petbench.report.statistics.difference import LEVEL
from petbench.report.statistics.intervals import t_quantile
from petbench.report.statistics.moderation import Prior, moderated

Word = Literal["consistent", "differs", "cannot tell"]


@dataclass(frozen=True)
class Beside:
    """The word, our mean minus theirs, and half the width of what counts as consistent (all in score units)."""

    word: Word
    difference: float
    half: float | None  # None: one run of ours, and no spread known

    def text(self, scale: float = 100.0) -> str:
        """`differs`, `consistent`, `cannot tell (± 3.1)`."""
        if self.word != "cannot tell":
            return self.word
        return self.word if self.half is None else f"{self.word} (± {scale * self.half:.1f})"


def beside(
    ours: Sequence[float],
    theirs: float,
    *,
    std: float | None = None,
    n: int = 1,
    prior: Prior | None = None,
    rows_variance: float = 0.0,
    worth: float = 0.02,
) -> Beside:
    """Ours beside one printed number.

    n: of how many runs theirs is the mean; std: their deviation over seeds; without it they scatter as ours do.
    prior: what the table says of the spread of seeds; with it one run of ours is enough.
    rows_variance: the variance (score²) of the difference that other rows make; 0 where the rows are the same.
    worth: a half width beyond this (2 points) makes "consistent" an empty word, so the word is "cannot tell".
    """
    apart = fmean(ours) - theirs
    several = len(ours) > 1
    if not several and prior is None:
        return Beside("cannot tell", apart, None)
    own = moderated(variance(ours) if several else 0.0, len(ours) - 1, prior)
    if std is not None and n > 1:
        parts = [(own.value / len(ours), own.df), (std**2 / n, n - 1.0)]
    else:
        parts = [(own.value * (1 / len(ours) + 1 / n), own.df)]
    total = sum(value for value, _ in parts) + rows_variance
    below = sum(value**2 / df for value, df in parts)
    half = t_quantile(1 - LEVEL / 2, total**2 / below if below > 0 else inf) * sqrt(total)
    if abs(apart) > half:
        return Beside("differs", apart, half)
    return Beside("cannot tell" if half > worth else "consistent", apart, half)
