"""Average ranks of methods over tasks: Friedman's test and Nemenyi's critical difference (Demsar 2006)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf, sqrt

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
    from scipy.stats import chi2  # takes most of a second

    return Ranks(
        tasks=tuple(tasks),
        average=dict(zip(methods, (float(mean) for mean in means), strict=True)),
        critical_difference=_studentised_range(k) / sqrt(2) * sqrt(k * (k + 1) / (6 * n)),
        friedman_p=float(chi2.sf(statistic, k - 1)),
    )


@lru_cache(maxsize=64)
def _studentised_range(k: int) -> float:
    """Its 0.95 quantile for k methods with infinite degrees of freedom; it takes a tenth of a second."""
    from scipy.stats import studentized_range  # scipy takes a second

    return float(studentized_range.ppf(0.95, k, inf))
