"""The report on a terminal, with rich; a table that is too wide continues below itself."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from petbench.console import shown
from petbench.record.metrics.table import METRICS
from petbench.report.budgets import Searched
from petbench.report.layout import Column, Report, Table
from petbench.report.writers.markdown import average_text, counts_line, entry_text
from petbench.report.writers.numerals import (
    COST_HEADS,
    NOTHING,
    SEARCHED_NOTE,
    SEARCHED_TITLE,
    cost_cells,
    rank_line,
    searched_cells,
    searched_heads,
    used,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

PADDING = 2  # columns of space that rich puts beside a cell


def print_report(report: Report, console: "Console") -> None:
    """Print every table: scores, costs, then what must be known to read them."""
    console.print(shown(counts_line(report)), markup=False)
    for table in report.tables:
        console.print()
        console.print(shown(table.title), style="bold", markup=False, highlight=False)
        for part in (_scores(table), _costs(table)):
            for grid in _grids(*part, width=console.width, bold=console.is_terminal):
                console.print(grid)
        for note in (table.formula, rank_line(table.ranks), *table.notes):
            if note:
                console.print(f"  {shown(note)}", style="dim", markup=False, highlight=False)
    if report.searched:
        _print_searched(report.searched, console)


def _print_searched(searched: Sequence[Searched], console: "Console") -> None:
    """What tuning budgets buy."""
    _, *heads = searched_heads(searched)
    cells = [searched_cells(line, searched) for line in searched]
    console.print()
    console.print(SEARCHED_TITLE, style="bold", markup=False, highlight=False)
    labels, rows = [line[0] for line in cells], [line[1:] for line in cells]
    for grid in _grids(heads, labels, rows, width=console.width, bold=False):
        console.print(grid)
    console.print(f"  {SEARCHED_NOTE}", style="dim", markup=False, highlight=False)


Part = tuple[list[str], list[str], list[list[str]]]  # heads, labels, one list of texts a row


def _scores(table: Table) -> Part:
    averaged = any(row.average is not None for row in table.rows)
    heads = [_head(column) for column in table.columns] + (["average"] if averaged else [])
    rows = []
    for row in table.rows:
        texts = [entry_text(row.entries.get(column.key)) for column in table.columns]
        texts += [average_text(row.average)] if averaged else []
        rows.append([text.replace(" [", "\n[", 1) for text in texts])  # the interval below the mean
    return heads, [row.label for row in table.rows], rows


def _costs(table: Table) -> Part:
    cells = [cost_cells(row.costs) for row in table.rows]
    shown = used(cells)
    heads = [COST_HEADS[index] for index in shown]
    return heads, [row.label for row in table.rows], [[row[index] for index in shown] for row in cells]


def _grids(
    heads: Sequence[str], labels: Sequence[str], rows: Sequence[Sequence[str]], width: int, bold: bool
) -> Iterator["Grid"]:
    """As many tables as it takes to stay inside the width, each with the labels in front."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    first = max(map(len, ("method", *labels))) + PADDING + 2
    sizes = [
        max(len(line) for text in (heads[i], *(row[i] for row in rows)) for line in text.split("\n"))
        + PADDING
        for i in range(len(heads))
    ]
    for start, end in _cuts(sizes, width - first):
        grid = Grid(box=box.SIMPLE_HEAD)
        grid.add_column("method", no_wrap=True)
        for index in range(start, end):
            grid.add_column(Text(shown(heads[index]), justify="right"), justify="right")
        for label, row in zip(labels, rows, strict=True):
            if any(text != NOTHING for text in row[start:end]):
                grid.add_row(Text(shown(label)), *(_text(text, bold) for text in row[start:end]))
        yield grid


def _cuts(sizes: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Ranges of columns that fit side by side; at least one in each."""
    start, taken = 0, 0
    for index, size in enumerate(sizes):
        if index > start and taken + size > room:
            yield start, index
            start, taken = index, 0
        taken += size
    if sizes:
        yield start, len(sizes)


def _head(column: Column) -> str:
    """`rte` above the metric, in short."""
    known = METRICS.get(column.metric)
    return f"{column.label}\n{known.short if known else column.metric}"


def _text(text: str, bold: bool) -> "Text":
    """`**` becomes bold where the output can show it; what follows the first line is dim."""
    from rich.text import Text

    first, _, rest = text.partition("\n")
    best = bold and first.startswith("**")
    shown = Text(first.replace("**", "") if best else first)
    if best:
        shown.stylize("bold", 0, len(shown.plain.split(" ", 1)[0]))
    if rest:
        shown.append(f"\n{rest}", style="dim")
    return shown
