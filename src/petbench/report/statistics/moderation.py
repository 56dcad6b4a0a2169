"""Moderated variances: each cell's variance over seeds is shrunk toward a value common to the cells of its table.

Three seeds say little about their own spread, but cells of one table have similar spreads. So the variance v of a cell,
with f degrees of freedom, is shrunk toward a common value s0² with the weight of d0 further degrees of freedom:

    (d0·s0² + f·v) / (d0 + f),   with d0 + f degrees of freedom, at most those of all cells together

d0 and s0² are fitted to all cells by matching the moments of log v (Smyth, Linear models and empirical Bayes
methods, SAGMB 3(1), 2004, section 6.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isinf, log

FEWEST_CELLS = 10  # with fewer, the common value is not known well enough to help
SMALLEST_SHARE = (
    1e-4  # a variance of zero, which has no logarithm, is replaced by this share of the median variance
)


@dataclass(frozen=True)
class Prior:
    """What is known about a cell's variance before its own runs: s0² (score²), worth d0 degrees of freedom."""

    d0: float  # infinite: all cells have the same variance
    s0_squared: float
    cells: int  # number of cells to which it was fitted
    df: float = (
        inf  # degrees of freedom of all these cells together, which limit those of a moderated variance
    )


@dataclass(frozen=True)
class Variance:
    """A variance (score²) and its degrees of freedom."""

    value: float
    df: float


def fit_prior(variances: Sequence[tuple[float, float]]) -> Prior | None:
    """The prior from cells given as (variance, degrees of freedom); None with fewer than 10 cells.

    The caller leaves out cells with collapsed runs, whose scores follow another distribution.
    """
    from scipy.special import digamma, polygamma  # takes most of a second

    known = [(v, f) for v, f in variances if f >= 1]
    positive = sorted(v for v, _ in known if v > 0)
    if len(known) < FEWEST_CELLS or not positive:
        return None
    least = SMALLEST_SHARE * positive[len(positive) // 2]
    e = [log(max(v, least)) - float(digamma(f / 2)) + log(f / 2) for v, f in known]
    mean = sum(e) / len(e)
    spread = sum((x - mean) ** 2 for x in e) / (len(e) - 1)
    excess = spread - sum(float(polygamma(1, f / 2)) for _, f in known) / len(known)
    if excess <= 0:
        return Prior(inf, exp(mean), len(known), sum(f for _, f in known))
    d0 = 2 * _trigamma_inverse(excess)
    s0_squared = exp(mean + float(digamma(d0 / 2)) - log(d0 / 2))
    return Prior(d0, s0_squared, len(known), sum(f for _, f in known))


def moderated(value: float, df: float, prior: Prior | None) -> Variance:
    """A cell's variance, shrunk toward the prior; unchanged without a prior."""
    if prior is None:
        return Variance(value, df)
    if isinf(prior.d0):
        return Variance(prior.s0_squared, max(df, prior.df))
    weight = prior.d0 + df
    return Variance((prior.d0 * prior.s0_squared + df * value) / weight, max(df, min(weight, prior.df)))


def _trigamma_inverse(x: float) -> float:
    """y with trigamma(y) = x > 0, by Newton's method on 1/trigamma, which is convex."""
    from scipy.special import polygamma  # scipy takes a second

    if x > 1e7:
        return 1 / x**0.5
    if x < 1e-6:
        return 1 / x
    y = 0.5 + 1 / x
    for _ in range(50):
        t = float(polygamma(1, y))
        step = t * (1 - t / x) / float(polygamma(2, y))
        y += step
        if -step / y < 1e-8:
            break
    return y
