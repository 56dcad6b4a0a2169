"""Check a GLUE submission: names of the files, headers, order of rows, row counts and label strings."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from petbench.config.task import Task
from petbench.tasks.glue import TASKS, rules_of

LONGEST_LINE = 64  # bytes that a row may have; the longest valid row has 40
SHOWN_NAMES = 20
HEADER = "index\tprediction"


def official_counts() -> dict[str, int]:
    """File name without .tsv -> its official number of rows."""
    return {stem: t.rows[split] for t in TASKS.values() for split, stem in rules_of(t).files.items()}


def check_submission(path: str | Path, counts: Mapping[str, int] | None = None) -> list[str]:
    """The faults of a zip, one line each, at most one for every file; empty when the zip is valid.

    counts: file name without .tsv -> rows that it must have, if not the official number.
    """
    wanted = official_counts() | dict(counts or {})
    tasks = {stem: task for task in TASKS.values() for stem in rules_of(task).files.values()}
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            problems = list(_names(names, [f"{stem}.tsv" for stem in tasks]))
            for stem, task in tasks.items():
                if names.count(f"{stem}.tsv") == 1:
                    problems += _entry(archive, stem, task, wanted[stem])
    except FileNotFoundError:
        return [f"there is no {path}"]
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        return [f"{path} is not a readable zip: {error}"]
    return problems


def _names(names: list[str], wanted: list[str]) -> Iterator[str]:
    """Missing, unknown and doubled entries."""
    for name in wanted:
        if name not in names:
            yield f"{name} is missing"
        elif names.count(name) > 1:
            yield f"{name} occurs {names.count(name)} times"
    unknown = [name for name in dict.fromkeys(names) if name not in wanted]
    if len(unknown) > SHOWN_NAMES:
        yield f"{len(unknown):,} entries do not belong there"
    else:
        for name in unknown:
            yield f"{name} does not belong there; legal: {', '.join(wanted)}, in no folder"


def _entry(archive: zipfile.ZipFile, stem: str, task: Task, rows: int) -> list[str]:
    """The first fault of one entry. It is unpacked only up to the size that a valid entry can have."""
    info = archive.getinfo(f"{stem}.tsv")
    if info.flag_bits & 0x1:
        return [f"{stem}.tsv: is encrypted"]
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return [
            f"{stem}.tsv: few programs can read its compression ({info.compress_type}); legal: stored, deflated"
        ]
    most = LONGEST_LINE * (rows + 1) + 4096  # so that a few rows too many get a message that counts them
    with archive.open(info) as file:
        content = file.read(most + 1)
    if len(content) > most:
        return [f"{stem}.tsv: has more than {most:,} bytes, too many for {rows:,} rows"]
    return _file(stem, content, task, rows)


def _file(stem: str, content: bytes, task: Task, rows: int) -> list[str]:
    """The first fault of one file, in a list, or nothing."""
    name = f"{stem}.tsv"
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        return [f"{name}: broken UTF-8 at byte {error.start}"]
    if lines and not lines[-1]:
        lines.pop()
    if not lines or lines[0] != HEADER:
        return [f"{name}, line 1: the header is {lines[0] if lines else ''!r}, expected {HEADER!r}"]
    for row, line in enumerate(lines[1:]):
        place = f"{name}, line {row + 2}"
        index, tab, prediction = line.partition("\t")
        if not tab or "\t" in prediction:
            return [f"{place}: {line.count(chr(9)) + 1} fields, expected 2"]
        if index != str(row):
            return [f"{place}: index {index!r}, expected {row} (rows from 0, in order, none left out)"]
        fault = _fault(prediction, task)
        if fault:
            return [f"{place}: {fault}"]
    found = len(lines) - 1
    return [f"{name}: {found} rows, expected {rows}"] if found != rows else []


def _fault(prediction: str, task: Task) -> str | None:
    """Why a prediction is not legal."""
    legal = rules_of(task).labels
    if legal:
        return None if prediction in legal else f"label {prediction!r}; legal: {', '.join(legal)}"
    low, high = task.bounds
    try:
        number = float(prediction)
    except ValueError:
        return f"{prediction!r} is not a number"
    return None if low <= number <= high else f"{prediction} is not from {low:g} to {high:g}"
