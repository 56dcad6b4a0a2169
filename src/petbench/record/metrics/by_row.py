"""Metrics row by row as jackknife values, so that the spread over rows can be told from the spread over seeds.

The jackknife value of row j of m is m·θ − (m − 1)·θ(without j), where θ is the metric on all rows. For accuracy it is
1 (right) or 0 (wrong). The mean of the values is θ up to 1/m, and their variance divided by m estimates the variance
of θ over other rows of the same kind (Efron and Stein, The jackknife estimate of variance, Annals of Statistics 9,
1981).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Formula = Callable[[Values, Values], Values]
NO_LABEL = -1  # the code of a generated answer that is not a label; it differs from every label


def accuracy(labels: Values, answers: Values) -> Values:
    """(m,) 1 where the answer equals the label, else 0."""
    return (labels == answers).astype(np.float64)


def f1_of_counts(tp: Values, fp: Values, fn: Values, tn: Values) -> Values:
    """F1 of class 1: 2·tp / (2·tp + fp + fn), or 0 when all three are 0."""
    below = 2 * tp + fp + fn
    return np.divide(2 * tp, below, out=np.zeros_like(below), where=below > 0)


def matthews_of_counts(tp: Values, fp: Values, fn: Values, tn: Values) -> Values:
    """Matthews' correlation of two classes, (tp·tn − fp·fn) / √((tp + fp)(tp + fn)(tn + fp)(tn + fn)); 0 when the
    answers or the labels are constant."""
    below = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return np.divide(tp * tn - fp * fn, below, out=np.zeros_like(below), where=below > 0)


def pearson(labels: Values, answers: Values) -> Values:
    """(m,) Pearson's correlation, Σxy / √(Σx²·Σy²) of the centred values; 0 when one side is constant.

    A row is left out by subtracting its share of the three sums.
    """
    m = len(labels)
    x, y = answers - answers.mean(), labels - labels.mean()
    xx, yy, xy = x @ x, y @ y, x @ y
    # Without row j the means move by −x_j/(m − 1), so each sum of products loses x_j·y_j·m/(m − 1).
    share = m / (m - 1)
    below = np.sqrt(np.maximum(xx - share * x * x, 0.0) * np.maximum(yy - share * y * y, 0.0))
    without = np.divide(xy - share * x * y, below, out=np.zeros(m), where=below > 1e-12)
    whole = xy / np.sqrt(xx * yy) if xx * yy > 0 else 0.0
    values: Values = m * whole - (m - 1) * without
    return values


def spearman(labels: Values, answers: Values) -> Values:
    """(m,) Spearman's correlation: Pearson's of the mid-ranks. The ranks are kept when a row is left out."""
    return pearson(_mid_ranks(labels), _mid_ranks(answers))


def macro_f1(labels: Values, answers: Values) -> Values:
    """(m,) The mean F1 over the classes that occur among the labels."""
    each = [
        from_counts(f1_of_counts, (labels == c).astype(float), (answers == c).astype(float))
        for c in np.unique(labels)
    ]
    mean: Values = np.mean(each, axis=0)
    return mean


def from_counts(score: Callable[..., Values], labels: Values, answers: Values) -> Values:
    """(m,) Jackknife values of a score that depends on the counts tp, fp, fn and tn alone.

    Rows of the same kind, such as all true positives, have the same value.
    """
    m = len(labels)
    # An answer that is not a label is wrong, so it counts as the other class.
    said = np.where(answers == NO_LABEL, 1 - labels, answers)
    kind = np.select([(said == 1) & (labels == 1), (said == 1), (labels == 1)], [0, 1, 2], 3)
    counts = np.bincount(kind, minlength=4).astype(np.float64)
    fewer = counts[:, None] - np.eye(4)  # column k: the counts without one row of kind k
    by_kind = m * score(*counts[:, None])[0] - (m - 1) * score(*np.maximum(fewer, 0.0))
    values: Values = by_kind[kind]
    return values


def _mid_ranks(values: Values) -> Values:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Values = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def f1(labels: Values, answers: Values) -> Values:
    """(m,) F1 of class 1."""
    return from_counts(f1_of_counts, labels, answers)


def matthews(labels: Values, answers: Values) -> Values:
    """(m,) Matthews' correlation of two classes."""
    return from_counts(matthews_of_counts, labels, answers)


def mean_of(formulas: Sequence[Formula]) -> Formula:
    """The formula of the mean of several metrics."""
    return lambda labels, answers: np.mean([formula(labels, answers) for formula in formulas], axis=0)
