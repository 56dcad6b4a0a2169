"""The two tables that a run prints at its end: parameters by part, and scores."""

from typing import Any

from rich.table import Table

from petbench.console import Grid
from petbench.record import Record
from petbench.record.units import measured, percent


def params_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Parameters by part, one row for each method: tuned parameters, their percentage of the backbone, and all parts.

    Keys of a row: adapter, params (as in a record), and optionally mergeable, bytes and paper_percent.
    """
    table = Grid(title=title, title_justify="left")
    table.add_column("method")
    for name in (
        "tuned params",
        "tuned %",
        "= adapter",
        "+ norms",
        "+ other",
        "head",
        "trainable",
        "backbone",
    ):
        table.add_column(name, justify="right")
    extra = [key for key in ("mergeable", "bytes", "paper_percent") if any(key in row for row in rows)]
    for key in extra:
        table.add_column({"paper_percent": "paper prints %"}.get(key, key), justify="right")
    for row in rows:
        p = row["params"]
        parts = [f"{p[k]:,}" for k in ("adapter", "norm", "other", "head", "trainable", "backbone")]
        cells = [f"{p['tuned']:,}", percent(p["tuned_percent"]), *parts]
        table.add_row(row["adapter"], *cells, *(_cell(row.get(key)) for key in extra))
    return table


def scores_table(record: Record) -> Table:
    """Selection and report scores of one run; the protocol is in the title."""
    title = f"Scores: {record.task}, protocol {record.protocol}"
    marks = record.provenance.marks
    if marks:
        title += f" ({'; '.join(marks)})"
    table = Grid(title=title, title_justify="left")
    table.add_column("rows")
    table.add_column("n", justify="right")
    names = list(record.metrics.selection) or [n for values in record.metrics.report.values() for n in values]
    for name in dict.fromkeys(names):
        table.add_column(name, justify="right")
    sizes = record.provenance.rows
    parts = {"selection": record.metrics.selection} | {
        f"report: {split}": values for split, values in record.metrics.report.items()
    }
    for part, values in parts.items():
        count = sizes.get(part.replace("report: ", "report/"), "")
        table.add_row(
            part,
            str(count),
            *(measured(values[name]) if name in values else "" for name in dict.fromkeys(names)),
        )
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
