"""The answer of a table in sentences: how many methods are not below the highest, and the smallest of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from petbench.record.units import points
from petbench.report.layout import Average, Entry, Row, Table
from petbench.report.recommend import price


@dataclass(frozen=True)
class Short:
    """A text on one column, or on the mean over the tasks; `pick` (the smallest) and `highest` are labels of rows."""

    where: str
    text: str
    pick: str
    highest: str


def in_short(table: Table) -> list[Short]:
    """A text on the mean over the tasks, if the table has one, and on each column that has a finished run."""
    whole = [(row, row.average) for row in table.rows if row.average is not None and row.average.complete]
    found = [_short(f"the mean of {whole[0][1].of} tasks", whole)] if whole else []
    for column in table.columns:
        there = [(row, row.entries[column.key]) for row in table.rows if column.key in row.entries]
        done = [(row, entry) for row, entry in there if entry.summary is not None]
        if done:
            found.append(_short(column.label, done))
    return found


def _short(where: str, placed: Sequence[tuple[Row, Entry | Average]]) -> Short:
    values = {row.label: 0.0 if it.summary is None else it.summary.mean for row, it in placed}
    highest = max((row for row, _ in placed), key=lambda row: values[row.label])
    group = [row for row, it in placed if it.standing in ("top", "level")]
    score = f"{highest.label} {points(values[highest.label])}"
    if not group:
        lone = "one method alone" if len(placed) == 1 else "single runs, which say nothing about the spread"
        text = f"On {where}: {lone}; the highest is {score}."
        return Short(where, text, highest.label, highest.label)
    judged = sum(it.standing != "none" for _, it in placed)
    pick = min(group, key=price)
    smallest = _cost(pick, values[pick.label])
    if len(group) == 1:
        text = (
            f"On {where}, {highest.label} is significantly better than all others ({judged - 1}): {smallest}."
        )
    elif len(group) == judged:
        text = (
            f"On {where}, no two of the {judged} methods differ significantly; the smallest is {pick.label}: "
            f"{smallest}. The highest is {score}; more seeds may show a difference."
        )
    else:
        text = (
            f"On {where}, {len(group)} of {judged} methods are not significantly below the highest, {score}. The "
            f"smallest of them is {pick.label}: {smallest}."
        )
    return Short(where, text, pick.label, highest.label)


def _cost(row: Row, value: float) -> str:
    """`18,432 tuned parameters, 81.9`"""
    tuned = row.costs.tuned
    return points(value) if tuned is None else f"{tuned.high:,.0f} tuned parameters, {points(value)}"
