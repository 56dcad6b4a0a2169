"""GLUE's metrics on evaluate's API, computed offline; never NaN."""

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from petbench.errors import RunError, UserError
from petbench.tasks.glue import LABEL_RANGE, Task

Prediction = int | float | None  # None: an answer that is no label


def score(
    task: Task,
    predictions: Sequence[Prediction],
    labels: Sequence[int] | Sequence[float],
    no_number: float | None = None,
) -> tuple[dict[str, float], list[str]]:
    """Every metric of a task, each in [-1, 1], and warnings.

    A None prediction counts as wrong: another class than the label's, or for STS-B `no_number`; without one,
    the end of the scale that is farther from the label. The caller counts them. Constant predictions (or
    labels) make F1, Matthews and the correlations 0.0, with a warning. Raises UserError on no rows or unequal
    lengths, RunError on a prediction that is not finite.
    """
    if not len(labels) or len(predictions) != len(labels):
        raise UserError(
            f"{task.name}: {len(predictions)} predictions for {len(labels)} labels; "
            "give one prediction a row, and at least one row."
        )
    answers = as_scored(task, predictions, labels, no_number)
    values = metric(task.metrics).compute(predictions=answers, references=list(labels))
    return {name: float(values[name]) for name in task.metrics}, _constant_notes(task, answers, labels)


def as_scored(
    task: Task, predictions: Sequence[Prediction], labels: Sequence[float], no_number: float | None
) -> list[Any]:
    """Predictions as numbers, with a certainly wrong one for each None."""
    middle = sum(LABEL_RANGE) / 2
    answers: list[Any] = []
    for prediction, label in zip(predictions, labels, strict=True):
        if prediction is not None and not np.isfinite(prediction):
            raise RunError(
                f"{task.name}: a prediction is {prediction}: the run has diverged. Lower optim.lr."
            )
        if task.regression:
            farther = LABEL_RANGE[0] if label > middle else LABEL_RANGE[1]
            wrong = farther if no_number is None else no_number
            answers.append(wrong if prediction is None else float(prediction))
        else:
            answers.append((int(label) + 1) % len(task.labels) if prediction is None else int(prediction))
    return answers


def _constant_notes(task: Task, answers: list[Any], labels: Sequence[float]) -> list[str]:
    notes = []
    for what, column in (("predictions", answers), ("labels", labels)):
        if len(set(column)) == 1:
            value = f"{column[0]:g}" if task.regression else f"'{task.labels[int(column[0])]}'"
            notes.append(f"{task.name}: all {len(column)} {what} are {value}")
    return notes


def _accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class 1; 0 when neither predicted nor present."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, zero_division=0.0))


def _matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
    """0 when predictions or labels are constant."""
    from sklearn.metrics import matthews_corrcoef

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(matthews_corrcoef(labels, predictions))


def _pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    """0 when predictions or labels are constant."""
    from scipy.stats import pearsonr

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(np.nan_to_num(pearsonr(predictions, labels).statistic))


def _spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    """0 when predictions or labels are constant."""
    from scipy.stats import spearmanr

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(np.nan_to_num(spearmanr(predictions, labels).statistic))


_PLAIN: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews_correlation": _matthews,
    "pearson": _pearson,
    "spearmanr": _spearman,
}
_MEANS = {"accuracy_f1": ("accuracy", "f1"), "pearson_spearman": ("pearson", "spearmanr")}
METRIC_NAMES = (*_PLAIN, *_MEANS)


@cache
def metric(names: tuple[str, ...]) -> Any:
    """An `evaluate.Metric` that computes these metrics; nothing is fetched or kept on disk.

    `evaluate` is imported here and not at the top because it takes seconds.
    """
    import datasets
    import evaluate

    continuous = bool({"pearson", "spearmanr", "pearson_spearman"} & set(names))
    # float64 keeps scores as they are; an int feature would cut floats off without a word, and the format "numpy"
    # of datasets would round them to float32, so the values are asked for as Python's own (format=None).
    kind = datasets.Value("float64" if continuous else "int64")

    class Glue(evaluate.Metric):
        """GLUE's metrics, by name."""

        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description="The metrics of one GLUE task.",
                citation="",
                inputs_description="predictions and references: class codes, or scores from 0 to 5",
                features=datasets.Features({"predictions": kind, "references": kind}),
                format=None,
            )

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            answers, labels = np.asarray(predictions), np.asarray(references)
            wanted = {part for name in names for part in _MEANS.get(name, (name,))}
            plain = {name: _PLAIN[name](answers, labels) for name in wanted}
            means = {name: sum(plain[part] for part in _MEANS[name]) / 2 for name in names if name in _MEANS}
            return {name: (plain | means)[name] for name in names}

    # Every instance makes a cache folder and, all being kept in memory, never looks into it: it can go at once.
    with tempfile.TemporaryDirectory(prefix="petbench-") as folder:
        return Glue(config_name="+".join(names), keep_in_memory=True, cache_dir=folder)
