"""Mean, spread and bootstrap interval against hand values."""

import numpy as np
import pytest

from petbench.report.statistics.stats import difference_interval, summary


def test_summary_by_hand() -> None:
    short = summary([0.80, 0.82, 0.84])
    assert (short.n, short.mean) == (3, pytest.approx(0.82))
    assert short.std == pytest.approx(0.02)  # n - 1 in the denominator
    assert (short.low, short.high) == (pytest.approx(0.80), pytest.approx(0.84))


def test_one_value_has_no_spread() -> None:
    short = summary([0.7])
    assert (short.n, short.mean, short.std, short.low, short.high) == (1, 0.7, None, None, None)


def test_no_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        summary([])


def test_equal_values_have_no_width() -> None:
    short = summary([0.5] * 7)
    assert (short.std, short.low, short.high) == (0.0, 0.5, 0.5)


def test_interval_is_near_students_for_normal_data() -> None:
    values = list(np.random.default_rng(1).normal(0.8, 0.01, 30))
    short = summary(values)
    assert short.low is not None and short.std is not None
    assert short.mean - short.low == pytest.approx(2.045 * short.std / 30**0.5, rel=0.12)


@pytest.mark.parametrize(("n", "least"), [(5, 0.88), (10, 0.92), (20, 0.92)])
def test_coverage(n: int, least: float) -> None:
    draws = np.random.default_rng(n).normal(0, 1, (400, n))
    held = [summary(list(draw)) for draw in draws]
    assert np.mean([short.low <= 0 <= short.high for short in held]) >= least  # type: ignore[operator]


def test_intervals_are_the_same_each_time() -> None:
    values = [0.1, 0.5, 0.3, 0.9, 0.2, 0.7]
    assert summary(values) == summary(values)


def test_difference_of_independent_groups() -> None:
    low, high = difference_interval([1.0, 1.1, 0.9, 1.0, 1.05], [0.0, 0.1, -0.1, 0.05, 0.0])
    assert 0.8 < low < 0.99 < high < 1.2
