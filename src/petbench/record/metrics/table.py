"""The table of metrics, one row each: its names, direction, formulas, and what a run scores that learnt nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from petbench.errors import UserError, unknown
from petbench.record.metrics import by_row as rows
from petbench.record.metrics.by_row import Formula, Values

# (m,) predictions, (m,) labels and the width of the labels' range (0 for classes) -> a score in [-1, 1]
Compute = Callable[[np.ndarray, np.ndarray, float], float]


@dataclass(frozen=True)
class Metric:
    """One metric, in [-1, 1] and never NaN.

    collapse: what a run scores that gives every row the same answer: `zero`, `majority` (the share of the most
    frequent label), or None when the score does not show it. mean_of: the metrics of which it is the mean, instead
    of `compute`. by_row: its jackknife values, which significance tests over rows need.
    """

    name: str
    short: str  # in narrow tables
    words: str  # on the report page
    numbers: bool  # whether the labels are numbers; otherwise they are classes
    compute: Compute | None = None
    mean_of: tuple[str, ...] = ()
    by_row: Formula | None = None
    direction: Literal["up", "down"] = "up"  # whether higher or lower is better
    collapse: Literal["zero", "majority"] | None = None


def _accuracy(predictions: np.ndarray, labels: np.ndarray, width: float) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: np.ndarray, labels: np.ndarray, width: float) -> float:
    """F1 of class 1; 0 when the class is neither predicted nor present."""
    from sklearn.metrics import f1_score  # scikit-learn takes seconds

    return float(f1_score(labels, predictions, zero_division=0.0))


def _macro_f1(predictions: np.ndarray, labels: np.ndarray, width: float) -> float:
    """The mean F1 over the classes that occur among the labels."""
    from sklearn.metrics import f1_score  # scikit-learn takes seconds

    return float(f1_score(labels, predictions, labels=np.unique(labels), average="macro", zero_division=0.0))


def _matthews(predictions: np.ndarray, labels: np.ndarray, width: float) -> float:
    """0 when predictions or labels are constant."""
    from sklearn.metrics import matthews_corrcoef  # scikit-learn takes seconds

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(matthews_corrcoef(labels, predictions))


def _pearson(predictions: np.ndarray, labels: np.ndarray, width: float) -> float:
    """0 when predictions or labels are constant."""
    from scipy.stats import pearsonr  # scipy takes a second

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(np.nan_to_num(pearsonr(predictions, labels).statistic))


def _spearman(predictions: np.ndarray, labels: np.ndarray, width: float) -> float:
    """0 when predictions or labels are constant."""
    from scipy.stats import spearmanr  # scipy takes a second

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(np.nan_to_num(spearmanr(predictions, labels).statistic))


def _absolute_error(predictions: np.ndarray, labels: np.ndarray, width: float) -> float:
    """Mean absolute error as a share of the labels' range, at most 1."""
    return min(1.0, float(np.mean(np.abs(predictions - labels))) / width)


_ROWS = (
    Metric("accuracy", "acc", "accuracy", False, _accuracy, by_row=rows.accuracy, collapse="majority"),
    Metric("f1", "F1", "F1", False, _f1, by_row=rows.f1),
    Metric(
        "accuracy_f1", "acc, F1", "acc. and F1", False,
        mean_of=("accuracy", "f1"), by_row=rows.mean_of((rows.accuracy, rows.f1)),
    ),
    Metric("macro_f1", "macro F1", "macro-F1", False, _macro_f1, by_row=rows.macro_f1),
    Metric(
        "matthews_correlation", "MCC", "Matthews", False,
        _matthews, by_row=rows.matthews, collapse="zero",
    ),
    Metric("pearson", "r", "r", True, _pearson, by_row=rows.pearson, collapse="zero"),
    Metric("spearmanr", "ρ", "ρ", True, _spearman, by_row=rows.spearman),
    Metric(
        "pearson_spearman", "corr", "r and ρ", True,
        mean_of=("pearson", "spearmanr"), by_row=rows.mean_of((rows.pearson, rows.spearman)),
    ),
    Metric("absolute_error", "error", "error / range", True, _absolute_error, direction="down"),
)  # fmt: skip

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ROWS})

# The metrics of tasks that are read off the user's own rows; GLUE's tasks name theirs in conf/task.
FOR_CLASSES = ("macro_f1", "accuracy")
FOR_NUMBERS = ("absolute_error", "pearson", "spearmanr", "pearson_spearman")


def require_metrics(names: Sequence[str], headline: str, numbers: bool) -> None:
    """Raise UserError for a metric that is unknown or for the other kind of label, and for a headline metric of which
    lower is better: the highest value chooses the checkpoint and sorts the tables."""
    legal = [metric.name for metric in _ROWS if metric.numbers == numbers]
    for name in names:
        if name not in legal:
            kind = "numbers" if numbers else "classes"
            raise unknown(f"task.metrics, for {kind}", name, legal)
    if METRICS[headline].direction == "down":
        ups = [name for name in legal if METRICS[name].direction == "up"]
        raise UserError(
            f"task.headline: got '{headline}', of which lower is better. Legal: {', '.join(ups)}."
        )


def one_answer(name: str, value: float, majority: float | None) -> bool:
    """Whether a run with this score gives every row the same answer. majority: share of the most frequent label."""
    rule = METRICS[name].collapse if name in METRICS else None
    if rule == "zero":
        return value == 0
    return rule == "majority" and majority is not None and abs(value - majority) < 1e-9


def row_values(name: str, labels: Values, answers: Values) -> Values | None:
    """(m,) jackknife values of a metric on m rows; None if the metric has no `by_row`.

    labels, answers: (m,) class codes, or numbers for metrics of numbers. A code that is not a label counts as wrong.
    """
    metric = METRICS.get(name)
    if metric is None or metric.by_row is None:
        return None
    return metric.by_row(np.asarray(labels, float), np.asarray(answers, float))
