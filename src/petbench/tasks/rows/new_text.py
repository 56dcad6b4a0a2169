"""Read rows of new text for a task, with their labels if they have any, from a file or standard input."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from petbench.config.task import Task
from petbench.errors import UserError
from petbench.tasks.rows.checks import name_of, number_of
from petbench.tasks.rows.columns import columns_of, texts_of
from petbench.tasks.rows.files import read_file, read_lines, read_tabs
from petbench.tasks.rows.raw import Raw, require_texts
from petbench.tasks.splits import Split


def read_new_text(
    path: str | Path, task: Task, columns: Mapping[str, str] | None = None, label: str | None = None
) -> Split:
    """The rows of a file; `idx` counts them from 0. Other columns than the task's are ignored.

    columns: field -> column, if the file's columns have other names than the task's. label: the column of labels;
    without it, the task's own label column is used if the file has it and it holds labels. `files.read_file` describes
    the file formats. Raises UserError, with the line, on what cannot be read, on a missing text, on characters that
    are not text, on values in the column `label` that are not labels, and when there are no rows.
    """
    known = dict(columns) if columns is not None else task.columns
    wanted = columns_of(task.text_fields, known)
    needs = f"{task.name} needs {', '.join(wanted)}"
    column = label or (task.label if task.label not in wanted and _has(Path(path), task.label) else None)
    raw = read_file(Path(path), [*wanted, *([column] if column else [])], needs)
    rows = _as_rows(raw, task, known)
    if column is None:
        return rows
    labels = labels_of(raw.columns[column], task)
    if labels is None and label is not None:
        legal = ", ".join(task.labels) or "numbers"
        raise UserError(
            f"--label: the column '{label}' of {path} does not hold labels of {task.name}. Legal: {legal}."
        )
    return Split(rows.name, rows.idx, rows.texts, labels)


def read_stream(stream: Iterable[bytes], task: Task) -> Split:
    """Rows from standard input: one text per line (two with a tab between them), or JSON objects."""
    lines = iter(stream)
    first = next(lines, b"")
    names = columns_of(task.text_fields, task.columns)
    whole = chain([first] if first else [], lines)
    needs = f"{task.name} needs {', '.join(names)}"
    if first.lstrip().startswith(b"{"):
        raw = read_lines(whole, ".jsonl", "standard input", names, needs)
    else:
        raw = read_tabs(whole, "standard input", names, needs)
    return _as_rows(raw, task, task.columns)


def _has(path: Path, column: str) -> bool:
    """Whether a file has this column, as far as its first row tells."""
    try:
        return bool(len(read_file(path, [column], most=1)))
    except UserError:
        return False


def _as_rows(raw: Raw, task: Task, columns: Mapping[str, str]) -> Split:
    """Raw columns as a split without labels. Raises UserError when there are no rows, or a value is not a text."""
    if not len(raw):
        raise UserError(f"{raw.path} has no rows. Give a file with at least one.")
    for name in columns_of(task.text_fields, columns):
        require_texts(raw, name)
    return Split("new", list(range(len(raw))), texts_of(raw.columns, task.text_fields, columns), None)


def labels_of(values: Sequence[Any], task: Task) -> list[int] | list[float] | None:
    """A column of labels as class codes or numbers; None when any value is not a label of the task."""
    if task.regression:
        numbers = [number_of(value) for value in values]
        return None if None in numbers else [float(value) for value in numbers if value is not None]
    codes = {name: code for code, name in enumerate(task.labels)}
    names = [name_of(value) for value in values]
    if all(name in codes for name in names):
        return [codes[name] for name in names]
    legal = {str(code) for code in range(len(codes))}
    return [int(name) for name in names] if all(name in legal for name in names) else None
