"""A published number compared with ours: consistent, differs, or cannot tell.

A published single run y is consistent with our n runs if it lies within mean ± t·√(s²·(1 + 1/n) + r), where r is the
variance for other rows if theirs are not ours. For a published mean of n₂ runs, 1/n₂ replaces the 1. s² is moderated by
the table. A published mean with its standard deviation is compared by Welch's t test.
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
    """The word; our mean minus theirs, and half the width of the consistent range (both in score units)."""

    word: Word
    difference: float
    half: float | None  # None: we have one run, and the spread is not known

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
    """Our scores compared with one printed number, all in score units.

    n: the number of runs of which theirs is the mean. std: their standard deviation over seeds; without it, theirs is
    assumed to be ours. prior: of the variance over seeds, from the table; with it, one run of ours is enough.
    rows_variance: the variance (score²) of the difference due to other rows; 0 on the same rows.
    worth: with a half width above this (2 points) "consistent" would say nothing, so the word is "cannot tell".
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
