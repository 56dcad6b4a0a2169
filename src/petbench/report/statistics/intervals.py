"""Summaries of a few runs of one setting: mean, spread and confidence interval; and intervals of shares of runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev, variance

from petbench.report.statistics.moderation import Prior, moderated

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """A summary of n scores. std has n − 1 in its denominator; std and interval are None below two scores."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


def summary(scores: Sequence[float], prior: Prior | None = None) -> Summary:
    """Mean, standard deviation and 95 % t interval of the mean over seeds.

    The interval is mean ± t(0.975, df)·√(v/n), with v the variance of the scores, moderated by the prior if there is
    one. For normal scores it contains the true mean in 95 % of cases, from two runs on. Raises ValueError on no scores.
    """
    n = len(scores)
    if n == 0:
        raise ValueError("no scores to summarise")
    mean = fmean(scores)
    if n == 1:
        return Summary(1, mean, None, None, None)
    spread = moderated(variance(scores), n - 1, prior)
    half = t_quantile((1 + CONFIDENCE) / 2, spread.df) * sqrt(spread.value / n)
    return Summary(n, mean, stdev(scores), mean - half, mean + half)


def t_quantile(probability: float, df: float) -> float:
    """The quantile of Student's t distribution; of the normal distribution where df is infinite."""
    from scipy.special import ndtri, stdtrit  # scipy takes a second

    return float(ndtri(probability) if df == float("inf") else stdtrit(df, probability))


def t_two_sided(t: float, df: float) -> float:
    """P(|T| >= |t|) of Student's t distribution; of the normal distribution where df is infinite."""
    from scipy.special import ndtr, stdtr  # scipy takes a second

    return float(2 * (ndtr(-abs(t)) if df == float("inf") else stdtr(df, -abs(t))))


def share_interval(k: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's exact 95 % interval of a share of which k of n were seen, such as of collapsed runs."""
    from scipy.special import betaincinv  # scipy takes a second

    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high
