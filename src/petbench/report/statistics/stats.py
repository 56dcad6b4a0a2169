"""Mean, spread and bootstrap interval of a few seeds' scores.

The interval is the expanded percentile bootstrap: the percentile interval's level is widened so that, for
normal data, its width matches Student's t (the plain one is far too narrow below 10 seeds). With 3 seeds it
is the range of the values: no resampling can know more. On normal data it holds the true mean in 76, 91, 96
and 95% of cases with 3, 5, 10 and 20 values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, stdev

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4999
BOOTSTRAP_SEED = 20231
# Student's t, 0.975 quantile, degrees of freedom 1 to 30
_T975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """n values in short; std has n - 1 in its denominator; std and interval are None below two values."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95% bootstrap interval. Raises ValueError on no values."""
    n = len(values)
    if n == 0:
        raise ValueError("no values to summarise")
    if n == 1:
        return Summary(1, float(values[0]), None, None, None)
    low, high = mean_interval(values)
    return Summary(n, fmean(values), stdev(values), low, high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean of at least two values."""
    data = np.asarray(values, dtype=np.float64)
    n = len(data)
    means = data[_every(n) if n**n <= RESAMPLES else _drawn(n, BOOTSTRAP_SEED)].mean(axis=1)
    return _ends(means, _tail(n))


def difference_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """95% interval of mean(a) - mean(b), each resampled on its own; for runs that are no pairs."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    means = first[_drawn(len(first), BOOTSTRAP_SEED)].mean(axis=1)
    means = means - second[_drawn(len(second), BOOTSTRAP_SEED + 1)].mean(axis=1)
    return _ends(means, _tail(min(len(first), len(second))))


def quantile_normal(probability: float) -> float:
    """The standard normal's quantile."""
    return NormalDist().inv_cdf(probability)


def _tail(n: int) -> float:
    """The level to cut at each end: Phi(-t * sqrt(n / (n - 1))) with t the 0.975 quantile at n - 1."""
    z = quantile_normal(0.975)
    t = _T975[n - 2] if n - 2 < len(_T975) else z + (z**3 + z) / (4 * (n - 1))
    return NormalDist().cdf(-t * math.sqrt(n / (n - 1)))


def _ends(means: NDArray[np.float64], tail: float) -> tuple[float, float]:
    ordered = np.sort(means)
    cut = round(tail * (len(ordered) - 1))
    return float(ordered[cut]), float(ordered[-1 - cut])


@lru_cache(maxsize=8)
def _every(n: int) -> NDArray[np.int64]:
    """All n^n bootstrap samples of n values, (samples, n)."""
    return np.ascontiguousarray(np.indices((n,) * n).reshape(n, -1).T)


@lru_cache(maxsize=256)
def _drawn(n: int, seed: int) -> NDArray[np.int64]:
    """Drawn bootstrap samples, (samples, n); the same for equal n and seed, so tables come out equal."""
    return np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
