"""Read rows from a CSV, TSV, JSONL or Parquet file, as columns with the line number of every row."""

import codecs
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Any

from petbench.console import progress_bar
from petbench.errors import UserError
from petbench.tasks.rows.parquet import read_parquet
from petbench.tasks.rows.raw import Raw, no_column

TEXT_KINDS = (".tsv", ".csv", ".jsonl")
KINDS = (*TEXT_KINDS, ".parquet")
BAR_BYTES = 64 * 2**20  # a larger file takes seconds to read and gets a progress bar
_WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", codecs.BOM_UTF32_BE: "UTF-32"}


def read_file(
    path: Path, wanted: Sequence[str] | None = None, needs: str = "", most: int | None = None
) -> Raw:
    """The wanted columns of a file (None: all), at most `most` rows. needs: who needs the columns, for messages.

    .tsv: tabs, a header, quotes are text (as in GLUE's files). .csv: commas, a header, quotes as usual, so that a text
    in quotes may hold line ends. .jsonl: one object per line. .parquet: a table of plain values. In a file with one
    column, an empty line is a row with an empty text. Raises UserError, with the line, on another file ending, broken
    UTF-8 or JSON, a carriage return inside a row, a missing or repeated column, a row of another width, and an empty
    line in a file with several columns.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UserError(f"{path}: ending '{kind}'. Legal: {', '.join(KINDS)}.")
    if kind == ".parquet":
        with _bar(path) as told:
            return read_parquet(path, wanted, needs, most, told)
    try:
        with path.open("rb") as file, _bar(path) as told:
            return read_lines(file, kind, str(path), wanted, needs, most, told)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error


def read_lines(
    file: Iterable[bytes],
    kind: str,
    path: str,
    wanted: Sequence[str] | None = None,
    needs: str = "",
    most: int | None = None,
    told: Any = None,
) -> Raw:
    """As `read_file`, from an open file. told: called with the number of bytes of every line."""
    lines = _decoded(file, path, told)
    if kind == ".jsonl":
        return _objects(path, lines, wanted, needs, most)
    reader = {".tsv": _tabs, ".csv": _commas}[kind](path, lines, wanted, needs)
    return _columns(path, reader, most)


def read_tabs(file: Iterable[bytes], path: str, names: Sequence[str], needs: str) -> Raw:
    """Rows of tab-separated texts in a file without a header: `names` are the columns."""
    header = "\t".join(names)
    return _columns(
        path, _tabs(path, chain([header], _decoded(file, path, None)), names, needs, first=0), None
    )


def _columns(path: str, reader: Iterator[Any], most: int | None) -> Raw:
    """The columns from a reader, which yields their names first and then the rows."""
    raw = Raw(path, {str(name): [] for name in next(reader, ())})
    columns = list(raw.columns.values())
    for number, values in islice(reader, most):
        raw.lines.append(number)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return raw


def _bar(path: Path) -> AbstractContextManager[Any]:
    size = path.stat().st_size
    return progress_bar(f"reading {path.name}", size) if size >= BAR_BYTES else nullcontext()


def _decoded(file: Iterable[bytes], path: str, told: Any) -> Iterator[str]:
    """The lines of a UTF-8 file without their line ends; a line end at the end of the file starts no further line."""
    for number, raw in enumerate(file, start=1):
        if told is not None:
            told(len(raw))
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            looks = next(
                (f"it looks like {name}" for mark, name in _WIDE.items() if raw.startswith(mark)), ""
            )
            guess = looks or "is it Latin-1 or Windows-1252?"
            raise UserError(
                f"{path}, line {number}: broken UTF-8 ({guess}). Save the file as UTF-8."
            ) from error
        yield line.removesuffix("\n").removesuffix("\r")


def _tabs(
    path: str, lines: Iterator[str], wanted: Sequence[str] | None, needs: str, first: int = 1
) -> Iterator[Any]:
    """Yield the names of the columns, then the rows of a TSV. first: the number of the line with the names."""
    width, places = 0, list[int]()
    for number, line in enumerate(lines, start=first):
        if "\r" in line:
            raise UserError(
                f"{path}, line {number}: a carriage return inside a row. End lines with \\n or \\r\\n only."
            )
        fields = line.split("\t")
        if number == first:
            width, places = len(fields), _places(path, fields, wanted, needs)
            yield [fields[place] for place in places]
            continue
        _require_width(path, number, fields, width)
        yield number, [fields[place] for place in places]


def _commas(path: str, lines: Iterator[str], wanted: Sequence[str] | None, needs: str) -> Iterator[Any]:
    """Yield the names of the columns, then the rows of a CSV."""
    csv.field_size_limit(sys.maxsize)  # texts of any length are legal, as in the other forms
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    start = 1  # the first line of the current row: a text in quotes may span several lines
    try:
        header = next(reader, None)
        if header is None:
            return
        places = _places(path, header, wanted, needs)
        yield [header[place] for place in places]
        start = reader.line_num + 1
        for fields in reader:
            fields = fields or [""]  # an empty line
            _require_width(path, start, fields, len(header))
            yield start, [fields[place] for place in places]
            start = reader.line_num + 1
    except csv.Error as error:
        if "new-line character" in str(error):
            raise UserError(
                f"{path}, line {start}: a carriage return outside quotes. End lines with \\n or \\r\\n only."
            ) from error
        raise UserError(f"{path}, the row from line {start} on: {error}. Correct the quotes.") from error


def _places(path: str, header: Sequence[str], wanted: Sequence[str] | None, needs: str) -> list[int]:
    """The positions of the wanted columns."""
    if any("\0" in name for name in header):
        raise UserError(f"{path}, line 1: NUL characters; it looks like UTF-16. Save the file as UTF-8.")
    for name in header if wanted is None else wanted:
        if name not in header:
            raise no_column(f"{path}, line 1", name, header, needs)
        if header.count(name) > 1:
            raise UserError(f"{path}, line 1: {header.count(name)} columns are called '{name}'. Keep one.")
    return [header.index(name) for name in (header if wanted is None else wanted)]


def _require_width(path: str, number: int, fields: Sequence[str], width: int) -> None:
    if len(fields) == width:
        return
    if list(fields) == [""]:
        raise UserError(
            f"{path}, line {number}: empty; a row here has {width} fields. Fill or delete the line."
        )
    raise UserError(
        f"{path}, line {number}: {len(fields)} fields, but the header has {width}. Correct the line."
    )


def _objects(
    path: str, lines: Iterator[str], wanted: Sequence[str] | None, needs: str, most: int | None
) -> Raw:
    """The rows of a JSONL file. wanted=None: every key of any row is a column, with None in rows without it."""
    raw, rows = Raw(path, {name: [] for name in wanted or ()}), list[dict[str, Any]]()
    for number, line in islice(enumerate(lines, start=1), most):
        row = _object(f"{path}, line {number}", line)
        raw.lines.append(number)
        if wanted is None:
            rows.append(row)
        for name, column in raw.columns.items():
            if name not in row:
                raise no_column(f"{path}, line {number}", name, list(row), needs)
            column.append(row[name])
    if wanted is None:
        names = dict.fromkeys(name for row in rows for name in row)
        raw.columns = {name: [row.get(name) for row in rows] for name in names}
    return raw


def _object(place: str, line: str) -> dict[str, Any]:
    """The object of one line."""
    if not line.strip():
        raise UserError(f"{place}: empty. Give one object per line; delete a line that is not a row.")
    try:
        row = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        said = "too deep" if isinstance(error, RecursionError) else error
        raise UserError(f"{place}: not JSON ({said}). Give one object per line.") from error
    if not isinstance(row, dict):
        raise UserError(f"{place}: got {type(row).__name__}, not an object. Give one object per line.")
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object. Raises ValueError when a key occurs twice: JSON readers differ in which of the two they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        double = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise ValueError(f"the key '{double}' occurs twice")
    return found
