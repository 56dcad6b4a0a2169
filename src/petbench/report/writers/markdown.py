"""The report as Markdown."""

import re
from collections.abc import Sequence
from html import escape

from petbench.console import shown
from petbench.record.units import NOTHING, score
from petbench.report.layout import Average, Entry, Report, Table
from petbench.report.notes import cell_marks
from petbench.report.writers.numerals import (
    COST_HEADS,
    SEARCHED_NOTE,
    SEARCHED_TITLE,
    cost_cells,
    head,
    interval,
    rank_line,
    searched_cells,
    searched_heads,
    spread,
    used,
)


def to_markdown(report: Report) -> str:
    """All tables: scores, then costs, then average ranks and notes."""
    parts = ["# petbench report", counts_line(report)]
    for table in report.tables:
        parts += _table(table)
    if report.searched:
        lines = [[_name(text) for text in searched_cells(line, report.searched)] for line in report.searched]
        parts += [
            f"## {SEARCHED_TITLE}",
            _grid(searched_heads(report.searched), lines),
            f"- {SEARCHED_NOTE}",
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def counts_line(report: Report) -> str:
    """`40 runs: 38 done, 2 failed; 16 tuning runs not counted`"""
    listed = ", ".join(f"{number} {status}" for status, number in sorted(report.counts.items()))
    trials = f"; {report.trials} tuning runs not counted" if report.trials else ""
    return f"{sum(report.counts.values())} runs: {listed or 'none'}{trials}"


def entry_text(entry: Entry | None) -> str:
    """`**86.1** ± 0.3 †1 [85.8, 86.4] n=5`"""
    if entry is None:
        return NOTHING
    marks = cell_marks(entry.cell)
    if entry.summary is None:
        return " ".join(filter(None, ["no run", marks]))
    short = entry.summary
    parts = [_bold(score(short.mean), entry.standing == "top"), spread(short), marks, interval(short)]
    return " ".join(filter(None, [*parts, f"n={short.n}"]))


def average_text(average: Average | None) -> str:
    """The same for an average, with `5/8` if tasks are missing."""
    if average is None:
        return NOTHING
    short = average.summary
    parts = [_bold(score(short.mean), average.standing == "top"), spread(short), interval(short)]
    return " ".join(filter(None, [*parts, "" if average.complete else f"{average.tasks}/{average.of}"]))


def _table(table: Table) -> list[str]:
    averaged = any(row.average is not None for row in table.rows)
    heads = ["method", *(_name(head(column)) for column in table.columns), *(["average"] if averaged else [])]
    scores = [
        [_name(row.label), *(entry_text(row.entries.get(column.key)) for column in table.columns)]
        + ([average_text(row.average)] if averaged else [])
        for row in table.rows
    ]
    costs = [cost_cells(row.costs) for row in table.rows]
    shown = used(costs)
    parts = [f"## {_name(table.title)}", _grid(heads, scores)]
    if shown:
        lines = [
            [_name(row.label), *(cells[index] for index in shown)]
            for row, cells in zip(table.rows, costs, strict=True)
        ]
        parts.append(_grid(["method", *(COST_HEADS[index] for index in shown)], lines))
    notes = [note for note in (table.formula, rank_line(table.ranks), *table.notes) if note]
    parts.append("\n".join(f"- {_name(note)}" for note in notes))
    return parts


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(_one_cell(text) for text in line)} |" for line in lines)


_READ_BY_MARKDOWN = re.compile(r"([\\`*\[\]])")


def _name(text: str) -> str:
    """A user's name as plain text, escaped so that no HTML, link, image, emphasis or code is read in it."""
    return escape(_READ_BY_MARKDOWN.sub(r"\\\1", " ".join(shown(text).split())), quote=False)


def _one_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _bold(text: str, yes: bool) -> str:
    return f"**{text}**" if yes else text
