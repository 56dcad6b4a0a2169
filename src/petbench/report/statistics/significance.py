"""Exact tests between two methods, and Holm's correction.

Written out so that ties and zeros are exact too: scores are counts over a few hundred rows, so equal ones
are common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, comb, erfc, log2, pi, sqrt
from statistics import fmean, stdev

import numpy as np

from petbench.report.statistics.stats import difference_interval, mean_interval, quantile_normal

LEVEL = 0.05
POWER = 0.8
EXACT_PAIRS = 50
EXACT_TOTAL = 40


@dataclass(frozen=True)
class Comparison:
    """A two-sided test of a against b; the difference is mean(a) - mean(b) over what was compared."""

    name: str
    n: int  # pairs, or the smaller group
    p: float
    p_least: float  # what this many pairs could give at best
    difference: float
    low: float | None  # 95% bootstrap interval of the difference
    high: float | None
    note: str = ""
    spread: float | None = None  # standard deviation of one pair's difference; None for a single pair

    def needed(self, level: float = LEVEL) -> int | None:
        """Pairs in all to find a difference of this size at `level` with power 0.8.

        ((z_{1 - level/2} + z_.8) * spread / difference)^2 of the normal approximation, divided by 3/pi (the
        signed-rank test's efficiency), and at least what can reach the level (6 for .05). None where the
        difference is 0 or its spread unknown.
        """
        if self.spread is None or round(self.difference, 10) == 0:
            return None
        z = quantile_normal(1 - level / 2) + quantile_normal(POWER)
        pairs = ceil((z * self.spread / self.difference) ** 2 * pi / 3)
        return max(fewest_pairs(level), pairs)


def signed_rank(differences: Sequence[float]) -> tuple[float, float]:
    """Wilcoxon's signed-rank test: (p, least p that could be had).

    Zeros are dropped; tied sizes share their mean rank; exact up to 50 pairs by counting all sign patterns,
    beyond that the normal approximation with correction for ties and continuity.
    """
    sizes = np.round([difference for difference in differences if round(difference, 10) != 0], 10)
    n = len(sizes)
    if n == 0:
        return 1.0, 1.0
    ranks = _doubled_ranks(np.abs(sizes))
    plus, total = int(ranks[sizes > 0].sum()), int(ranks.sum())
    if n > EXACT_PAIRS:
        spread = sqrt(float((ranks.astype(float) ** 2).sum()) / 4)
        distance = max(abs(plus - total / 2) - 1, 0.0)
        return erfc(distance / spread / sqrt(2)), 0.0
    ways = np.zeros(total + 1)
    ways[0] = 1
    for rank in ranks:
        ways[rank:] += ways[: total + 1 - rank].copy()
    least = 2.0 / 2.0**n
    return _two_sided(ways, plus), min(least, 1.0)


def rank_sum(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Mann and Whitney's test: (p, least p). Exact up to 40 values, ties included; then normal."""
    values = np.round(np.concatenate([np.asarray(a, dtype=float), np.asarray(b, dtype=float)]), 10)
    n, m = len(a), len(b)
    ranks = _doubled_ranks(values)
    taken = int(ranks[:n].sum())
    if n + m > EXACT_TOTAL:
        centre = ranks.mean()
        spread = sqrt(n * m / (n + m - 1) * float(((ranks - centre) ** 2).mean()))
        if spread == 0:
            return 1.0, 1.0
        distance = max(abs(taken - n * centre) - 1, 0.0)
        return erfc(distance / spread / sqrt(2)), 0.0
    total = int(ranks.sum())
    ways = np.zeros((n + 1, total + 1))  # chosen so far x sum of their ranks
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : total + 1 - rank].copy()
    return _two_sided(ways[n], taken), min(2.0 / comb(n + m, n), 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given: the largest of (m - i) * p_(i) so far, at most 1."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    running = 0.0
    for place, index in enumerate(order):
        running = max(running, (len(p_values) - place) * p_values[index])
        corrected[index] = min(running, 1.0)
    return corrected


def over_seeds(a: Mapping[int, float], b: Mapping[int, float]) -> Comparison:
    """Seed -> score of two methods on one task.

    Paired by seed when at least half of the smaller set is common (the rest is left out), else
    Mann and Whitney's test on all runs. The rule looks at seeds only, never at scores.
    """
    common = sorted(set(a) & set(b))
    if a and b and 2 * len(common) >= min(len(a), len(b)):
        left = len(a) + len(b) - 2 * len(common)
        note = f"left out, with no partner of the same seed: {left} runs" if left else ""
        return paired([a[seed] - b[seed] for seed in common], "seeds", note)
    return unpaired(list(a.values()), list(b.values()))


def paired(differences: Sequence[float], of: str, note: str = "") -> Comparison:
    """The signed-rank test over pairs, with interval and the pairs that would be needed."""
    n = len(differences)
    p, least = signed_rank(differences)
    low, high = mean_interval(differences) if n > 1 else (None, None)
    exact = "exact" if n <= EXACT_PAIRS else "normal approximation"
    spread = stdev(differences) if n > 1 else None
    return Comparison(
        f"Wilcoxon signed-rank over {n} {of}, {exact}",
        n,
        p,
        least,
        fmean(differences),
        low,
        high,
        note,
        spread,
    )


def unpaired(a: Sequence[float], b: Sequence[float]) -> Comparison:
    """The rank-sum test over two independent groups."""
    if not a or not b:
        return Comparison("no test", 0, 1.0, 1.0, 0.0, None, None, "one side has no finished run")
    p, least = rank_sum(a, b)
    enough = len(a) > 1 and len(b) > 1
    low, high = difference_interval(a, b) if enough else (None, None)
    exact = "exact" if len(a) + len(b) <= EXACT_TOTAL else "normal approximation"
    note = "too few common seeds to pair the runs"
    difference = fmean(a) - fmean(b)
    spread = sqrt(stdev(a) ** 2 + stdev(b) ** 2) if enough else None
    name = f"Mann-Whitney, {len(a)} against {len(b)} runs, {exact}"
    return Comparison(name, min(len(a), len(b)), p, least, difference, low, high, note, spread)


def fewest_pairs(level: float = LEVEL) -> int:
    """Pairs below which the signed-rank test cannot reach the level: 2 / 2^n <= level; 6 for .05."""
    return ceil(log2(2 / level))


def _doubled_ranks(values: np.ndarray) -> np.ndarray:
    """Twice the mid-ranks from 1: whole numbers even with ties."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (2 * ends - counts + 1)[inverse].astype(np.int64)


def _two_sided(ways: np.ndarray, seen: int) -> float:
    """Twice the smaller tail, at most 1."""
    total = ways.sum()
    return float(min(1.0, 2 * min(ways[: seen + 1].sum(), ways[seen:].sum()) / total))
