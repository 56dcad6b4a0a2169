"""Average ranks of methods over tasks, with Friedman's test and Nemenyi's critical difference.

Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt

import numpy as np


@dataclass(frozen=True)
class Ranks:
    """The average rank of each method (1 is best) over the tasks that all methods have."""

    tasks: tuple[str, ...]
    average: Mapping[str, float]
    critical_difference: (
        float  # two methods differ significantly if their average ranks differ by more than this
    )
    friedman_p: float


def average_ranks(scores: Mapping[str, Mapping[str, float]]) -> Ranks | None:
    """The average ranks. scores: method -> task -> mean score. Ties get their mean rank.

    Only tasks that all methods have count. None below two methods or two such tasks.
    critical difference = q(0.95, k)/√2 · √(k(k + 1)/(6n)) for k methods and n tasks, q of the studentised range.
    """
    methods = list(scores)
    if len(methods) < 2:
        return None
    tasks = [task for task in scores[methods[0]] if all(task in scores[method] for method in methods)]
    k, n = len(methods), len(tasks)
    if n < 2:
        return None
    table = np.round([[scores[method][task] for method in methods] for task in tasks], 10)
    below = (table[:, :, None] < table[:, None, :]).sum(axis=2)  # how many are better
    equal = (table[:, :, None] == table[:, None, :]).sum(axis=2)
    ranks = below + (equal + 1) / 2
    means = ranks.mean(axis=0)
    variation = float(((ranks - (k + 1) / 2) ** 2).sum())
    statistic = n * n * (k - 1) * float(((means - (k + 1) / 2) ** 2).sum()) / variation if variation else 0.0
    from scipy.special import chdtrc  # takes a third of a second; scipy.stats would take most of two

    return Ranks(
        tasks=tuple(tasks),
        average=dict(zip(methods, (float(mean) for mean in means), strict=True)),
        critical_difference=_studentised_range(k) / sqrt(2) * sqrt(k * (k + 1) / (6 * n)),
        friedman_p=float(chdtrc(k - 1, statistic)),
    )


@lru_cache(maxsize=64)
def _studentised_range(k: int) -> float:
    """The 0.95 quantile of the studentised range for k methods and infinite degrees of freedom: w with

    P(range <= w) = k ∫ φ(z) [Φ(z) − Φ(z − w)]^(k − 1) dz = 0.95
    """
    from scipy.special import ndtr  # scipy.stats would take a second

    z, step = np.linspace(-8.0, 16.0, 4801, retstep=True)  # beyond, the density is below 1e-14
    density = k * np.exp(-(z**2) / 2) / sqrt(2 * pi) * step
    low, high = 0.0, 15.0
    for _ in range(60):
        middle = (low + high) / 2
        below = float(density @ (ndtr(z) - ndtr(z - middle)) ** (k - 1))
        low, high = (middle, high) if below < 0.95 else (low, middle)
    return high
