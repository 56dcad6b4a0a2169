"""Average ranks of methods over tasks: Friedman's test and Nemenyi's critical difference (Demsar 2006)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import erfc, exp, gamma, sqrt

import numpy as np

# Studentised range at 0.05 with infinite degrees of freedom, over sqrt(2); for 2 to 30 methods
_Q05 = (
    1.960, 2.344, 2.569, 2.728, 2.850, 2.948, 3.031, 3.102, 3.164, 3.219, 3.268, 3.313, 3.354, 3.391, 3.426,
    3.458, 3.489, 3.517, 3.544, 3.569, 3.593, 3.616, 3.637, 3.658, 3.678, 3.696, 3.714, 3.732, 3.749,
)  # fmt: skip


@dataclass(frozen=True)
class Ranks:
    """Average rank by method (1 is best), over the tasks that every method here has."""

    tasks: tuple[str, ...]
    average: Mapping[str, float]
    critical_difference: float | None  # two methods differ when their ranks do by more; None above 30 methods
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
    q = _Q05[k - 2] if k - 2 < len(_Q05) else None
    return Ranks(
        tasks=tuple(tasks),
        average=dict(zip(methods, (float(mean) for mean in means), strict=True)),
        critical_difference=q * sqrt(k * (k + 1) / (6 * n)) if q is not None else None,
        friedman_p=chi_square_tail(statistic, k - 1),
    )


def chi_square_tail(x: float, df: int) -> float:
    """P(chi-square with df whole degrees of freedom > x), by the recurrence from df 1 or 2."""
    if x <= 0:
        return 1.0
    tail, reached = (erfc(sqrt(x / 2)), 1) if df % 2 else (exp(-x / 2), 2)
    while reached < df:
        tail += (x / 2) ** (reached / 2) * exp(-x / 2) / gamma(reached / 2 + 1)
        reached += 2
    return min(1.0, tail)
