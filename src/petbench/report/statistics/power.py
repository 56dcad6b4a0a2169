"""Planning: how small a difference so many seeds and rows can show, and how many runs a difference costs."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, isinf, isnan, sqrt

from petbench.report.statistics.difference import LEVEL

POWER = 0.8
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Design:
    """A comparison of two methods, n seeds each on m rows. Variances are of one run's score (score²).

    seeds_variance: over seeds, of one method, as seen on these rows. rows_variance: of the row's difference between
    the two methods, so that rows_variance / rows is the rows' part; 0 asks for these rows only.
    """

    seeds: int
    rows: int
    seeds_variance: float
    rows_variance: float = 0.0
    df_each: float | None = None  # of a side's variance; None: seeds - 1

    @property
    def variance(self) -> float:
        """Of the difference of two means."""
        return 2 * self.seeds_variance / self.seeds + self.rows_variance / self.rows

    @property
    def df(self) -> float:
        """Satterthwaite's, as the test will have it."""
        each = self.seeds_variance / self.seeds
        f = self.df_each if self.df_each is not None else self.seeds - 1
        rows = self.rows_variance / self.rows
        below = 2 * each**2 / f + (rows**2 / (self.rows - 1) if rows else 0.0)
        return max(1.0, self.variance**2 / below) if below else inf


def least_difference(design: Design, level: float = LEVEL, power: float = POWER) -> float:
    """The true difference (score units) that the two-sided t test finds with this power.

    Solves P(|T(df, δ/se)| > t(1 − level/2, df)) = power for δ with the noncentral t. Rounded to four digits of se.
    """
    return sqrt(design.variance) * _noncentrality(_rounded(design.df), level, power)


def endless_seeds(design: Design, level: float = LEVEL, power: float = POWER) -> float:
    """What no number of seeds can better on these many rows: the rows' part alone."""
    rows = design.rows_variance / design.rows
    return sqrt(rows) * _noncentrality(_rounded(float(design.rows - 1)), level, power) if rows else 0.0


def seeds_needed(design: Design, wanted: float, level: float = LEVEL, power: float = POWER) -> int | None:
    """The fewest seeds each that show the wanted difference; None where rows alone forbid it or over 1,000."""
    if wanted <= endless_seeds(design, level, power):
        return None
    low, high = 1, 2  # low fails
    while least_difference(_with(design, high), level, power) > wanted:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if least_difference(_with(design, middle), level, power) > wanted:
            low = middle
        else:
            high = middle
    return high


def _with(design: Design, seeds: int) -> Design:
    more = None if design.df_each is None else design.df_each + seeds - design.seeds
    return replace(design, seeds=seeds, df_each=more)


def _rounded(df: float) -> float:
    """Degrees of freedom that share one answer: three digits are enough for planning."""
    return inf if isinf(df) or df > 1e4 else float(f"{df:.3g}")


@lru_cache(maxsize=4096)
def _noncentrality(df: float, level: float, power: float) -> float:
    """δ/se with P(|T| > t) = power."""
    # scipy takes a second
    from scipy.optimize import brentq
    from scipy.special import ndtri
    from scipy.stats import nct, t

    if isinf(df):
        return float(ndtri(1 - level / 2) + ndtri(power))
    bar = t.ppf(1 - level / 2, df)

    def lacking(delta: float) -> float:
        found = float(nct.sf(bar, df, delta) + nct.cdf(-bar, df, delta))
        return (
            1.0 if isnan(found) else found
        ) - power  # SciPy has no value where the power is 1 to all digits

    return float(brentq(lacking, 0.0, bar + 4, xtol=1e-4))
