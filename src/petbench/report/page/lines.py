"""Reference values for the page's scores: the majority class of a column, and the published numbers of a cell."""

from typing import Any

from petbench.record.metrics.table import METRICS
from petbench.report.layout import Entry, Report
from petbench.report.page.runs import every_entry
from petbench.report.published.beside import nearest
from petbench.report.published.numbers import lookup, recipes, target


def majorities(report: Report) -> list[dict[str, float]]:
    """For each table: column label -> the score, in points, of a run that gives every row the same answer."""
    out = []
    for table in report.tables:
        found = {}
        for column in table.columns:
            entries = [row.entries[column.key] for row in table.rows if column.key in row.entries]
            value = next((each for entry in entries if (each := _majority(entry)) is not None), None)
            if value is not None:
                found[column.label] = 100 * value
        out.append(found)
    return out


def _majority(entry: Entry) -> float | None:
    rule = METRICS[entry.cell.metric].collapse if entry.cell.metric in METRICS else None
    if rule == "zero":
        return 0.0
    if rule == "majority":
        for run in entry.cell.done:
            if run.headline and run.headline.split in run.provenance.data.majority:
                return run.provenance.data.majority[run.headline.split]
    return None


def printed(report: Report) -> dict[int, list[list[Any]]]:
    """Cell -> the published numbers for its model, method, task and metric: points, and where they are printed.

    If a paper prints a method in several sizes, the size nearest to the cell's is taken.
    """
    targets = [target(recipe) for recipe in recipes()]
    out: dict[int, list[list[Any]]] = {}
    for index, (number, _, _, entry) in enumerate(every_entry(report)):
        cell, model = entry.cell, report.tables[number].model
        for aim in targets:
            names = aim.methods.get(cell.adapter, ()) if model in aim.models else ()
            if not names:
                continue
            for each in lookup(paper=aim.paper, table=aim.table, model=model, method=nearest(cell, names)):
                if each.metric_id == cell.metric and each.task in (cell.task, f"{cell.task}_matched"):
                    where = f"{each.paper}, {each.table}, printed as {each.method}; {each.split}"
                    found = out.setdefault(index, [])
                    if [each.value, where] not in found:
                        found.append([each.value, where])
    return out
