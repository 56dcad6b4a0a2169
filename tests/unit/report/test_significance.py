"""Exact tests against hand values and SciPy, Holm, and the rate of false alarms."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from petbench.report.statistics.significance import (
    fewest_pairs,
    holm,
    over_seeds,
    paired,
    rank_sum,
    signed_rank,
)


def test_signed_rank_by_hand() -> None:
    # six positives: both extreme patterns of 2^6
    assert signed_rank([1, 2, 3, 4, 5, 6]) == (pytest.approx(2 / 64), pytest.approx(2 / 64))
    # five cannot reach 0.05
    assert signed_rank([1, 2, 3, 4, 5])[1] == pytest.approx(0.0625)


@pytest.mark.parametrize("n", [3, 6, 10, 25])
def test_signed_rank_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank(list(values))[0] == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_signed_rank_with_ties_counts_every_sign_pattern() -> None:
    differences = [1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 1.0]
    ranks = stats.rankdata(np.abs(differences))
    patterns = np.array(np.meshgrid(*[[0, 1]] * 7)).reshape(7, -1).T @ ranks
    seen = ranks[np.array(differences) > 0].sum()
    wanted = 2 * min((patterns <= seen).mean(), (patterns >= seen).mean())
    assert signed_rank(differences)[0] == pytest.approx(wanted)


def test_zeros_are_dropped() -> None:
    assert signed_rank([0, 0, 1, 2, 3, 4, 5, 6]) == signed_rank([1, 2, 3, 4, 5, 6])
    assert signed_rank([0.0, 1e-13, -1e-14]) == (1.0, 1.0)  # float noise is a tie


def test_many_pairs_use_scipys_approximation() -> None:
    values = np.round(np.random.default_rng(0).normal(0.2, 1, 80), 1)
    values = values[values != 0]
    wanted = stats.wilcoxon(values, correction=True, method="asymptotic").pvalue
    assert signed_rank(list(values))[0] == pytest.approx(wanted)


@pytest.mark.parametrize(("n", "m"), [(3, 4), (8, 5), (12, 12)])
def test_rank_sum_is_scipys(n: int, m: int) -> None:
    random = np.random.default_rng(n)
    a, b = random.normal(size=n), random.normal(0.5, size=m)
    assert rank_sum(list(a), list(b))[0] == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)


def test_rank_sum_of_many_tied_values_is_scipys_approximation() -> None:
    random = np.random.default_rng(1)
    a, b = np.round(random.normal(size=30), 1), np.round(random.normal(0.4, size=35), 1)
    wanted = stats.mannwhitneyu(a, b, method="asymptotic").pvalue
    assert rank_sum(list(a), list(b))[0] == pytest.approx(wanted)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_pairs_are_the_common_seeds() -> None:
    a = {0: 0.8, 1: 0.9, 2: 0.7, 3: 0.1}
    b = {0: 0.7, 1: 0.8, 2: 0.6}
    test = over_seeds(a, b)
    assert test.n == 3
    assert test.difference == pytest.approx(0.1)  # the lone seed 3 is left out
    assert "no partner of the same seed: 1 runs" in test.note


def test_other_seeds_use_the_rank_sum_and_say_why() -> None:
    test = over_seeds({0: 0.8, 1: 0.81, 2: 0.82}, {5: 0.7, 6: 0.71, 7: 0.72})
    assert test.name.startswith("Mann-Whitney, 3 against 3")
    assert test.p == pytest.approx(0.1)
    assert "too few common seeds" in test.note


def test_needed_pairs() -> None:
    # d = 0.5 standard deviations: (1.95996 + 0.84162)^2 / 0.25 * pi / 3 = 32.9
    test = paired([0.0, 1.0, -0.5, 1.5], "seeds")
    assert test.difference == pytest.approx(0.5)
    spread = np.std([0.0, 1.0, -0.5, 1.5], ddof=1)
    assert test.needed() == int(np.ceil((1.959964 + 0.841621) ** 2 * (spread / 0.5) ** 2 * np.pi / 3))
    assert paired([1.0, 1.0001, 1.0], "seeds").needed() == 6  # fewer can never reach .05
    assert paired([1.0], "seeds").needed() is None
    assert paired([1.0, -1.0], "seeds").needed() is None
    assert [fewest_pairs(level) for level in (0.05, 0.05 / 8, 0.01)] == [6, 9, 8]


@pytest.mark.parametrize("seeds", [3, 5, 8, 10])
@pytest.mark.parametrize("rows", [None, 40], ids=["continuous", "tied accuracies"])
def test_false_alarms_of_pairs_exactly(seeds: int, rows: int | None) -> None:
    """Equal methods make every sign pattern equally likely: at most 5% of them may say `different`."""
    random = np.random.default_rng(seeds)
    for _ in range(3):
        sizes = random.normal(size=seeds) if rows is None else random.binomial(rows, 0.1, seeds) / rows
        signs = np.array(np.meshgrid(*[[-1, 1]] * seeds)).reshape(seeds, -1).T
        assert np.mean([signed_rank(list(pattern * sizes))[0] <= 0.05 for pattern in signs]) <= 0.05


@pytest.mark.parametrize("seeds", [3, 5, 6])
def test_false_alarms_without_pairs_exactly(seeds: int) -> None:
    """Equal methods make every split of the pooled scores equally likely."""
    values = np.random.default_rng(seeds).binomial(30, 0.7, 2 * seeds) / 30
    alarms = []
    for chosen in combinations(range(2 * seeds), seeds):
        rest = [value for index, value in enumerate(values) if index not in chosen]
        alarms.append(rank_sum(list(values[list(chosen)]), rest)[0] <= 0.05)
    assert np.mean(alarms) <= 0.05


def test_a_real_effect_is_found() -> None:
    random = np.random.default_rng(2)
    draws = random.normal(0, 1, (300, 10)) + 1.5
    assert np.mean([signed_rank(list(draw))[0] <= 0.05 for draw in draws]) > 0.9
