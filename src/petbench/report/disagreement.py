"""Where two methods disagree: the rows on which more runs of one are right, and the confusion matrix of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petbench.errors import UserError
from petbench.record import Answers
from petbench.record.metrics.by_row import NO_LABEL
from petbench.record.metrics.table import METRICS
from petbench.report.cells import Cell
from petbench.report.sides import Read

Texts = Mapping[int, Mapping[str, str]]  # row id -> field -> text


@dataclass(frozen=True)
class Row:
    """One row on which the methods a and b differ. a, b: the runs that are right, or for numbers the mean answer."""

    id: int
    label: float
    a: float
    b: float


@dataclass(frozen=True)
class Disagreement:
    """Two methods on the report rows of one task; `rows` from the largest difference to the smallest."""

    where: str  # the column's label
    task: str
    of: int  # number of report rows
    runs: tuple[int, int]
    numbers: bool  # answers are numbers, not classes
    rows: tuple[Row, ...]
    classes: tuple[int, ...] = ()  # codes of labels and answers; -1: a generated answer that is not a label
    confusion: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None  # (label, answer), over all runs

    @property
    def one_sided(self) -> tuple[int, int]:
        """The number of rows that all runs of a and no run of b have right, and the number for the opposite."""
        n_a, n_b = self.runs
        return (
            sum(row.a == n_a and row.b == 0 for row in self.rows),
            sum(row.b == n_b and row.a == 0 for row in self.rows),
        )


def disagreement(where: str, a: Cell, b: Cell, read: Read) -> Disagreement:
    """The rows on which two cells of one column differ.

    A row's difference is that of the shares of runs that are right, or for numbers that of the mean answers. Raises
    UserError when a run stored no answers, or when the runs were scored on different rows.
    """
    first, second = _answers(a, read), _answers(b, read)
    kept = [*first, *second]
    ids, labels = kept[0].ids, kept[0].labels
    if not all(np.array_equal(each.ids, ids) for each in kept):
        raise UserError(f"{where}: the runs were scored on different rows. Compare runs with the same rows.")
    said = [np.array([each.answers for each in side]) for side in (first, second)]  # (runs, rows)
    numbers = a.metric in METRICS and METRICS[a.metric].numbers
    values = [side.mean(axis=0) if numbers else (side == labels).sum(axis=0) for side in said]
    scale = (1, 1) if numbers else (len(first), len(second))
    apart = np.abs(values[0] / scale[0] - values[1] / scale[1])
    order = [int(j) for j in np.argsort(-apart, kind="stable") if apart[j] > 1e-9]
    rows = tuple(Row(int(ids[j]), float(labels[j]), float(values[0][j]), float(values[1][j])) for j in order)
    runs = len(first), len(second)
    if numbers:
        return Disagreement(where, a.task, len(ids), runs, True, rows)
    codes = np.unique(np.concatenate([labels, *(side.ravel() for side in said)])).astype(int)
    classes = (*(int(c) for c in codes if c != NO_LABEL), *([NO_LABEL] if NO_LABEL in codes else []))
    tables = confusion(labels, said[0], classes), confusion(labels, said[1], classes)
    return Disagreement(where, a.task, len(ids), runs, False, rows, classes, tables)


def _answers(cell: Cell, read: Read) -> list[Answers]:
    """The answers of every finished run of a cell. Raises UserError when a run stored none."""
    kept = [(run, read(run)) for run in cell.done if run.seed in cell.values]
    missing = [run.run_id for run, answers in kept if answers is None]
    if missing:
        raise UserError(
            f"--rows needs the answers of every run; {len(missing)} of {len(kept)} runs of {cell.adapter} on "
            f"{cell.task} stored none ({', '.join(missing[:3])}): there is no answers.npz beside the record, as with "
            "older runs. Train them again, or leave out --rows."
        )
    return [answers for _, answers in kept if answers is not None]


def confusion(labels: NDArray[Any], said: NDArray[Any], classes: Sequence[int]) -> NDArray[np.int64]:
    """Counts over all runs, (label, answer). labels: (rows,); said: (runs, rows) answers."""
    return np.array(
        [[int((said[:, labels == row] == answer).sum()) for answer in classes] for row in classes]
    )


def in_words(
    found: Disagreement, names: tuple[str, str], labels: Sequence[str], texts: Texts, most: int
) -> str:
    """Both confusion matrices, then the `most` rows with the largest differences and their texts."""
    a, b = names
    n_a, n_b = found.runs
    lines = [f"On {found.where}, {a} and {b} differ on {len(found.rows):,} of {found.of:,} rows."]
    if not found.numbers:
        one, other = found.one_sided
        lines.append(
            f"  Right in all {n_a} runs of {a} and in none of the {n_b} of {b}: {one}; the other way round: {other}."
        )
    for name, table, n in zip(names, found.confusion or (), found.runs, strict=False):
        lines += ["", *_matrix(found, name, table, n, labels)]
    if not found.rows:
        return "\n".join(lines)
    lines += ["", _head(found, names, most)]
    for row in found.rows[:most]:
        if found.numbers:
            told = f"label {row.label:g}  {a} {row.a:.2f}  {b} {row.b:.2f}"
        else:
            told = f"label {_name(int(row.label), labels)}  {a} {row.a:.0f}/{n_a}  {b} {row.b:.0f}/{n_b}"
        lines.append(f"  {row.id:>6}  {told}")
        lines += [f"          {field}: {text}" for field, text in texts.get(row.id, {}).items()]
    return "\n".join(lines)


def _head(found: Disagreement, names: tuple[str, str], most: int) -> str:
    shown = min(most, len(found.rows))
    what = "by mean answers" if found.numbers else "by runs that are right"
    return f"The {shown} rows that differ most, {what} of {names[0]} and {names[1]}:"


def _matrix(found: Disagreement, name: str, table: NDArray[Any], n: int, labels: Sequence[str]) -> list[str]:
    """One confusion matrix as text, with mean counts per run."""
    heads = [_name(code, labels) for code in found.classes]
    body = [[f"{count / n:.1f}" for count in row] for row in table]
    kept = [k for k, code in enumerate(found.classes) if code != NO_LABEL]  # answers alone may be no label
    wide = max(map(len, [*heads, *(text for row in body for text in row)]))
    lines = [
        f"{name}, answers (across) by label (down), mean number of rows over {n} run{'s' if n != 1 else ''}:"
    ]
    lines.append("  " + "  ".join(text.rjust(wide) for text in ("", *heads)))
    lines += ["  " + "  ".join(text.rjust(wide) for text in (heads[k], *body[k])) for k in kept]
    return lines


def _name(code: int, labels: Sequence[str]) -> str:
    if code == NO_LABEL:
        return "(no label)"
    return labels[code] if code < len(labels) else str(code)


def as_values(found: Disagreement, texts: Texts) -> dict[str, Any]:
    """The disagreement as plain values, with all rows."""
    columns = ("mean_a", "mean_b") if found.numbers else ("right_a", "right_b")
    rows = [
        {
            "id": row.id, "label": row.label, columns[0]: row.a, columns[1]: row.b,
            **({"texts": dict(texts[row.id])} if row.id in texts else {}),
        }
        for row in found.rows
    ]  # fmt: skip
    tables = None if found.confusion is None else [table.tolist() for table in found.confusion]
    return {
        "of": found.of, "runs": list(found.runs), "classes": list(found.classes), "confusion": tables, "rows": rows,
    }  # fmt: skip
