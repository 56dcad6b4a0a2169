"""Turn raw columns into a Split, or raise an error that names the broken row and its file."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from petbench.config.task import Task
from petbench.errors import UserError
from petbench.tasks.splits import Split

Place = Callable[[int], str]  # row position -> "file, line 12"


def checked_split(task: Task, name: str, columns: Mapping[str, Sequence[Any]], place: Place) -> Split:
    """Raw columns (text fields, `label`, `idx`) as a Split. Labels of GLUE's test splits are always left out.

    place: row position -> a description of it for messages. An empty text is kept, as GLUE has some. Raises UserError
    with the place on an empty split, a missing text or number, and a label that is missing, NaN or not legal.
    """
    idx: list[int] = []
    raw = columns["idx"]
    if all(type(value) is int for value in raw):
        idx, raw = list(raw), ()
    for row, value in enumerate(raw):
        number = number_of(value)
        if number is None:
            raise UserError(
                f"{place(row)}: idx is missing (got {value!r}). Every row needs its number there."
            )
        idx.append(int(number))
    if not idx:
        raise UserError(f"{place(0)}: the {task.name} {name} split has no rows. Give the whole file.")
    texts = {field: _texts(columns[field], field, place) for field in task.text_fields}
    if "label" not in columns or (task.glue is not None and name in task.test):
        return Split(name, idx, texts, None)
    if not task.regression and all(
        type(value) is int and 0 <= value < task.num_labels for value in columns["label"]
    ):
        return Split(name, idx, texts, list(columns["label"]))
    read = _score(task) if task.regression else _label_code(task)
    return Split(name, idx, texts, [read(value, row, place) for row, value in enumerate(columns["label"])])


def split_notes(split: Split) -> list[str]:
    """What a user must know about a split's rows: empty texts, and row numbers that occur twice."""
    notes = empty_text_notes(split)
    times = Counter(split.idx)
    if len(times) < len(split):
        number, count = times.most_common(1)[0]
        more = len(split) - len(times)
        notes.append(
            f"{split.name}: {more} of {len(split)} rows have the idx of an earlier row ({number}: {count} rows)"
        )
    return notes


def empty_text_notes(split: Split) -> list[str]:
    """One line for each text field that is empty in some rows."""
    notes = []
    for field, column in split.texts.items():
        count = sum(not text.strip() for text in column)
        if count:
            notes.append(f"{split.name}: {count} of {len(split)} rows have an empty {field}")
    return notes


def _texts(column: Sequence[Any], field: str, place: Place) -> list[str]:
    for row, text in enumerate(column):
        if not isinstance(text, str):
            raise UserError(f"{place(row)}: {field} is missing (got {text!r}). Every row needs a text there.")
    return list(column)


def _label_code(task: Task) -> Callable[[Any, int, Place], int]:
    """A reader of class labels: a code, or the label's name as in the official files."""
    names = {name: code for code, name in enumerate(task.labels)}
    legal = ", ".join(f"{code} ({name})" for name, code in names.items())

    def read(value: Any, row: int, place: Place) -> int:
        if (name := name_of(value)) in names:
            return names[name]
        number = number_of(value) if task.glue is not None else None
        if number is None or number != int(number) or not 0 <= number < len(names):
            raise UserError(f"{place(row)}: label {value!r} of {task.name} is not legal. Legal: {legal}.")
        return int(number)

    return read


def _score(task: Task) -> Callable[[Any, int, Place], float]:
    """A reader of numbers, rounded to float32, so that text and Parquet files give equal rows."""
    low, high = task.bounds

    def read(value: Any, row: int, place: Place) -> float:
        number = number_of(value)
        if number is None or not low <= number <= high:
            raise UserError(f"{place(row)}: label {value!r} is not a number from {low:g} to {high:g}.")
        return float(np.float32(number))

    return read


def name_of(value: Any) -> str:
    """The name of a class label: 3, 3.0 and the text `3` give the same name."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def number_of(value: Any) -> float | None:
    """A finite number, or None."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
