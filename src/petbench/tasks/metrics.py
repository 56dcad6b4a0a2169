"""Scores: a task's metrics on predictions, through evaluate's API but offline; never NaN."""

import tempfile
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from petbench.config.task import Task
from petbench.errors import RunError, UserError
from petbench.record.metrics.table import METRICS

Prediction = int | float | None  # None: an answer that is not a label


def score(
    task: Task,
    predictions: Sequence[Prediction],
    labels: Sequence[int] | Sequence[float],
    no_number: float | None = None,
) -> tuple[dict[str, float], list[str]]:
    """Every metric of a task, each in [-1, 1], and warnings.

    predictions, labels: one per row. A prediction that is None is wrong: it counts as another class than the label's;
    for a number it counts as `no_number`, or without that as the end of the scale that is farther from the label.
    Constant predictions or labels make Matthews and the correlations 0.0, with a warning. Raises UserError on no rows
    or unequal lengths, RunError on a prediction that is not finite.
    """
    if not len(labels) or len(predictions) != len(labels):
        raise UserError(
            f"{task.name}: {len(predictions)} predictions for {len(labels)} labels; "
            "give one prediction for each row, and at least one row."
        )
    answers = as_scored(task, predictions, labels, no_number)
    width = task.bounds[1] - task.bounds[0] if task.regression else 0.0
    values = metric(task.metrics).compute(predictions=answers, references=list(labels), width=width)
    return {name: float(values[name]) for name in task.metrics}, _constant_notes(task, answers, labels)


def as_scored(
    task: Task, predictions: Sequence[Prediction], labels: Sequence[float], no_number: float | None
) -> list[Any]:
    """Predictions as numbers; each None is replaced by one that is certainly wrong."""
    low, high = task.bounds if task.regression else (0.0, 0.0)
    answers: list[Any] = []
    for prediction, label in zip(predictions, labels, strict=True):
        if prediction is not None and not np.isfinite(prediction):
            raise RunError(
                f"{task.name}: a prediction became {prediction}: the run has diverged. Lower optim.lr."
            )
        if task.regression:
            farther = low if label > (low + high) / 2 else high
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


@cache
def metric(names: tuple[str, ...]) -> Any:
    """An `evaluate.Metric` that computes these metrics; nothing is downloaded or kept on disk."""
    # datasets and evaluate take seconds
    import datasets
    import evaluate

    continuous = any(METRICS[name].numbers for name in names)
    # float64 keeps scores exact: an integer feature would silently truncate them, and the "numpy" format of datasets
    # would round them to float32, so format=None asks for Python's own numbers.
    kind = datasets.Value("float64" if continuous else "int64")

    class Scores(evaluate.Metric):
        """A task's metrics, by name."""

        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description="The metrics of one task.",
                citation="",
                inputs_description="predictions and references: class codes, or numbers",
                features=datasets.Features({"predictions": kind, "references": kind}),
                format=None,
            )

        def _compute(self, predictions: Any, references: Any, width: float = 0.0) -> dict[str, float]:
            answers, labels = np.asarray(predictions), np.asarray(references)

            def value(name: str) -> float:
                row = METRICS[name]
                if row.compute is not None:
                    return row.compute(answers, labels, width)
                return sum(value(part) for part in row.mean_of) / len(row.mean_of)

            return {name: value(name) for name in names}

    # Every instance creates a cache folder that it never uses, since it keeps all in memory: delete it at once.
    with tempfile.TemporaryDirectory(prefix="petbench-") as folder:
        return Scores(config_name="+".join(names), keep_in_memory=True, cache_dir=folder)
