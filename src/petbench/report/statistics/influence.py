"""Scores row by row: jackknife values of every headline metric, so that rows can be told apart from seeds.

The jackknife value of row j is m·θ − (m − 1)·θ(without j). For accuracy it is 1 or 0: right or wrong. Their mean is
θ up to 1/m, and their variance over m estimates what other rows of the same kind would change (Efron and Stein,
The jackknife estimate of variance, Annals of Statistics 9, 1981).
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
NO_LABEL = -1  # the code of a written answer that is no label: another class than every label


def row_values(metric: str, labels: Values, answers: Values) -> Values | None:
    """(m,) jackknife values of a metric on m rows; None for a metric without a formula here.

    labels, answers: class codes, or numbers for the correlations. A code that is no label counts as wrong.
    """
    formula = METRICS.get(metric)
    return None if formula is None else formula(np.asarray(labels, float), np.asarray(answers, float))


def accuracy(labels: Values, answers: Values) -> Values:
    """1 where the answer is the label."""
    return (labels == answers).astype(np.float64)


def f1(labels: Values, answers: Values) -> Values:
    """F1 of class 1, 2·tp / (2·tp + fp + fn), 0 where there is nothing to find."""

    def score(tp: Values, fp: Values, fn: Values, tn: Values) -> Values:
        below = 2 * tp + fp + fn
        return np.divide(2 * tp, below, out=np.zeros_like(below), where=below > 0)

    return _from_counts(score, labels, answers)


def matthews(labels: Values, answers: Values) -> Values:
    """Matthews' correlation of two classes, 0 where answers or labels are constant."""

    def score(tp: Values, fp: Values, fn: Values, tn: Values) -> Values:
        below = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return np.divide(tp * tn - fp * fn, below, out=np.zeros_like(below), where=below > 0)

    return _from_counts(score, labels, answers)


def pearson(labels: Values, answers: Values) -> Values:
    """Pearson's correlation, leaving out each row in turn by its share of the sums."""
    m = len(labels)
    x, y = answers - answers.mean(), labels - labels.mean()

    def score(n: int, sx: Values, sy: Values, sxx: Values, syy: Values, sxy: Values) -> Values:
        below = np.sqrt(np.maximum(sxx - sx**2 / n, 0) * np.maximum(syy - sy**2 / n, 0))
        return np.divide(sxy - sx * sy / n, below, out=np.zeros_like(below), where=below > 1e-12)

    sums = (x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum())
    whole = score(m, *(np.asarray([s]) for s in sums))
    without = score(
        m - 1, sums[0] - x, sums[1] - y, sums[2] - x * x, sums[3] - y * y, sums[4] - x * y
    )
    return m * whole - (m - 1) * without


def spearman(labels: Values, answers: Values) -> Values:
    """Spearman's correlation: Pearson's of the mid-ranks, which are not ranked anew without a row."""
    return pearson(_mid_ranks(labels), _mid_ranks(answers))


def macro_f1(labels: Values, answers: Values) -> Values:
    """The mean over classes of each class's F1."""
    classes = np.unique(labels)
    each = [f1((labels == c).astype(float), (answers == c).astype(float)) for c in classes]
    return np.mean(each, axis=0)


def _from_counts(score: Callable[..., Values], labels: Values, answers: Values) -> Values:
    """Jackknife values of a function of the four counts: one value for each kind of row."""
    m = len(labels)
    # An answer that is no label is wrong: it counts as the other class.
    said = np.where(answers == NO_LABEL, 1 - labels, answers)
    kinds = [(said == 1) & (labels == 1), (said == 1) & (labels != 1), (said != 1) & (labels == 1)]
    kinds.append(~(kinds[0] | kinds[1] | kinds[2]))
    counts = np.array([kind.sum() for kind in kinds], dtype=np.float64)
    whole = score(*(np.asarray([c]) for c in counts))[0]
    values = np.empty(m)
    for place, kind in enumerate(kinds):
        if kind.any():
            fewer = counts.copy()
            fewer[place] -= 1
            values[kind] = m * whole - (m - 1) * score(*(np.asarray([c]) for c in fewer))[0]
    return values


def _mid_ranks(values: Values) -> Values:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Values = (ends - (counts - 1) / 2)[inverse].astype(np.float64)
    return ranks


def _mean_of(*formulas: Callable[[Values, Values], Values]) -> Callable[[Values, Values], Values]:
    return lambda labels, answers: np.mean([formula(labels, answers) for formula in formulas], axis=0)


METRICS: Mapping[str, Callable[[Values, Values], Values]] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews_correlation": matthews,
    "pearson": pearson,
    "spearmanr": spearman,
    "pearson_spearman": _mean_of(pearson, spearman),
}
