"""The report on a terminal: one short table for each model, with scores, size and time side by side."""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from petbench.console import shown
from petbench.record.metrics.table import METRICS
from petbench.record.units import NOTHING, score, seconds, whole
from petbench.report.budgets import Searched
from petbench.report.labels import PROTOCOLS
from petbench.report.layout import Average, Column, Entry, Report, Row, Table
from petbench.report.notes import COLLAPSED, LOST, cell_marks
from petbench.report.writers.markdown import counts_line
from petbench.report.writers.numerals import (
    SEARCHED_NOTE,
    SEARCHED_TITLE,
    searched_cells,
    searched_heads,
    span,
    spread,
)

TOP = "*"  # after the scores of the top group, which are bold if the output can show it
PADDING = 2  # columns of space after a cell, including rich's own divider


def print_report(report: Report, console: Console) -> None:
    """Print every table. Each takes at most ten lines more than it has methods."""
    _line(console, counts_line(report))
    for table in report.tables:
        _line(console, _title(table), style="bold")
        console.print(_grid(table, console.width, bold=console.is_terminal))
        for note in _notes(table):
            _line(console, note, style="dim")
    if report.searched:
        _line(console, SEARCHED_TITLE, style="bold")
        console.print(_searched(report.searched))
        _line(console, SEARCHED_NOTE, style="dim")


def _searched(searched: Sequence[Searched]) -> Grid:
    """The table of tuning budgets."""
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, PADDING - 1, 0, 0))
    for number, head in enumerate(searched_heads(searched)):
        grid.add_column(head, justify="left" if number < 3 else "right", overflow="ellipsis")
    for line in searched:
        grid.add_row(*(Text(shown(text)) for text in searched_cells(line, searched)))
    return grid


def _line(console: Console, text: str, style: str = "") -> None:
    """Print one line, cut at the edge of the terminal."""
    console.print(Text(shown(text), style=style), no_wrap=True, overflow="ellipsis", soft_wrap=False)


def _title(table: Table) -> str:
    """The table's title without the sentence on its protocol, and the number of seeds if all cells have the same."""
    words = table.title.replace(f": {PROTOCOLS.get(table.protocol, '')}", "", 1)
    seeds = _seeds(table)
    return words if seeds is None else f"{words} | {seeds} {'seed' if seeds == 1 else 'seeds'}"


def _seeds(table: Table) -> int | None:
    """The number of runs behind every score; None when it differs between cells."""
    counts = {e.summary.n for row in table.rows for e in row.entries.values() if e.summary is not None}
    return counts.pop() if len(counts) == 1 else None


def _grid(table: Table, width: int, bold: bool) -> Grid:
    """Methods by tasks, with average, size and time. If there is no room, spreads are left out first, then tasks from
    the last on; never the average, the size or the time."""
    labels = ["method", *(row.label for row in table.rows)]
    fixed = [*_average(table), *_costs(table)]
    room = width - max(map(len, labels)) - PADDING - sum(map(_width, fixed))
    one_n = _seeds(table) is not None
    scores = [_scores(column, table.rows, one_n, spread) for column in table.columns]
    if sum(map(_width, scores)) > room:
        scores = [_scores(column, table.rows, True, lambda short: "") for column in table.columns]
    kept = _fitting(scores, room, least=0 if fixed else 1)
    hidden = [f"… {len(scores) - kept}", *[""] * len(table.rows)]
    columns = [*scores[:kept], *([hidden] if kept < len(scores) else []), *fixed]
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, PADDING - 1, 0, 0))
    grid.add_column("method", no_wrap=True, overflow="ellipsis")
    for cells in columns:
        grid.add_column(Text(shown(cells[0]), justify="right"), justify="right", no_wrap=True)
    for number, row in enumerate(table.rows, start=1):
        grid.add_row(Text(shown(row.label)), *(_text(cells[number], bold) for cells in columns))
    return grid


def _fitting(scores: Sequence[Sequence[str]], room: int, least: int) -> int:
    """How many of the columns fit, with room for a column that counts those that do not."""
    if sum(map(_width, scores)) <= room:
        return len(scores)
    room -= len("… 10") + PADDING
    return max([n for n in range(len(scores)) if sum(map(_width, scores[:n])) <= room], default=0) or least


def _width(cells: Sequence[str]) -> int:
    return max(len(line) for text in cells for line in text.split("\n")) + PADDING


def _scores(column: Column, rows: Sequence[Row], one_n: bool, beside: Callable[..., str]) -> list[str]:
    """A column of scores, `86.1* ± 0.3 †1`, with `n=2` if the cells' numbers of runs differ."""
    known = METRICS.get(column.metric)
    head = f"{column.label}\n{known.short if known else column.metric}"
    return [head, *(_score(row.entries.get(column.key), one_n, beside) for row in rows)]


def _score(entry: Entry | None, one_n: bool, beside: Callable[..., str]) -> str:
    if entry is None:
        return NOTHING
    marks = cell_marks(entry.cell)
    short = entry.summary
    if short is None:
        return " ".join(filter(None, ["no run", marks]))
    top = TOP if entry.standing == "top" else ""
    parts = [f"{score(short.mean)}{top}", beside(short), marks, "" if one_n else f"n={short.n}"]
    return " ".join(filter(None, parts))


def _average(table: Table) -> list[list[str]]:
    """The column of averages; empty if there is none."""
    if all(row.average is None for row in table.rows):
        return []
    return [["average", *(_mean(row.average) for row in table.rows)]]


def _mean(average: Average | None) -> str:
    if average is None:
        return NOTHING
    top = TOP if average.standing == "top" else ""
    tasks = "" if average.complete else f" {average.tasks}/{average.of}"
    return f"{score(average.summary.mean)}{top}{tasks}"


def _costs(table: Table) -> list[list[str]]:
    """The columns of size and time, each if something was measured."""
    sizes = [span(row.costs.tuned, whole) for row in table.rows]
    times = [
        NOTHING if row.costs.train_seconds is None else seconds(row.costs.train_seconds) for row in table.rows
    ]
    columns = [["tuned\nparams", *sizes], ["train\ntime", *times]]
    return [column for column in columns if set(column[1:]) != {NOTHING}]


def _notes(table: Table) -> list[str]:
    """The notes that explain the marks; all other notes are in the files."""
    entries = [entry for row in table.rows for entry in row.entries.values()]
    standings = {entry.standing for entry in entries}
    standings |= {row.average.standing for row in table.rows if row.average is not None}
    fallen = sum(len(entry.cell.collapsed) for entry in entries)
    lost = sum(entry.cell.count("failed") + entry.cell.count("diverged") for entry in entries)
    notes = ["x 100, mean ± standard deviation over seeds; intervals and all notes: tables.md, index.html"]
    if "top" in standings:
        notes.append(
            f"{TOP} top group: not significantly below its column's highest (all pairs tested at 5 %)"
        )
    elif "level" in standings:
        notes.append("no two methods differ significantly")
    if fallen:
        notes.append(f"{COLLAPSED}k: k runs collapsed to one answer, counted in the mean ({fallen} in all)")
    if lost:
        notes.append(f"{LOST}k: k runs failed or diverged, not in the mean ({lost} in all)")
    return notes


def _text(text: str, bold: bool) -> Text:
    """The text, with the score in bold if it is of the top group and the output can show it."""
    found = Text(text)
    if bold and TOP in text:
        found.stylize("bold", 0, text.index(TOP))
    return found
