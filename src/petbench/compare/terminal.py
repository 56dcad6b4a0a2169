"""The report on a terminal, with rich."""

from typing import TYPE_CHECKING

from petbench.compare.layout import Report, Table
from petbench.compare.markdown import average_text, counts_line, entry_text
from petbench.compare.numerals import COST_HEADS, cost_cells, head, rank_line, used

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text


def print_report(report: Report, console: "Console") -> None:
    """Print every table: scores, costs, then what must be known to read them."""
    console.print(counts_line(report), markup=False)
    for table in report.tables:
        console.print()
        console.print(_scores(table))
        costs = _costs(table)
        if costs is not None:
            console.print(costs)
        for note in (table.formula, rank_line(table.ranks), *table.notes):
            if note:
                console.print(f"  {note}", style="dim", markup=False, highlight=False)


def _scores(table: Table) -> "Grid":
    from rich.text import Text

    grid = _grid(table.title)
    for column in table.columns:
        grid.add_column(head(column), justify="right")
    averaged = any(row.average is not None for row in table.rows)
    if averaged:
        grid.add_column("average", justify="right")
    for row in table.rows:
        texts = [entry_text(row.entries.get(column.key)) for column in table.columns]
        texts += [average_text(row.average)] if averaged else []
        grid.add_row(Text(row.label), *(_two_lines(text) for text in texts))
    return grid


def _costs(table: Table) -> "Grid | None":
    from rich.text import Text

    lines = [cost_cells(row.costs) for row in table.rows]
    shown = used(lines)
    if not shown:
        return None
    grid = _grid("")
    for index in shown:
        grid.add_column(COST_HEADS[index], justify="right")
    for row, cells in zip(table.rows, lines, strict=True):
        grid.add_row(Text(row.label), *(Text(cells[index]) for index in shown))
    return grid


def _grid(title: str) -> "Grid":
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=Text(title, style="bold") if title else None, title_justify="left", box=box.SIMPLE_HEAD)
    grid.add_column("method", no_wrap=True)
    return grid


def _two_lines(text: str) -> "Text":
    """The interval goes below the mean; `**` becomes bold."""
    from rich.text import Text

    first, bracket, rest = text.partition(" [")
    bold = first.startswith("**")
    first = first.replace("**", "")
    number = first.split(" ", 1)[0]
    shown = Text(first)
    if bold:
        shown.stylize("bold", 0, len(number))
    if bracket:
        shown.append(f"\n[{rest}", style="dim")
    return shown
