"""Power: the smallest difference that so many seeds and rows detect, and the seeds that detect a given one."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, isinf, isnan, sqrt

from petbench.report.statistics.difference import LEVEL

POWER = 0.8
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Design:
    """A comparison of two methods, with n seeds each on m rows.

    seeds_variance: variance over seeds of one method's score on these rows (score²). rows_variance: variance over rows
    of the difference between the methods, so that rows_variance / rows is the rows' part; 0 means these rows only.
    """

    seeds: int
    rows: int
    seeds_variance: float
    rows_variance: float = 0.0

    @property
    def variance(self) -> float:
        """The variance of the difference of the two means: 2·seeds_variance/n + rows_variance/m."""
        return 2 * self.seeds_variance / self.seeds + self.rows_variance / self.rows

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom, as in the test (`difference`)."""
        each = self.seeds_variance / self.seeds
        rows = self.rows_variance / self.rows
        below = 2 * each**2 / (self.seeds - 1) + (rows**2 / (self.rows - 1) if rows else 0.0)
        return max(1.0, self.variance**2 / below) if below else inf


def detectable(variance: float, df: float, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest true difference δ (score units) that the two-sided t test detects with this power, where the
    difference of two means has this variance (score²) with df degrees of freedom.

    Solves P(|T(df, δ/se)| > t(1 − level/2, df)) = power for δ, with T of the noncentral t distribution; δ/se is
    accurate to 1e-4.
    """
    return sqrt(variance) * _noncentrality(_rounded(df), level, power)


def least_difference(design: Design, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest true difference (score units) that a comparison of this design detects with this power."""
    return detectable(design.variance, design.df, level, power)


def endless_seeds(design: Design, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest difference for infinitely many seeds on as many rows, from the rows' part alone."""
    return detectable(design.rows_variance / design.rows, design.rows - 1, level, power)


def seeds_needed(design: Design, wanted: float, level: float = LEVEL, power: float = POWER) -> int | None:
    """The fewest seeds of each method that detect the wanted difference (score units).

    None when even infinitely many do not, because of the rows, or when more than 1,000 would be needed.
    """
    if wanted <= endless_seeds(design, level, power):
        return None
    low, high = 1, 2  # `low` seeds are too few
    while least_difference(replace(design, seeds=high), level, power) > wanted:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if least_difference(replace(design, seeds=middle), level, power) > wanted:
            low = middle
        else:
            high = middle
    return high


def _rounded(df: float) -> float:
    """Degrees of freedom rounded to three digits, enough for planning, so that the cache is used more often."""
    return inf if isinf(df) or df > 1e4 else float(f"{df:.3g}")


@lru_cache(maxsize=4096)
def _noncentrality(df: float, level: float, power: float) -> float:
    """The δ/se with P(|T| > t) = power."""
    # scipy takes a second
    from scipy.optimize import brentq
    from scipy.special import ndtri
    from scipy.stats import nct, t

    if isinf(df):
        return float(ndtri(1 - level / 2) + ndtri(power))
    bar = t.ppf(1 - level / 2, df)

    def lacking(delta: float) -> float:
        # SciPy has no value for some tails: the upper one is whole there, and nothing is left in the lower one.
        upper, lower = float(nct.sf(bar, df, delta)), float(nct.cdf(-bar, df, delta))
        return (1.0 if isnan(upper) else upper) + (0.0 if isnan(lower) else lower) - power

    return float(brentq(lacking, 0.0, 4 * bar + 4, xtol=1e-4))
