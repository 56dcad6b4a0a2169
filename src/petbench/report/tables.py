"""From records to a Report: one table of methods and tasks for each model, protocol and kind of rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from petbench.record import Record
from petbench.report.budgets import searched
from petbench.report.cells import Cell, group
from petbench.report.costs import LORA, row_costs
from petbench.report.labels import column_labels, row_labels, title
from petbench.report.layout import Average, Column, Report, Row, Table
from petbench.report.notes import table_notes
from petbench.report.settings import Where, select
from petbench.report.sides import Read, no_answers
from petbench.report.standings import JudgedColumn, judge_average, judge_column, mean_interval
from petbench.report.statistics.intervals import Summary
from petbench.report.statistics.ranks import Ranks, average_ranks
from petbench.tasks.glue import NAMES, NOT_AVERAGED


def build(
    records: Sequence[Record],
    where: Where | None = None,
    include_wnli: bool = False,
    read: Read = no_answers,
) -> Report:
    """The report of the records that `where` selects. read: run -> its stored answers.

    Raises UserError when `where` names a setting that no record has.
    """
    kept = select(records, where or {})
    cells = group(kept)
    by_table: dict[str, list[Cell]] = {}
    for cell in cells:
        by_table.setdefault(cell.table_key, []).append(cell)
    names = Counter((members[0].model, members[0].protocol) for members in by_table.values())
    tables = []
    for members in by_table.values():
        first = members[0]
        alike = [
            other[0].table_settings
            for other in by_table.values()
            if (other[0].model, other[0].protocol) == (first.model, first.protocol)
        ]
        several = names[first.model, first.protocol] > 1
        tables.append(_table(members, title(members, alike if several else []), include_wnli, read))
    trials = sum(record.is_trial for record in kept)
    counts: Counter[str] = Counter(record.status for record in kept if not record.is_trial)
    return Report(tuple(tables), counts, trials, searched(kept))


def _table(cells: Sequence[Cell], heading: str, include_wnli: bool, read: Read) -> Table:
    columns = _columns(cells, include_wnli)
    judged = {column.key: judge_column(column.key, cells, read) for column in columns}
    placed: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Cell]]] = {}
    for cell, (label, settings) in row_labels(cells):
        placed.setdefault((cell.adapter, label), (settings, {}))[1][cell.column_key] = cell
    lora = next((members for (adapter, _), (_, members) in placed.items() if adapter in LORA), {})
    averages = _averages({name: members for name, (_, members) in placed.items()}, columns, judged)
    rows = []
    for (adapter, label), (settings, members) in placed.items():
        entries = {}
        for key, cell in members.items():
            entries[key] = judged[key].entry(cell)
        average = averages.get((adapter, label))
        rows.append(Row(adapter, label, settings, entries, average, row_costs(members, lora)))
    rows.sort(key=_row_order)
    return Table(
        model=cells[0].model,
        protocol=cells[0].protocol,
        title=heading,
        columns=columns,
        rows=tuple(rows),
        formula=_formula(columns, include_wnli),
        ranks=_ranks(rows, columns),
        notes=table_notes(cells, rows, {column.label: judged[column.key].prior for column in columns}),
    )


def _columns(cells: Sequence[Cell], include_wnli: bool) -> tuple[Column, ...]:
    first: dict[str, Cell] = {}
    for cell in cells:
        if cell.column_key not in first or (cell.metric and not first[cell.column_key].metric):
            first[cell.column_key] = cell
    labels = column_labels(list(first.values()))
    per_task = Counter(cell.task for cell in first.values())
    columns = [
        Column(
            key,
            cell.task,
            labels[key],
            cell.metric,
            averaged=per_task[cell.task] == 1
            and (cell.task not in NOT_AVERAGED or (include_wnli and cell.task == "wnli"))
            and cell.column_settings.get("task.train_examples") is None,
        )
        for key, cell in first.items()
    ]
    order = {task: place for place, task in enumerate(NAMES)}
    size = {key: cell.column_settings.get("task.train_examples") or 0 for key, cell in first.items()}
    columns.sort(key=lambda column: (order.get(column.task, 99), column.task, size[column.key], column.label))
    return tuple(columns)


def _averages(
    rows: Mapping[tuple[str, str], Mapping[str, Cell]],
    columns: Sequence[Column],
    judged: Mapping[str, JudgedColumn],
) -> dict[tuple[str, str], Average]:
    """Macro means over k tasks, with standard error √(Σ se²)/k; and std if all averaged tasks have the same seeds."""
    wanted = [column.key for column in columns if column.averaged]
    if len(wanted) < 2:
        return {}
    means = {
        name: {key: fmean(cells[key].values.values()) for key in wanted if key in cells and cells[key].values}
        for name, cells in rows.items()
    }
    verdicts = judge_average([judged[key] for key in wanted], rows, wanted)
    averages = {}
    for name, tasks in means.items():
        if len(tasks) < 2:
            continue
        seeds = [set(rows[name][key].values) for key in tasks]
        std = None
        if all(each == seeds[0] for each in seeds) and len(seeds[0]) > 1:
            std = stdev(fmean(rows[name][key].values[seed] for key in tasks) for seed in seeds[0])
        low, high = mean_interval(
            [judged[key].spread(rows[name][key]) for key in tasks], fmean(tasks.values())
        )
        short = Summary(min(map(len, seeds)), fmean(tasks.values()), std, low, high)
        averages[name] = Average(short, len(tasks), len(wanted), *verdicts.get(name, ("none", None, "")))
    return averages


def _formula(columns: Sequence[Column], include_wnli: bool) -> str:
    names = [column.label for column in columns if column.averaged]
    if len(names) < 2:
        return ""
    left = [column.label for column in columns if not column.averaged]
    tail = f"; left out: {', '.join(left)}" if left else ""
    return (
        f"average = unweighted mean of the headline metrics of {', '.join(names)} ({len(names)} tasks){tail}"
    )


def _ranks(rows: Sequence[Row], columns: Sequence[Column]) -> Ranks | None:
    """The average ranks of the rows that have every averaged column."""
    wanted = [column for column in columns if column.averaged]
    scores = {}
    for row in rows:
        found = {
            column.label: entry.summary.mean
            for column in wanted
            if (entry := row.entries.get(column.key)) is not None and entry.summary is not None
        }
        if len(found) == len(wanted):
            scores[row.label] = found
    return average_ranks(scores)


def _row_order(row: Row) -> tuple[int, float, str]:
    """The order of rows: complete ones first, then by average from high to low, then by label."""
    if row.average is not None:
        return (0 if row.average.complete else 1), -row.average.summary.mean, row.label
    scores = [entry.summary.mean for entry in row.entries.values() if entry.summary is not None]
    return 2, -(fmean(scores) if scores else -1.0), row.label
