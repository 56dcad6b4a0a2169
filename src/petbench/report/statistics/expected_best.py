"""The expected best score of k tuning trials.

With scores x₍₁₎ ≤ … ≤ x₍N₎ on the selection rows, the best of k trials drawn with replacement is expected to be
Σ x₍ᵢ₎·[(i/N)^k − ((i−1)/N)^k] (Dodge et al., Show your work, EMNLP 2019). A failed trial has no score, but costs time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Trial:
    """One trial: its selection score, None if it failed or diverged, and the seconds that it took."""

    score: float | None
    seconds: float


@dataclass(frozen=True)
class Budget:
    """After k trials: the expected best selection score, and the seconds that k trials take on average."""

    trials: int
    score: float
    seconds: float


def expected_best(trials: Sequence[Trial]) -> list[Budget]:
    """The budgets for k = 1 … N. A failed trial counts as the worst score of all. Empty when every trial failed."""
    scored = sorted(trial.score for trial in trials if trial.score is not None)
    if not scored:
        return []
    n = len(trials)
    ordered = [scored[0]] * (n - len(scored)) + scored
    each = fmean(trial.seconds for trial in trials)
    return [
        Budget(
            k,
            sum(x * (((i + 1) / n) ** k - (i / n) ** k) for i, x in enumerate(ordered)),
            k * each,
        )
        for k in range(1, n + 1)
    ]
