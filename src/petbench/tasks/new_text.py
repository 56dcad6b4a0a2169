"""Rows of new text from a TSV, CSV or JSONL file, in a task's columns."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from petbench.errors import UserError
from petbench.tasks.glue import Task
from petbench.tasks.splits import Split

KINDS = (".tsv", ".csv", ".jsonl")


def read_new_text(path: str | Path, task: Task) -> Split:
    """Rows of a file as an unlabelled split; `idx` counts them from 0. Columns besides the task's are ignored.

    .tsv: tabs, a header, quotes are text (as in GLUE's files). .csv: commas, a header, quotes as usual.
    .jsonl: an object a line. Raises UserError, with the line, on another ending, broken UTF-8 or JSON, a
    missing column or text, a row of another width, and no rows.
    """
    source = Path(path)
    kind = source.suffix.lower()
    if kind not in KINDS:
        raise UserError(f"{source}: ending '{kind}'. Legal: {', '.join(KINDS)}.")
    lines = _lines(source)
    rows = _objects(source, lines, task) if kind == ".jsonl" else _table(source, lines, task, kind)
    columns: dict[str, list[str]] = {field: [] for field in task.text_fields}
    for row in rows:
        for field, text in zip(task.text_fields, row, strict=True):
            columns[field].append(text)
    count = len(columns[task.text_fields[0]])
    if not count:
        raise UserError(f"{source} has no rows. Give a file with at least one.")
    return Split("new", list(range(count)), columns, None)


def _lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: broken UTF-8. Save the file as UTF-8.") from error
    return text.split("\n") if text.strip() else []


def _table(path: Path, lines: Sequence[str], task: Task, kind: str) -> Iterator[list[str]]:
    """The task's fields of every row of a TSV or CSV."""
    csv.field_size_limit(sys.maxsize)  # GLUE has no limit either
    if kind == ".tsv":
        reader = csv.reader(io.StringIO("\n".join(lines)), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(io.StringIO("\n".join(lines), newline=""), strict=True)
    try:
        header = next(reader, [])
        places = [_place(path, field, header, task) for field in task.text_fields]
        for row in reader:
            if not row:
                continue  # a blank line
            if len(row) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(row)} fields, the header has {len(header)}."
                )
            yield [row[place] for place in places]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}. Mend the quotes.") from error


def _place(path: Path, field: str, header: Sequence[str], task: Task) -> int:
    if field not in header:
        raise _no_field(f"{path}, line 1", field, header, task)
    return header.index(field)


def _objects(path: Path, lines: Sequence[str], task: Task) -> Iterator[list[str]]:
    """The task's fields of every line of a JSONL file."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{place}: no JSON ({error}). Give an object a line.") from error
        if not isinstance(row, dict):
            raise UserError(f"{place}: got {type(row).__name__}. Give an object a line.")
        for field in task.text_fields:
            if not isinstance(row.get(field), str):
                raise _no_field(place, field, list(row), task)
        yield [row[field] for field in task.text_fields]


def _no_field(place: str, field: str, there: Sequence[str], task: Task) -> UserError:
    return UserError(
        f"{place}: no text '{field}'; there: {', '.join(there) or 'nothing'}. "
        f"{task.name} needs {', '.join(task.text_fields)}."
    )
