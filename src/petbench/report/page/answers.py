"""Answers by row for the page: how many runs of a cell have each row right, and the confusion matrix of each run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from petbench.config.task import task_in
from petbench.errors import UserError
from petbench.record import Answers, Record
from petbench.record.metrics.by_row import NO_LABEL
from petbench.record.metrics.table import METRICS
from petbench.report.cells import Cell
from petbench.report.disagreement import Texts, confusion
from petbench.report.layout import Report
from petbench.report.page.runs import every_entry
from petbench.report.sides import Read

MOST_VALUES = 1_200_000  # most rows times cells over all columns; each takes one character
MOST_TEXT = 1_000_000  # most characters of texts
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_CODES = np.frombuffer(DIGITS.encode(), np.uint8)
# run, row ids -> texts, reason if there are none
TextsOf = Callable[[Record, Sequence[int]], tuple[Texts, str]]


def kept_answers(report: Report, read: Read, texts_of: TextsOf | None = None) -> list[dict[str, Any]]:
    """One entry for each column whose runs stored their answers, columns with few rows first, until the page is full.

    texts_of: finds the texts of rows; None when they were not asked for.
    """
    columns: dict[tuple[int, str], list[tuple[int, Cell]]] = {}
    for index, (number, _, key, entry) in enumerate(every_entry(report)):
        if entry.cell.values:
            columns.setdefault((number, key), []).append((index, entry.cell))
    room, letters = MOST_VALUES, MOST_TEXT
    out = []
    for (number, key), cells in sorted(columns.items(), key=lambda item: _values(item[1])):
        label = next(column.label for column in report.tables[number].columns if column.key == key)
        place = {"table": number, "task": label}
        if read(cells[0][1].done[0]) is not None and _values(cells) > room:
            out.append(
                {**place, "left_out": f"{_rows(cells):,} rows of {len(cells)} methods do not fit in a page"}
            )
            continue
        found = _column(cells, read)
        if found is None:
            continue
        room -= _values(cells)
        if texts_of is not None:
            letters -= _put_texts(found, cells[0][1].done[0], texts_of, letters)
        out.append(place | found)
    return out


def _rows(cells: Sequence[tuple[int, Cell]]) -> int:
    return next((run.headline.n for _, cell in cells for run in cell.done if run.headline), 0)


def _values(cells: Sequence[tuple[int, Cell]]) -> int:
    return _rows(cells) * len(cells)


def _column(cells: Sequence[tuple[int, Cell]], read: Read) -> dict[str, Any] | None:
    """The labels, and for each cell how many of its runs have each row right; None when no cell has stored answers.

    Cells are left out if one of their runs stored no answers, or answers of other rows.
    """
    said = {index: found for index, cell in cells if (found := _runs(cell, read))}
    if not said:
        return None
    first = next(iter(said.values()))[0][1]
    ids, labels = first.ids, first.labels
    said = {
        index: runs for index, runs in said.items() if all(np.array_equal(kept.ids, ids) for _, kept in runs)
    }
    task, cell = cells[0][1].task, cells[0][1]
    numbers = cell.metric in METRICS and METRICS[cell.metric].numbers
    out: dict[str, Any] = {
        "ids": None if np.array_equal(ids, np.arange(len(ids))) else ids.tolist(), "rows": len(ids),
        "numbers": numbers, "n": {index: len(runs) for index, runs in said.items()},
    }  # fmt: skip
    if numbers:
        means = {index: np.mean([kept.answers for _, kept in runs], axis=0) for index, runs in said.items()}
        out["labels"] = labels.round(3).tolist()
        return out | {"cells": {index: mean.round(3).tolist() for index, mean in means.items()}}
    right = {index: sum((kept.answers == labels) for _, kept in runs) for index, runs in said.items()}
    answers = {run: kept.answers for runs in said.values() for run, kept in runs}
    codes = np.unique(np.concatenate([labels, *answers.values()])).astype(int).tolist()
    classes = [*(code for code in codes if code != NO_LABEL), *([NO_LABEL] if NO_LABEL in codes else [])]
    return out | {
        "labels": _packed(labels),
        "cells": {index: _packed(counts) for index, counts in right.items()},
        "classes": _names(cell.done[0], task, classes),
        "confusion": {
            run: confusion(labels, each[None, :], classes).tolist() for run, each in answers.items()
        },
    }


def _runs(cell: Cell, read: Read) -> list[tuple[str, Answers]]:
    """Run id and answers of each finished run, one for each seed; empty if one of them stored no answers."""
    seeds = {run.seed: run for run in reversed(cell.done) if run.seed in cell.values}
    kept = [(run.run_id, read(run)) for run in seeds.values()]
    return (
        [(run, found) for run, found in kept if found is not None] if all(found for _, found in kept) else []
    )


def _packed(counts: Any) -> str:
    """Counts as text, one character for each row: 0 to 9, then a to z."""
    places = np.minimum(np.asarray(counts).astype(int), len(DIGITS) - 1)
    return _CODES[places].tobytes().decode()


def _names(run: Record, task: str, classes: Sequence[int]) -> list[str]:
    """The names of class codes; the codes themselves for a task that is unknown here."""
    try:
        known: Sequence[str] = task_in(run.config, task).labels
    except (UserError, ValueError, KeyError):
        known = ()
    return ["no label" if c == NO_LABEL else known[c] if c < len(known) else str(c) for c in classes]


def _put_texts(column: dict[str, Any], run: Record, texts_of: TextsOf, room: int) -> int:
    """Add the texts of rows on which cells differ, largest differences first; returns how many characters they take."""
    cells, runs = column["cells"], column["n"]
    shares = np.array(
        [
            np.array(said if column["numbers"] else [DIGITS.index(one) for one in said], float)
            / (1 if column["numbers"] else runs[index])
            for index, said in cells.items()
        ]
    )
    spread = np.ptp(shares, axis=0)
    ids = column["ids"] or list(range(column["rows"]))
    order = [ids[int(j)] for j in np.argsort(-spread, kind="stable") if spread[j] > 1e-9]
    texts, reason = texts_of(run, order)
    taken, kept = 0, {}
    for row in order:
        fields: Mapping[str, str] = texts.get(row, {})
        taken += sum(map(len, fields.values()))
        if taken > room:
            break
        kept[row] = dict(fields)
    column["texts"] = kept
    if reason or len(kept) < len(order):
        column["no_texts"] = (
            reason or f"{len(order) - len(kept):,} of {len(order):,} texts do not fit in a page"
        )
    return min(taken, room)
