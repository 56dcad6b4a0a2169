"""Whether the difference between two methods is real: a t test over seeds and rows at once.

Scores x (seeds, rows) of two methods 0 and 1 on the same m rows; D = mean x₀ − mean x₁. D varies because other seeds
would give other runs, and other rows of the same kind would give other answers:

    R    = var over rows of (mean over seeds of x₀ − mean over seeds of x₁) / m          the rows' part
    S_a  = v_a / n_a, v_a the variance over seeds of a's scores, moderated               the seeds' part
    E_a  = Σ e² / ((n_a − 1)(m − 1)) / (n_a·m), e the residuals: they are in R and in S_a
    Var D = max(R + S₀ + S₁ − E₀ − E₁,  R,  S₀ + S₁)
    df    = Var² / (R²/(m − 1) + Σ S_a²/df_a), at least 1                                 Satterthwaite

Without answers by row, R and E are unknown: the test is then Welch's over seeds, and holds for these rows only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

from petbench.report.statistics.intervals import t_quantile, t_two_sided
from petbench.report.statistics.moderation import Prior, Variance, moderated

Values = NDArray[np.float64]
LEVEL = 0.05
FEWEST_SEEDS = 2  # with fewer, a side has no spread


@dataclass(frozen=True)
class Side:
    """The finished runs of one method on one task: their scores, and (seeds, rows) jackknife values if stored."""

    scores: tuple[float, ...]
    rows: Values | None = None

    @property
    def n(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Difference:
    """mean(a) − mean(b) in score units, with its variance (score²) and the parts of that."""

    value: float
    variance: float
    df: float
    rows_part: float | None  # variance due to rows; None: the test holds for these rows only
    seeds_part: float  # variance due to seeds, of both sides together
    m: int | None  # number of rows

    @property
    def se(self) -> float:
        """The standard error."""
        return sqrt(self.variance)

    @property
    def p(self) -> float:
        """The two-sided p value of the hypothesis of no difference."""
        if self.variance == 0:
            return 1.0 if round(self.value, 12) == 0 else 0.0
        return t_two_sided(self.value / self.se, self.df)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The ends of the interval, value ± t((1 + confidence)/2, df) · se."""
        half = t_quantile((1 + confidence) / 2, self.df) * self.se
        return self.value - half, self.value + half

    def equal_within(self, margin: float, level: float = LEVEL) -> bool:
        """Whether the 1 − 2·level interval lies within ± margin (two one-sided tests)."""
        low, high = self.interval(1 - 2 * level)
        return -margin < low and high < margin


def difference(
    a: Side, b: Side, priors: tuple[Prior | None, Prior | None] = (None, None)
) -> Difference | None:
    """The test between two methods; None when a side has fewer than two runs.

    priors: of the variance over seeds of each side. The variance over rows is included if both have values on the same
    rows.
    """
    if min(a.n, b.n) < FEWEST_SEEDS:
        return None
    value = fmean(a.scores) - fmean(b.scores)
    spreads = [seeds_variance(side, prior) for side, prior in zip((a, b), priors, strict=True)]
    parts = [spread.value / side.n for spread, side in zip(spreads, (a, b), strict=True)]
    seeds = sum(parts)
    below = sum(part**2 / spread.df for part, spread in zip(parts, spreads, strict=True))
    if a.rows is None or b.rows is None or a.rows.shape[1] != b.rows.shape[1]:
        return Difference(value, seeds, _df(seeds, below), None, seeds, None)
    m = a.rows.shape[1]
    rows = rows_part(a.rows, b.rows)
    residual = sum(residual_part(side) for side in (a.rows, b.rows))
    total = max(rows + seeds - residual, rows, seeds)
    return Difference(value, total, _df(total, below + rows**2 / (m - 1)), rows, seeds, m)


def seeds_variance(side: Side, prior: Prior | None) -> Variance:
    """The variance over seeds of a side's scores (score²), moderated by the prior."""
    return moderated(variance(side.scores), side.n - 1, prior)


def rows_part(a: Values, b: Values) -> float:
    """R, the variance of D that is due to rows. a, b: (n_a, m) and (n_b, m) jackknife values."""
    apart = a.mean(axis=0) - b.mean(axis=0)
    return float(apart.var(ddof=1) / len(apart))


def residual_part(x: Values) -> float:
    """E_a, the part of the variance of the mean that neither rows nor seeds explain. x: (n, m) jackknife values."""
    n, m = x.shape
    e = x - x.mean(axis=0, keepdims=True) - x.mean(axis=1, keepdims=True) + x.mean()
    return float((e**2).sum() / ((n - 1) * (m - 1)) / (n * m))


def rows_error(x: Values) -> float:
    """The standard error of a method's mean that is due to rows. x: (n, m) jackknife values."""
    mean = x.mean(axis=0)
    return float(sqrt(mean.var(ddof=1) / len(mean)))


def mean_difference(parts: Sequence[Difference]) -> Difference:
    """The mean of the differences on k tasks: standard error sqrt(Σ se²)/k, Satterthwaite's degrees of freedom."""
    k = len(parts)
    total = sum(part.variance for part in parts) / k**2
    below = sum((part.variance / k**2) ** 2 / part.df for part in parts)
    known = [part.rows_part for part in parts if part.rows_part is not None]
    return Difference(
        value=fmean(part.value for part in parts),
        variance=total,
        df=_df(total, below),
        rows_part=sum(known) / k**2 if len(known) == k else None,
        seeds_part=sum(part.seeds_part for part in parts) / k**2,
        m=None,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of m p values, in the order given: max over j ≤ i of (m − j + 1)·p₍ⱼ₎, at most 1."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    running = 0.0
    for place, index in enumerate(order):
        running = max(running, (len(p_values) - place) * p_values[index])
        corrected[index] = min(running, 1.0)
    return corrected


def _df(total: float, below: float) -> float:
    return max(1.0, total**2 / below) if below > 0 else float("inf")
