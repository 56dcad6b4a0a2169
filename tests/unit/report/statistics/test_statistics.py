"""The statistics against SciPy, statsmodels and plain loops, and the figures they must hold, in short."""

from itertools import pairwise, product
from math import inf

import numpy as np
import pytest
from scipy import stats

from petbench.record.metrics.table import METRICS, row_values
from petbench.report.statistics.bootstrap import multi_bootstrap
from petbench.report.statistics.column import all_pairs, averaged, parts_of
from petbench.report.statistics.difference import Side, difference, holm, residual_part, rows_part
from petbench.report.statistics.expected_best import Trial, expected_best
from petbench.report.statistics.intervals import share_interval, summary
from petbench.report.statistics.moderation import Prior, fit_prior, moderated
from petbench.report.statistics.power import Design, detectable, endless_seeds, least_difference, seeds_needed
from petbench.report.statistics.shape import disagrees, shape_p, wins
from petbench.report.statistics.theirs import beside


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_an_interval_is_students(n: int) -> None:
    values = list(generator(n).normal(0.8, 0.01, n))
    low, high = stats.t.interval(0.95, n - 1, np.mean(values), stats.sem(values))
    short = summary(values)
    assert (short.low, short.high) == (pytest.approx(low), pytest.approx(high))
    assert summary(values[:1]).low is None


@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 20), (3, 3), (7, 12)])
def test_a_share_is_clopper_and_pearsons(k: int, n: int) -> None:
    exact = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert share_interval(k, n) == (pytest.approx(exact.low), pytest.approx(exact.high))


def test_the_prior_is_found_again() -> None:
    """Variances drawn from s0² · d0/chi²(d0) · chi²(f)/f."""
    random, d0, s0 = generator(1), 6.0, 4e-4
    true = s0 * d0 / random.chisquare(d0, 4000)
    prior = fit_prior([(v * random.chisquare(4) / 4, 4) for v in true])
    assert prior is not None
    assert prior.d0 == pytest.approx(d0, rel=0.2) and prior.s0_squared == pytest.approx(s0, rel=0.05)
    alike = fit_prior([(s0 * random.chisquare(4) / 4, 4) for _ in range(4000)])
    assert alike is not None and alike.d0 > 60  # nothing but sampling: all cells scatter alike
    assert fit_prior([(1.0, 2)] * 9) is None  # below ten cells


def test_moderating_draws_toward_the_prior() -> None:
    prior = Prior(4.0, 1.0, 20)
    assert moderated(9.0, 2, prior).value == pytest.approx((4 * 1 + 2 * 9) / 6)
    assert moderated(9.0, 2, prior).df == 6
    assert moderated(9.0, 2, Prior(inf, 1.0, 20)).value == 1.0
    assert moderated(9.0, 2, None).value == 9.0


def test_without_rows_the_test_is_welchs() -> None:
    a, b = generator(2).normal(0.80, 0.01, 4), generator(3).normal(0.79, 0.02, 7)
    found = difference(Side(tuple(a)), Side(tuple(b)))
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert found is not None and found.p == pytest.approx(expected.pvalue)
    ends = expected.confidence_interval(0.95)
    assert found.interval() == (pytest.approx(ends.low), pytest.approx(ends.high))
    assert difference(Side((0.5,)), Side((0.4, 0.5))) is None


def test_the_parts_are_the_formulas() -> None:
    """R and E by plain loops over seeds and rows."""
    random = generator(4)
    a, b = (random.random((3, 40)) < 0.8).astype(float), (random.random((4, 40)) < 0.7).astype(float)
    apart = [a[:, j].mean() - b[:, j].mean() for j in range(40)]
    assert rows_part(a, b) == pytest.approx(np.var(apart, ddof=1) / 40)
    e = sum((a[i, j] - a[:, j].mean() - a[i].mean() + a.mean()) ** 2 for i in range(3) for j in range(40))
    assert residual_part(a) == pytest.approx(e / (2 * 39) / (3 * 40))
    sides = Side(tuple(a.mean(axis=1)), a), Side(tuple(b.mean(axis=1)), b)
    found = difference(*sides)
    assert found is not None and found.m == 40
    seeds = [a.mean(axis=1).var(ddof=1) / 3, b.mean(axis=1).var(ddof=1) / 4]
    total = rows_part(a, b) + sum(seeds) - residual_part(a) - residual_part(b)
    assert found.variance == pytest.approx(max(total, rows_part(a, b), sum(seeds)))


def matthews(y: np.ndarray, a: np.ndarray) -> float:
    tp, tn = ((y == 1) & (a == 1)).sum(), ((y == 0) & (a == 0)).sum()
    fp, fn = ((y == 0) & (a == 1)).sum(), ((y == 1) & (a == 0)).sum()
    return float((tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def f1(y: np.ndarray, a: np.ndarray) -> float:
    tp = ((y == 1) & (a == 1)).sum()
    return float(2 * tp / ((y == 1).sum() + (a == 1).sum()))


WHOLE = {
    "accuracy": lambda y, a: float((y == a).mean()),
    "f1": f1,
    "accuracy_f1": lambda y, a: (float((y == a).mean()) + f1(y, a)) / 2,
    "matthews_correlation": matthews,
    "pearson": lambda y, a: float(stats.pearsonr(y, a).statistic),
}


@pytest.mark.parametrize("metric", sorted(WHOLE))
def test_jackknife_values_leave_out_each_row(metric: str) -> None:
    random, m = generator(5), 50
    y = random.integers(0, 2, m).astype(float)
    a = np.where(random.random(m) < 0.8, y, 1 - y) if metric != "pearson" else y + random.normal(size=m)
    whole = WHOLE[metric]
    by_hand = [m * whole(y, a) - (m - 1) * whole(np.delete(y, j), np.delete(a, j)) for j in range(m)]
    assert row_values(metric, y, a) == pytest.approx(by_hand)


def test_every_headline_metric_has_row_values() -> None:
    from petbench.tasks.glue import TASKS

    assert {task.headline for task in TASKS.values()} <= set(METRICS)
    y, a = np.arange(20.0), np.arange(20.0)[::-1].copy()
    spearman = row_values("spearmanr", y, a)
    assert spearman is not None and spearman.mean() == pytest.approx(-1)
    assert row_values("accuracy", np.array([0.0, 1.0]), np.array([-1.0, 1.0])).tolist() == [0, 1]
    assert row_values("bleu", y, a) is None


def test_holm_is_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p = [0.01, 0.04, 0.03, 0.005, 0.9]
    assert holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))


def runs(random: np.random.Generator, share: float, n: int = 3, m: int = 300) -> Side:
    x = (random.random((n, m)) < share).astype(float)
    return Side(tuple(x.mean(axis=1)), x)


def test_two_methods_of_a_column_agree_with_the_pairs_test() -> None:
    random = generator(6)
    a, b = runs(random, 0.8), runs(random, 0.72)
    parts = parts_of({"a": a, "b": b}, {})
    alone = difference(a, b)
    assert parts is not None and alone is not None
    pairs = all_pairs(parts)
    assert pairs.se[0, 1] == pytest.approx(alone.se)
    assert pairs.p[0, 1] == pytest.approx(alone.p, abs=0.02)
    assert pairs.on_rows


def test_without_answers_a_column_is_tukey_and_kramers() -> None:
    random = generator(7)
    drawn = [random.normal(size=60) for _ in range(4)]
    alike = [0.01 * (x - x.mean()) / x.std(ddof=1) for x in drawn]  # theirs pools variances, ours does not
    groups = [x + mean for x, mean in zip(alike, (0.80, 0.803, 0.805, 0.806), strict=True)]
    parts = parts_of({str(k): Side(tuple(g)) for k, g in enumerate(groups)}, {})
    assert parts is not None
    ours, theirs = all_pairs(parts).p, stats.tukey_hsd(*groups).pvalue
    assert not all_pairs(parts).on_rows
    for k in range(4):
        for other in range(k):
            assert ours[k, other] == pytest.approx(theirs[k, other], abs=0.02)


def test_letters_are_shared_by_what_is_not_told_apart() -> None:
    values = {
        name: Side((base, base + 0.001, base + 0.002))
        for name, base in zip("abc", (0.9, 0.9005, 0.5), strict=True)
    }
    parts = parts_of(values, {})
    assert parts is not None
    column = all_pairs(parts)
    letters, names = column.letters, column.names
    for i, one in enumerate(names):
        for j, two in enumerate(names):
            assert bool(set(letters[one]) & set(letters[two])) == (not column.apart[i, j])
    assert set(column.top) == {"a", "b"}


def test_the_mean_over_tasks_adds_variances() -> None:
    one = parts_of({"a": Side((0.8, 0.82)), "b": Side((0.7, 0.72))}, {})
    assert one is not None
    mean = averaged([one, one])
    assert mean is not None
    assert mean.means == pytest.approx(one.means) and mean.seeds == pytest.approx(one.seeds / 2)
    assert mean.df == pytest.approx([2, 2])


def test_power_is_the_noncentral_ts() -> None:
    design = Design(seeds=3, rows=872, seeds_variance=0.008**2)
    delta = least_difference(design)
    t = stats.t.ppf(0.975, 4)
    assert stats.nct.sf(t, 4, delta / design.variance**0.5) == pytest.approx(0.8, abs=0.002)
    for df, wanted in product((1.0, 1.2, 1.5, 2.0, 8.0, 50.0), (0.8, 0.95)):
        bar, least = stats.t.ppf(0.975, df), detectable(1.0, df, power=wanted)
        assert stats.nct.sf(bar, df, least) == pytest.approx(wanted, abs=0.002), df
    kind = Design(3, 872, 0.008**2, 0.3**2)
    assert least_difference(kind) > delta and endless_seeds(kind) > 0
    rates = [least_difference(Design(n, 872, 0.008**2)) for n in (3, 5, 10, 20)]
    assert all(more > fewer for more, fewer in pairwise(rates))


@pytest.mark.parametrize(
    ("task", "rows", "std", "rows_std", "expected"),
    [
        ("cola", 1043, 1.20, 30, (3.7, 2.4, 1.6, 1.1)),
        ("rte", 277, 1.77, 24, (5.5, 3.6, 2.4, 1.6)),
    ],
)
def test_planning_figures(
    task: str, rows: int, std: float, rows_std: float, expected: tuple[float, ...]
) -> None:
    found = [100 * least_difference(Design(n, rows, (std / 100) ** 2)) for n in (3, 5, 10, 20)]
    assert found == pytest.approx(expected, abs=0.1)


def test_seeds_needed_is_the_fewest() -> None:
    design = Design(2, 872, 0.01**2)
    n = seeds_needed(design, 0.01)
    assert n is not None
    assert least_difference(Design(n, 872, 0.01**2)) <= 0.01 < least_difference(Design(n - 1, 872, 0.01**2))
    assert seeds_needed(Design(2, 872, 0.01**2, 0.5**2), 0.01) is None  # the rows forbid it


def test_wins_and_shape() -> None:
    a, b = [0.9, 0.91, 0.92, 0.93, 0.94, 0.95], [0.8, 0.81, 0.82, 0.83, 0.84, 0.925]
    won = wins(a, b)
    assert won.share == pytest.approx(stats.mannwhitneyu(a, b).statistic / 36)
    assert won.low < won.share < won.high <= 1 and won.usually
    assert shape_p(a, b, paired=False) == pytest.approx(stats.mannwhitneyu(a, b).pvalue)
    assert shape_p(a, b, paired=True) == pytest.approx(2 / 2**6)
    assert shape_p(a[:5], b[:5], paired=True) is None
    assert disagrees([0.9] * 19 + [0.1], [0.89] * 20) and not disagrees(a, b)


def test_expected_best_by_hand() -> None:
    """Two trials of 1 and 3: with one draw 2, with two 1·1/4 + 3·3/4."""
    found = expected_best([Trial(1.0, 10), Trial(3.0, 30)])
    assert [budget.score for budget in found] == pytest.approx([2.0, 2.5])
    assert [budget.seconds for budget in found] == [20, 40]
    lost = expected_best([Trial(1.0, 10), Trial(None, 50), Trial(3.0, 30)])
    assert lost[0].score == pytest.approx((1 + 1 + 3) / 3) and lost[0].seconds == 30
    assert expected_best([Trial(None, 5)]) == []


def test_theirs_beside_ours() -> None:
    ours = [0.80, 0.81, 0.82]
    assert beside(ours, 0.90).word == "differs"
    assert beside([0.8000, 0.8005, 0.8010], 0.8008).word == "consistent"
    wide = beside([0.70, 0.80, 0.90], 0.81)
    assert wide.word == "cannot tell" and wide.text() == f"cannot tell (± {100 * wide.half:.1f})"
    assert beside([0.8], 0.9).word == "cannot tell"
    one = stats.t.ppf(0.975, 2) * np.sqrt(np.var(ours, ddof=1) * (1 + 1 / 3))
    assert beside(ours, 0.81).half == pytest.approx(one)
    several = stats.t.ppf(0.975, 2) * np.sqrt(np.var(ours, ddof=1) * (1 / 5 + 1 / 3))
    assert beside(ours, 0.81, n=5).half == pytest.approx(several)  # a printed mean without its deviation
    (v, w), f = (np.var(ours, ddof=1) / 3, 0.02**2 / 5), 2
    welch = (v + w) ** 2 / (v**2 / f + w**2 / 4)
    assert beside(ours, 0.81, std=0.02, n=5).half == pytest.approx(stats.t.ppf(0.975, welch) * np.sqrt(v + w))
    known = Prior(8.0, 0.005**2, 20, 40.0)  # with a table one run of ours is enough
    assert beside([0.8], 0.8, prior=known).half == pytest.approx(stats.t.ppf(0.975, 8) * 0.005 * np.sqrt(2))


@pytest.mark.parametrize(("n", "points"), [(3, 0.0), (5, 0.0)])
def test_false_alarms_over_seeds_and_rows(n: int, points: float) -> None:
    """Methods that differ by row and not on the whole: 3 to 6 % in the long run (scripts/simulate_statistics.py)."""
    random, alarms, draws = generator(8), 0, 400
    for _ in range(draws):
        hard = random.normal(0, 1.6, 400)
        sides = []
        for _ in range(2):
            own = random.normal(0, 0.6, 400)
            latent = hard + own + random.normal(0, 0.03, (n, 1)) + random.normal(0, 0.45, (n, 400))
            x = (latent > -1.6).astype(float)
            sides.append(Side(tuple(x.mean(axis=1)), x))
        found = difference(*sides)
        assert found is not None
        alarms += found.p <= 0.05
    assert 0.015 <= alarms / draws <= 0.085


def test_the_multi_bootstrap_agrees_with_the_formula() -> None:
    random = generator(9)
    hard = random.normal(size=500)
    tables = [
        (hard + random.normal(size=500) + random.normal(0, 0.2, (10, 500)) > -1).astype(float) for _ in "ab"
    ]
    a, b = (Side(tuple(x.mean(axis=1)), x) for x in tables)
    found = difference(a, b)
    assert found is not None and a.rows is not None and b.rows is not None
    assert multi_bootstrap(a.rows, b.rows).se == pytest.approx(found.se, rel=0.25)
