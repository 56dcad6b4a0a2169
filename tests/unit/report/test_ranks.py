"""Average ranks, Friedman's test and the critical difference against SciPy."""

import numpy as np
import pytest
from scipy import stats

from petbench.report.statistics.ranks import average_ranks


def test_ranks_by_hand_with_a_tie() -> None:
    scores = {
        "a": {"rte": 0.9, "cola": 0.8, "sst2": 0.7},
        "b": {"rte": 0.8, "cola": 0.8, "sst2": 0.6},
        "c": {"rte": 0.7, "cola": 0.1, "sst2": 0.5, "mnli": 0.9},
    }
    ranks = average_ranks(scores)
    assert ranks is not None
    assert ranks.tasks == ("rte", "cola", "sst2")
    assert ranks.average == {"a": pytest.approx(3.5 / 3), "b": pytest.approx(5.5 / 3), "c": 3.0}


def test_friedman_is_scipys() -> None:
    table = np.round(np.random.default_rng(0).normal(size=(8, 4)), 1)
    scores = {str(j): {str(i): float(table[i, j]) for i in range(8)} for j in range(4)}
    ranks = average_ranks(scores)
    assert ranks is not None
    assert ranks.friedman_p == pytest.approx(stats.friedmanchisquare(*table.T).pvalue)


@pytest.mark.parametrize("methods", [2, 5, 10])
def test_critical_difference(methods: int) -> None:
    scores = {str(j): {str(i): float(i * j) for i in range(6)} for j in range(methods)}
    ranks = average_ranks(scores)
    assert ranks is not None and ranks.critical_difference is not None
    q = stats.studentized_range.ppf(0.95, methods, 1e6) / 2**0.5
    wanted = q * (methods * (methods + 1) / 36) ** 0.5
    assert ranks.critical_difference == pytest.approx(wanted, rel=1e-3)


def test_too_little_to_rank() -> None:
    assert average_ranks({"a": {"rte": 1.0, "cola": 1.0}}) is None
    assert average_ranks({"a": {"rte": 1.0}, "b": {"rte": 0.5}}) is None
