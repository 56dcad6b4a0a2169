"""Rows of new text from a TSV, CSV or JSONL file, in a task's columns: one a line, or an error with the line."""

import codecs
import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from petbench.errors import UserError
from petbench.tasks.glue import Task
from petbench.tasks.splits import Split

KINDS = (".tsv", ".csv", ".jsonl")
Row = tuple[int, list[str]]  # the line that it starts on, and the task's texts

# No tokenizer takes half a surrogate pair; a NUL is the mark of a file that is no UTF-8 text.
_NO_TEXT = {"\0": "a NUL character", "\ud800-\udfff": "half of a surrogate pair"}
_WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", codecs.BOM_UTF32_BE: "UTF-32"}


def read_new_text(path: str | Path, task: Task) -> Split:
    """Rows of a file as an unlabelled split; `idx` counts them from 0. Columns besides the task's are ignored.

    .tsv: tabs, a header, quotes are text (as in GLUE's files). .csv: commas, a header, quotes as usual, and a text
    in quotes may hold line ends. .jsonl: an object a line. An empty line is a row with an empty text where the
    file has one column. Raises UserError, with the line, on another ending, broken UTF-8 or JSON, a carriage return
    inside a row, characters that are no text, a missing or doubled column, a missing text, a row of another width,
    an empty line where it can be no row, and no rows.
    """
    source = Path(path)
    kind = source.suffix.lower()
    if kind not in KINDS:
        raise UserError(f"{source}: ending '{kind}'. Legal: {', '.join(KINDS)}.")
    lines = _lines(source)
    read = {".tsv": _tabs, ".csv": _commas, ".jsonl": _objects}[kind]
    columns: dict[str, list[str]] = {field: [] for field in task.text_fields}
    for number, texts in read(source, lines, task) if lines else ():
        for field, text in zip(task.text_fields, texts, strict=True):
            columns[field].append(_checked(text, f"{source}, line {number}", field))
    count = len(columns[task.text_fields[0]])
    if not count:
        raise UserError(f"{source} has no rows. Give a file with at least one.")
    return Split("new", list(range(count)), columns, None)


def _lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file; the end of the last one begins no new line."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = next((f" (it looks like {name})" for mark, name in _WIDE.items() if raw.startswith(mark)), "")
        raise UserError(f"{path}, line {line}: broken UTF-8{found}. Save the file as UTF-8.") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _tabs(path: Path, lines: Sequence[str], task: Task) -> Iterator[Row]:
    """The rows of a TSV."""
    header: list[str] = []
    for number, line in enumerate(lines, start=1):
        if "\r" in line:
            raise UserError(
                f"{path}, line {number}: a carriage return inside a row. End lines with \\n or \\r\\n only."
            )
        fields = line.split("\t")
        if number == 1:
            header, places = fields, _places(path, fields, task)
            continue
        _require_width(path, number, fields, header)
        yield number, [fields[place] for place in places]


def _commas(path: Path, lines: Sequence[str], task: Task) -> Iterator[Row]:
    """The rows of a CSV."""
    csv.field_size_limit(sys.maxsize)  # GLUE has no limit either
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    start = 1  # of the row that is being read: one in quotes may go over several lines
    try:
        header = next(reader, [])
        places = _places(path, header, task)
        start = reader.line_num + 1
        for fields in reader:
            fields = fields or [""]  # an empty line
            _require_width(path, start, fields, header)
            yield start, [fields[place] for place in places]
            start = reader.line_num + 1
    except csv.Error as error:
        if "new-line character" in str(error):
            raise UserError(
                f"{path}, line {start}: a carriage return outside quotes. End lines with \\n or \\r\\n only."
            ) from error
        raise UserError(f"{path}, the row from line {start} on: {error}. Mend the quotes.") from error


def _places(path: Path, header: Sequence[str], task: Task) -> list[int]:
    """Where the task's columns are."""
    for field in task.text_fields:
        if field not in header:
            raise _no_field(f"{path}, line 1", f"no text '{field}'", header, task)
        if header.count(field) > 1:
            raise UserError(f"{path}, line 1: {header.count(field)} columns are called '{field}'. Leave one.")
    return [header.index(field) for field in task.text_fields]


def _require_width(path: Path, number: int, fields: Sequence[str], header: Sequence[str]) -> None:
    if len(fields) == len(header):
        return
    if list(fields) == [""]:
        raise UserError(
            f"{path}, line {number}: empty; a row here has {len(header)} fields. Fill or delete the line."
        )
    raise UserError(f"{path}, line {number}: {len(fields)} fields, the header has {len(header)}.")


def _objects(path: Path, lines: Sequence[str], task: Task) -> Iterator[Row]:
    """The rows of a JSONL file."""
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        if not line.strip():
            raise UserError(f"{place}: empty. Give an object a line; delete a line that is no row.")
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            said = "too deep" if isinstance(error, RecursionError) else error
            raise UserError(f"{place}: no JSON ({said}). Give an object a line.") from error
        if not isinstance(row, dict):
            raise UserError(f"{place}: got {type(row).__name__}. Give an object a line.")
        for field in task.text_fields:
            if field not in row:
                raise _no_field(place, f"no text '{field}'", list(row), task)
            if not isinstance(row[field], str):
                raise UserError(
                    f"{place}: '{field}' is {json.dumps(row[field])[:40]}. Give a text in quotes."
                )
        yield number, [row[field] for field in task.text_fields]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if no key is there twice: JSON readers differ in which one they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        double = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise ValueError(f"the key '{double}' is there twice")
    return found


def _checked(text: str, place: str, field: str) -> str:
    """The text, if every character of it is one."""
    for signs, name in _NO_TEXT.items():
        found = re.search(f"[{signs}]", text)
        if found:
            code = f"\\u{ord(found[0]):04x}"
            raise UserError(
                f"{place}: '{field}' holds {name} ({code}, character {found.start() + 1}). Mend it."
            )
    return text


def _no_field(place: str, wrong: str, there: Sequence[str], task: Task) -> UserError:
    return UserError(
        f"{place}: {wrong}; there: {', '.join(there) or 'nothing'}. {task.name} needs {', '.join(task.text_fields)}."
    )
