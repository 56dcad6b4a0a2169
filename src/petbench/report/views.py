"""What the page and the plot files draw: a report and its records as plain values, scores times 100.

`payload` gives JSON-ready tables, cells, runs and the series of the nine plots. All averages are the report's, except
medians of costs and means of selection scores over a cell's seeds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from petbench.record import Record
from petbench.record.metrics.table import METRICS
from petbench.record.units import fix, probability
from petbench.report.cells import Cell
from petbench.report.costs import LORA
from petbench.report.layout import Entry, Report, Row, Span, Table
from petbench.report.notes import cell_marks
from petbench.report.series import budgets, learning_rate, low_resource, tuning

SCALE = 100
DECIMALS = 1  # decimals of scores in tables
CURVE_VALUES = 100_000  # numbers of all learning curves together that are kept: about a megabyte
CURVE_POINTS = (8, 200)  # fewest and most points of one curve
YARDSTICKS = ("full", "head_only")
COLOURED_FIRST = ("krona", "lora", "compacter", "hadamard", "kernel_mix", "bitfit", "houlsby", "krona_res")
CURVE_FIELDS = {"x": "step", "e": "epoch", "t": "seconds", "y": "score", "l": "loss"}
NOT_DONE = ("failed", "diverged", "skipped", "interrupted", "paused")


def payload(report: Report, records: Sequence[Record]) -> dict[str, Any]:
    """Everything that is drawn. Learning curves are thinned out, so that the page stays small."""
    cells: list[dict[str, Any]] = []
    points = _points_a_curve(records)
    tables = [_table(table, cells, points) for table in report.tables]
    found = {record.adapter for record in records}
    methods = [name for name in YARDSTICKS if name in found] + sorted(found - set(YARDSTICKS))
    return {
        "scale": SCALE,
        "decimals": DECIMALS,
        "reference": next((name for name in LORA if name in found), None),
        "methods": methods,
        "coloured": coloured(methods),
        "facts": _facts(report, records),
        "tables": tables,
        "cells": cells,
        "runs": _runs(records),
        "metrics": {name: metric.words for name, metric in METRICS.items()},
        "low": low_resource(report),
        "tuning": tuning(report, records),
        "budgets": budgets(report),
    }


def coloured(methods: Sequence[str]) -> list[str]:
    """Methods in the order in which they get colours: often compared ones first, so that their colours differ."""
    first = [name for name in COLOURED_FIRST if name in methods]
    return first + [name for name in methods if name not in first and name not in YARDSTICKS]


def points_of(value: float | None) -> float | None:
    """A score in [-1, 1] as points, not rounded: it is rounded when printed, and rounding twice can be wrong."""
    return None if value is None else SCALE * value


def _facts(report: Report, records: Sequence[Record]) -> list[list[Any]]:
    """The page's facts, each a number, a word, and whether it is bad news."""
    count = Counter(str(record.status) for record in records)
    entries = [entry for table in report.tables for row in table.rows for entry in row.entries.values()]
    fallen = sum(len(entry.cell.collapsed) for entry in entries)

    def plural(number: int, word: str) -> list[Any]:
        return [f"{number:,}", word if number == 1 else f"{word}s", False]

    facts = [
        plural(count["done"], "finished run"),
        plural(len({record.adapter for record in records}), "method"),
        plural(len({record.task for record in records}), "task"),
        plural(len({record.model for record in records}), "model"),
        plural(len(entries), "cell"),
    ]
    facts += [[f"{count[status]:,}", status, True] for status in NOT_DONE if count[status]]
    if fallen:
        facts.append([f"{fallen:,}", "collapsed to one answer", True])
    if report.trials:
        facts.append([f"{report.trials:,}", "tuning trials, in no table", False])
    return facts


def _table(table: Table, cells: list[dict[str, Any]], points: int) -> dict[str, Any]:
    """One table. Its cells are appended to `cells`, and the table refers to them by position."""
    columns = {column.key: column for column in table.columns}
    rows = []
    for row in table.rows:
        places = {}
        for key, entry in row.entries.items():
            places[columns[key].label] = len(cells)
            cells.append(_cell(row, entry, columns[key].label, points))
        rows.append(_row(row, table, places, cells))
    model, protocol, *kinds = table.title.split(" | ")
    averaged = sum(column.averaged for column in table.columns)
    return {
        "model": table.model,
        "protocol": table.protocol,
        "name": " · ".join([model, protocol.split(":")[0].removeprefix("protocol "), *kinds]),
        "kinds": kinds,
        "head": protocol,
        "formula": table.formula,
        "average_of": averaged if averaged > 1 else 0,  # a single task has no average
        "ranks": _ranks(table),
        "tasks": [
            {
                "name": c.label, "task": c.task, "metric": c.metric, "averaged": c.averaged,
                "rows": _report_rows(table, c.key),
            }
            for c in table.columns
        ],
        "rows": rows,
        "notes": table.notes,
    }  # fmt: skip


def _ranks(table: Table) -> str | None:
    """Friedman's test and Nemenyi's critical difference in words."""
    ranks = table.ranks
    if ranks is None:
        return None
    said = f"two rows differ significantly if their ranks differ by more than {fix(ranks.critical_difference, 2)}"
    tasks, p = len(ranks.tasks), ranks.friedman_p
    return f"average ranks over {tasks} tasks, 1 is best: {said} (Nemenyi); Friedman p {probability(p)}"


def _row(
    row: Row, table: Table, places: Mapping[str, int], cells: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    average, costs = row.average, row.costs
    mine = [cells[place] for place in places.values()]
    chosen = [cell["selection"] for cell in mine if cell["selection"] is not None]
    return {
        "label": row.label,
        "method": row.adapter,
        "cells": places,
        "average": points_of(average.summary.mean) if average else None,
        "average_n": average.tasks if average else 0,
        "average_std": points_of(average.summary.std) if average else None,
        "average_low": points_of(average.summary.low) if average else None,
        "average_high": points_of(average.summary.high) if average else None,
        "average_top": average is not None and average.standing == "top",
        "average_letters": average.letters if average else "",
        "rank": table.ranks.average.get(row.label) if table.ranks else None,
        "selection": fmean(chosen) if chosen else None,
        "adapter": _high(costs.adapter),
        "tuned_percent": _high(costs.tuned_percent),
        "tuned": _high(costs.tuned),
        "tuned_low": _low(costs.tuned),
        "trainable": _high(costs.trainable),
        "trainable_low": _low(costs.trainable),
        "step": _median(cell["step"] for cell in mine),
        "step_ratio": costs.step_vs_lora,
        "train": costs.train_seconds,
        "memory": costs.peak_memory,
        "bytes": costs.adapter_bytes,
        "latency": costs.latency_unmerged_ms,
        "latency_merged": costs.latency_merged_ms,
        "tuning_runs": costs.tuning_runs,
        "tuning_seconds": costs.tuning_seconds,
    }


def _cell(row: Row, entry: Entry, column: str, points: int) -> dict[str, Any]:
    cell, summary = entry.cell, entry.summary
    done = cell.done
    params = [record.params for record in done if record.params]
    chosen = [value for record in done if (value := record.selection_score) is not None]
    return {
        "task": column,
        "label": row.label,
        "method": row.adapter,
        "metric": cell.metric,
        "n": summary.n if summary else 0,
        "mean": points_of(summary.mean) if summary else None,
        "std": points_of(summary.std) if summary else None,
        "low": points_of(summary.low) if summary else None,
        "high": points_of(summary.high) if summary else None,
        "standing": entry.standing,
        "letters": entry.letters,
        "rows_error": points_of(entry.rows_error),
        "rest": points_of(entry.mean_of_the_rest),
        "p": entry.p,
        "mark": cell_marks(cell),
        "mixed": cell.marks,
        "seeds": [
            [seed, points_of(value), *([1] if seed in cell.collapsed else [])]
            for seed, value in sorted(cell.values.items())
        ],
        "collapsed": len(cell.collapsed),
        **{status: cell.count(status) for status in NOT_DONE if cell.count(status)},
        "selection": points_of(fmean(chosen)) if chosen else None,
        "tuned": max((p.tuned for p in params), default=None),
        "trainable": max((p.trainable for p in params), default=None),
        "bytes": max((r.cost.adapter_bytes for r in done if r.cost.adapter_bytes is not None), default=None),
        "step": _median(record.cost.step_seconds_median for record in done if record.cost.lanes == 1),
        "train": _median(record.cost.train_seconds for record in done),
        "curves": [curve for record in done if (curve := _curve(record, points))],
    }


def _curve(record: Record, points: int) -> dict[str, Any] | None:
    """A learning curve as columns, thinned out evenly, first and last point kept; None below two points."""
    entries = record.curve
    if len(entries) < 2:
        return None
    if len(entries) > points:
        last = len(entries) - 1
        entries = tuple(entries[round(k * last / (points - 1))] for k in range(points))
    curve: dict[str, Any] = {"s": record.seed}
    for key, name in CURVE_FIELDS.items():
        values = [getattr(entry, name) for entry in entries]
        curve[key] = [points_of(value) for value in values] if name == "score" else values
    return curve


def _points_a_curve(records: Iterable[Record]) -> int:
    curves = sum(len(record.curve) > 1 for record in records)
    fewest, most = CURVE_POINTS
    return max(fewest, min(most, CURVE_VALUES // (len(CURVE_FIELDS) * max(1, curves))))


def _runs(records: Sequence[Record]) -> dict[str, list[Any]]:
    """The runs as one list for each column, which is the smallest JSON for many runs."""
    return {
        "run_id": [r.run_id for r in records],
        "status": [r.status for r in records],
        "model": [r.model for r in records],
        "adapter": [r.adapter for r in records],
        "task": [r.task for r in records],
        "seed": [r.seed for r in records],
        "protocol": [r.protocol for r in records],
        "lr": [learning_rate(r) for r in records],
        "score": [points_of(r.headline.value) if r.headline else None for r in records],
        "step": [r.best.step if r.best else None for r in records],
        "train": [r.cost.train_seconds for r in records],
        "reason": [r.reason for r in records],
    }


def _report_rows(table: Table, key: str) -> int | None:
    """The number of rows on which a column's runs were scored."""
    cells: Iterable[Cell] = (row.entries[key].cell for row in table.rows if key in row.entries)
    return next((run.headline.n for cell in cells for run in cell.done if run.headline), None)


def _median(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return median(there) if there else None


def _high(span: Span | None) -> float | None:
    return span.high if span else None


def _low(span: Span | None) -> float | None:
    return span.low if span else None
