"""Which method to use: the cheapest of those that are not significantly below the best, under given limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petbench.report.cells import Cell
from petbench.report.collapse import learnt
from petbench.report.layout import Column, Row, Span, Table
from petbench.report.sides import Read
from petbench.report.standings import Verdict, judge_average, judge_column, verdict_of
from petbench.report.verdicts import Judged, judge

FEWEST_RUNS = 2


@dataclass(frozen=True)
class Limits:
    """What a method may cost at most; None means no limit."""

    params: float | None = None  # tuned parameters, without the head
    percent: float | None = None  # of the backbone
    latency_ms: float | None = None  # as it is served: merged if the method merges
    memory: float | None = None  # peak bytes of training
    train_seconds: float | None = None  # of one run
    mergeable: bool = False


@dataclass(frozen=True)
class Step:
    """A row that costs more than the recommended one and scores higher than all cheaper rows.

    judged: the comparison with the recommended row, not corrected for other comparisons.
    """

    row: Row
    within: bool  # whether it is within the limits
    judged: Judged


@dataclass(frozen=True)
class LeftOut:
    """Why a row cannot be recommended: `what`, and the measured value, if there is one."""

    what: str
    found: float | None = None


@dataclass(frozen=True)
class Answer:
    """The answer for one table. `pick` is None when no row can be recommended.

    columns: the columns that decide; empty when the table's columns have no common mean. candidates: how many rows are
    within the limits. group: those of them that are not significantly below the highest, cheapest first. told: whether
    any row within the limits is significantly below the highest. left_out: label of a row -> why.
    """

    table: Table
    columns: tuple[Column, ...]
    pick: Row | None
    group: tuple[Row, ...]
    candidates: int
    told: bool
    left_out: Mapping[str, LeftOut]
    steps: tuple[Step, ...] = ()

    @property
    def keys(self) -> list[str]:
        """The keys of the columns."""
        return [column.key for column in self.columns]


def recommend(table: Table, limits: Limits, read: Read) -> Answer:
    """The cheapest row of the top group within the limits, by tuned parameters, then by latency.

    With several tasks the mean over all of them decides, and only rows with all tasks count. The top group is that of
    the rows within the limits, all pairs tested together (see `report.statistics.column`).
    """
    wanted = [column for column in table.columns if column.averaged]
    if len(wanted) < 2:
        wanted = list(table.columns) if len(table.columns) == 1 else []
    keys = [column.key for column in wanted]
    left_out: dict[str, LeftOut] = {}
    able: list[Row] = []
    for row in table.rows if wanted else ():
        why = _unfit(row, keys) or _beyond(row, limits) or _idle(row, keys)
        if why:
            left_out[row.label] = why
        else:
            able.append(row)
    if not able:
        return Answer(table, tuple(wanted), None, (), 0, False, left_out)
    verdicts = _verdicts(able, keys, _cells(table.rows), read)
    group = sorted((row for row in able if verdicts[row.label][0] != "behind"), key=price)
    told = any(standing == "behind" for standing, _, _ in verdicts.values())
    steps = _steps(group[0], able, table, keys, read)
    return Answer(table, tuple(wanted), group[0], tuple(group), len(able), told, left_out, steps)


def mean(row: Row, keys: Sequence[str]) -> float:
    """The mean over tasks of a row's headline scores, in [-1, 1]."""
    scores = [entry.summary.mean for key in keys if (entry := row.entries[key]).summary is not None]
    return sum(scores) / len(scores)


def served_latency(row: Row) -> float | None:
    """Milliseconds for one answer as the method is served: merged if it merges; None when it was not measured."""
    costs = row.costs
    return costs.latency_merged_ms if costs.latency_merged_ms is not None else costs.latency_unmerged_ms


def mergeable(row: Row) -> bool:
    """Whether every finished run of a row can be merged into the backbone's weights."""
    runs = [run for entry in row.entries.values() for run in entry.cell.done]
    return bool(runs) and all(run.merge is not None and run.merge.mergeable for run in runs)


def _unfit(row: Row, keys: Sequence[str]) -> LeftOut | None:
    """Why a row has too few finished runs to be judged; None when it has enough."""
    runs = [len(row.entries[key].cell.values) if key in row.entries else 0 for key in keys]
    if min(runs) == 0:
        return LeftOut("no finished run" if len(keys) == 1 else "not all tasks")
    return LeftOut("a single run, which says nothing about the spread") if min(runs) < FEWEST_RUNS else None


def _idle(row: Row, keys: Sequence[str]) -> LeftOut | None:
    """A row whose runs learnt nothing on any task: a wide interval does not make it as good as others."""
    runs = [run for key in keys for run in row.entries[key].cell.done]
    return (
        None if any(map(learnt, runs)) else LeftOut("nothing learnt: no better than one answer for all rows")
    )


def _beyond(row: Row, limits: Limits) -> LeftOut | None:
    """The limit that a row breaks; None when it keeps all. A limit on a cost that was not measured is broken."""
    if limits.mergeable and not mergeable(row):
        return LeftOut("does not merge")
    costs = row.costs
    for name, most, found in (
        ("tuned parameters", limits.params, _most(costs.tuned)),
        ("percent of the backbone", limits.percent, _most(costs.tuned_percent)),
        ("latency in ms", limits.latency_ms, served_latency(row)),
        ("peak memory in bytes", limits.memory, costs.peak_memory),
        ("seconds of training", limits.train_seconds, costs.train_seconds),
    ):
        if most is not None and found is None:
            return LeftOut(f"{name} not measured")
        if most is not None and found is not None and found > most:
            return LeftOut(f"over the limit of {name}", found)
    return None


def _most(span: Span | None) -> float | None:
    return None if span is None else span.high


def price(row: Row) -> tuple[float, float, str]:
    """The order of rows by cost: tuned parameters, then latency, then the label."""
    tuned = row.costs.tuned
    return (float("inf") if tuned is None else tuned.high, served_latency(row) or float("inf"), row.label)


def _cells(rows: Sequence[Row]) -> list[Cell]:
    return [entry.cell for row in rows for entry in row.entries.values()]


def _verdicts(
    rows: Sequence[Row], keys: Sequence[str], table: Sequence[Cell], read: Read
) -> dict[str, Verdict]:
    """Label -> standing of the row among these rows."""
    judged = [judge_column(key, _cells(rows), read, table) for key in keys]
    if len(keys) == 1:
        return {row.label: verdict_of(judged[0].pairs, row.entries[keys[0]].cell.row_key) for row in rows}
    cells = {(row.adapter, row.label): {key: row.entries[key].cell for key in keys} for row in rows}
    found = judge_average(judged, cells, keys)
    return {label: found.get((adapter, label), ("none", None, "")) for adapter, label in cells}


def _steps(pick: Row, able: Sequence[Row], table: Table, keys: Sequence[str], read: Read) -> tuple[Step, ...]:
    """From the recommended row on, by cost: each row with a higher mean than all before it."""
    allowed = {row.label for row in able}
    larger = [row for row in table.rows if not _unfit(row, keys) and price(row) > price(pick)]
    steps: list[Step] = []
    highest = mean(pick, keys)
    for row in sorted(larger, key=price):
        if mean(row, keys) > highest:
            highest = mean(row, keys)
            larger_side, side = ([each.entries[key].cell for key in keys] for each in (row, pick))
            judged = judge(larger_side, side, _cells(table.rows), read)[-1]
            steps.append(Step(row, row.label in allowed, judged))
    return tuple(steps)
