"""Average ranks of methods over tasks: Friedman's test and Nemenyi's critical difference (Demsar 2006)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt

import numpy as np


@dataclass(frozen=True)
class Ranks:
    """Average rank by method (1 is best), over the tasks that every method here has."""

    tasks: tuple[str, ...]
    average: Mapping[str, float]
    critical_difference: float  # two methods differ when their ranks do by more
    friedman_p: float


def average_ranks(scores: Mapping[str, Mapping[str, float]]) -> Ranks | None:
    """`method -> task -> mean score` to average ranks; ties share their mean rank.

    Only tasks that all methods have count. None below two methods or two such tasks.
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
    """Its 0.95 quantile for k methods with infinite degrees of freedom: the range w of k standard normals with

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
