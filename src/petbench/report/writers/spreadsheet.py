"""The report as CSV: one line for each cell, with unrounded numbers."""

import csv
import io
from collections.abc import Iterator

from petbench.report.layout import Entry, Report, Row, Table

FIELDS = (
    "model", "protocol", "table", "method", "label", "task", "column", "metric", "mean", "std",
    "low_95", "high_95", "n_seeds", "seeds", "standing", "letters", "p_from_top",
    "rows_error", "collapsed", "mean_of_the_rest", "failed", "diverged", "marks",
    "tuned_params", "tuned_percent", "trainable_params", "step_seconds", "step_vs_lora",
    "peak_memory_bytes",
    "adapter_bytes", "latency_unmerged_ms", "latency_merged_ms",
    "train_seconds", "tuning_runs", "tuning_seconds", "run_ids",
)  # fmt: skip


def to_csv(report: Report) -> str:
    """The tables as CSV. Scores are fractions; lines with task `average` hold macro means; costs are of the row."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    for table in report.tables:
        for row in table.rows:
            writer.writerows(
                {key: _no_formula(value) for key, value in line.items()} for line in _lines(table, row)
            )
    return file.getvalue()


def budgets_csv(report: Report) -> str:
    """The expected best of k trials as CSV, one line for each k; scores are fractions."""
    file = io.StringIO()
    fields = (
        "model", "protocol", "method", "task", "metric", "trials", "failed", "k", "expected_best", "seconds",
    )  # fmt: skip
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(fields)
    for each in report.searched:
        names = map(_no_formula, (each.model, each.protocol, each.method, each.task, each.metric))
        place = (*names, len(each.budgets), each.failed)
        for budget in each.budgets:
            writer.writerow((*place, budget.trials, _plain(budget.score), _plain(budget.seconds)))
    return file.getvalue()


def _no_formula(value: object) -> object:
    """The value; a text that a spreadsheet would compute (`=1+1`, `@name`) gets an apostrophe in front."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _lines(table: Table, row: Row) -> Iterator[dict[str, object]]:
    shared: dict[str, object] = {
        "model": table.model,
        "protocol": table.protocol,
        "table": table.title,
        "method": row.adapter,
    }
    shared |= {"label": row.label, **_costs(row)}
    for column in table.columns:
        entry = row.entries.get(column.key)
        if entry is not None:
            place = {"task": column.task, "column": column.label, "metric": column.metric}
            yield {**shared, **place, **_scores(entry)}
    if row.average is not None:
        short = row.average.summary
        yield {
            **shared, "task": "average", "column": f"{row.average.tasks}/{row.average.of} tasks",
            "metric": "macro mean", "mean": _plain(short.mean), "std": _plain(short.std),
            "low_95": _plain(short.low), "high_95": _plain(short.high), "n_seeds": short.n,
            "standing": row.average.standing, "letters": row.average.letters, "p_from_top": _plain(row.average.p),
        }  # fmt: skip


def _scores(entry: Entry) -> dict[str, object]:
    cell, short = entry.cell, entry.summary
    line: dict[str, object] = {
        "n_seeds": len(cell.values), "seeds": " ".join(map(str, sorted(cell.values))),
        "standing": entry.standing, "letters": entry.letters, "p_from_top": _plain(entry.p),
        "rows_error": _plain(entry.rows_error), "collapsed": len(cell.collapsed),
        "mean_of_the_rest": _plain(entry.mean_of_the_rest),
        "failed": cell.count("failed"), "diverged": cell.count("diverged"), "marks": "; ".join(cell.marks),
        "run_ids": " ".join(run.run_id for run in cell.done),
    }  # fmt: skip
    if short is not None:
        line |= {"mean": _plain(short.mean), "std": _plain(short.std)}
        line |= {"low_95": _plain(short.low), "high_95": _plain(short.high)}
    return line


def _costs(row: Row) -> dict[str, object]:
    costs = row.costs
    spans = {
        "tuned_params": costs.tuned, "tuned_percent": costs.tuned_percent,
        "trainable_params": costs.trainable, "step_seconds": costs.step_seconds,
    }  # fmt: skip
    line: dict[str, object] = {}
    for name, found in spans.items():
        if found is not None:
            ends = [_plain(found.low), _plain(found.high)]
            line[name] = ends[0] if ends[0] == ends[1] else "..".join(ends)
    line |= {
        "step_vs_lora": _plain(costs.step_vs_lora), "peak_memory_bytes": _plain(costs.peak_memory),
        "adapter_bytes": _plain(costs.adapter_bytes),
        "latency_unmerged_ms": _plain(costs.latency_unmerged_ms),
        "latency_merged_ms": _plain(costs.latency_merged_ms), "train_seconds": _plain(costs.train_seconds),
        "tuning_runs": _plain(costs.tuning_runs), "tuning_seconds": _plain(costs.tuning_seconds),
    }  # fmt: skip
    return line


def _plain(value: float | None) -> str:
    """A number with eight significant digits, so that it is the same on every machine; whole numbers in full."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) > 1 else f"{value:.8g}"
