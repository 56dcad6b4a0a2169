"""A published number beside ours: consistent, differs, or cannot tell.

One published run y against our n runs: y should lie within mean ± t·sqrt(s²·(1 + 1/n) + rows), rows the part for other
rows where theirs are others than ours. A published mean of n₂ runs with a deviation is compared by Welch's t.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
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
    n: int | None = None,
    prior: Prior | None = None,
    rows_variance: float = 0.0,
    worth: float = 0.02,
) -> Beside:
    """Ours beside one printed number.

    std, n: of a printed mean of several runs; without them theirs is one run of the same spread as ours.
    rows_variance: the variance (score²) of the difference that other rows make; 0 where the rows are the same.
    worth: a half width beyond this (2 points) makes "consistent" an empty word, so the word is "cannot tell".
    """
    apart = fmean(ours) - theirs
    if len(ours) < 2:
        return Beside("cannot tell", apart, None)
    own = moderated(variance(ours), len(ours) - 1, prior)
    mine = own.value / len(ours)
    if std is not None and n is not None and n > 1:
        other, f = std**2 / n, float(n - 1)
    else:
        other, f = own.value, own.df  # one run, as scattered as ours
    if other == own.value:
        df, total = own.df, mine + other + rows_variance
    else:
        total = mine + other + rows_variance
        df = (mine + other) ** 2 / (mine**2 / own.df + other**2 / f) if mine + other > 0 else own.df
    half = t_quantile(1 - LEVEL / 2, df) * sqrt(total)
    if abs(apart) > half:
        return Beside("differs", apart, half)
    return Beside("cannot tell" if half > worth else "consistent", apart, half)
