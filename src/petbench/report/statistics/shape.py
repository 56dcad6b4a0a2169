"""How often a run of one method beats a run of the other, and whether that agrees with the means."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

USUALLY = 0.75  # above this share a method is said to win usually (Bouthillier et al. 2021)
FEWEST_FOR_SHARE = 5
FEWEST_FOR_SHAPE = 6


@dataclass(frozen=True)
class Wins:
    """P(a run of A beats a run of B), with ties counted half, and its 95 % interval."""

    share: float
    low: float
    high: float

    @property
    def usually(self) -> bool:
        """Whether one of the two usually wins."""
        return max(self.share, 1 - self.share) > USUALLY


def wins(a: Sequence[float], b: Sequence[float]) -> Wins:
    """The share of all pairs of runs that A wins (Mann and Whitney's U over n_a·n_b), and DeLong's interval.

    The interval's standard error is that of the placements of each run among the other side's; its ends are limited to
    [0, 1]. Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021.
    """
    above = [fmean(_beats(x, y) for y in b) for x in a]
    below = [fmean(_beats(x, y) for x in a) for y in b]
    share = fmean(above)
    spread = sum(_over_n(placements) for placements in (above, below))
    # If every run of one side wins, the placements do not vary; the rule of three bounds what n runs can show.
    least = 1 / min(len(a), len(b)) / 3
    half = 1.96 * max(sqrt(spread), least if share in (0.0, 1.0) else 0.0)
    return Wins(share, max(0.0, share - half), min(1.0, share + half))


def disagrees(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether the mean and the majority of runs name different winners, as when one collapse lowers a mean."""
    higher = fmean(a) - fmean(b)
    majority = fmean(_beats(x, y) for x in a for y in b) - 0.5
    return round(higher, 12) != 0 and round(majority, 12) != 0 and (higher > 0) != (majority > 0)


def shape_p(a: Sequence[float], b: Sequence[float], paired: bool) -> float | None:
    """p of an exact test on ranks: Wilcoxon's signed-rank test over pairs (a[i], b[i]) if paired, else Mann-Whitney's.

    None with fewer than 6 runs per side, where neither reaches a two-sided 0.05 with ties. With zeros or ties, p is
    exact up to 12 pairs (all sign patterns are tried); beyond that SciPy's approximation is used.
    """
    from scipy.stats import PermutationMethod, mannwhitneyu, wilcoxon  # scipy takes a second

    if min(len(a), len(b)) < FEWEST_FOR_SHAPE:
        return None
    if not paired:
        return float(mannwhitneyu(a, b, alternative="two-sided").pvalue)
    apart = [round(x - y, 12) for x, y in zip(a, b, strict=True)]
    if not any(apart):
        return 1.0
    ties = 0.0 in apart or len({abs(x) for x in apart}) < len(apart)
    method = PermutationMethod(n_resamples=2**12) if ties and len(apart) <= 12 else "auto"
    return float(wilcoxon(apart, method=method).pvalue)


def _beats(x: float, y: float) -> float:
    return 0.5 if round(x - y, 12) == 0 else float(x > y)


def _over_n(values: Sequence[float]) -> float:
    n = len(values)
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values) / (n - 1) / n if n > 1 else 0.0
