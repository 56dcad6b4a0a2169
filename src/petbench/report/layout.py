"""The report as plain data, which every writer (terminal, Markdown, CSV, LaTeX, page) shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from petbench.report.budgets import Searched
from petbench.report.cells import Cell
from petbench.report.statistics.intervals import Summary
from petbench.report.statistics.ranks import Ranks

# All pairs of a column are tested together. top: in the top group, not significantly below the highest row; behind:
# significantly below it; level: no two rows of the column differ significantly; none: fewer than two runs or rows.
Standing = Literal["top", "behind", "level", "none"]


@dataclass(frozen=True)
class Column:
    """One task with its data settings; `label` names the settings if two columns share a task."""

    key: str
    task: str
    label: str
    metric: str
    averaged: bool  # whether it is in the average


@dataclass(frozen=True)
class Entry:
    """One cell as it is shown. `summary` is None when no run finished; scores are in [-1, 1]."""

    cell: Cell
    summary: Summary | None
    standing: Standing = "none"
    p: float | None = None  # of the difference from the highest row of the column, corrected for all pairs
    letters: str = ""  # rows of a column that share a letter do not differ significantly
    rows_error: float | None = (
        None  # standard error of the mean for other rows of the kind, if answers were stored
    )

    @property
    def mean_of_the_rest(self) -> float | None:
        """The mean of the runs that did not collapse; None when none collapsed or all did."""
        rest = [value for seed, value in self.cell.values.items() if seed not in self.cell.collapsed]
        return fmean(rest) if rest and self.cell.collapsed else None


@dataclass(frozen=True)
class Average:
    """The macro mean over a row's averaged columns; rows that lack one of these columns are not compared."""

    summary: Summary
    tasks: int
    of: int
    standing: Standing = "none"
    p: float | None = None
    letters: str = ""

    @property
    def complete(self) -> bool:
        """Whether no column is missing."""
        return self.tasks == self.of


@dataclass(frozen=True)
class Span:
    """The smallest and the largest value over a row's cells."""

    low: float
    high: float


@dataclass(frozen=True)
class Costs:
    """What a row costs, over its finished runs; None when it was not measured."""

    adapter: Span | None = None  # parameters of the adapter alone
    tuned: Span | None = None  # parameters of adapter, norms and other trained parts: all but the head
    tuned_percent: Span | None = None  # tuned, in percent of the backbone
    trainable: Span | None = None  # parameters, head included
    step_seconds: Span | None = None
    step_vs_lora: float | None = None  # geometric mean over shared columns
    peak_memory: float | None = None  # bytes, the largest of all runs
    adapter_bytes: float | None = None  # the largest of all runs
    latency_unmerged_ms: float | None = None  # median over the runs
    latency_merged_ms: float | None = None
    train_seconds: float | None = None  # median over the runs
    tuning_runs: int | None = None  # trials that chose the setting; not among the runs shown
    tuning_seconds: float | None = None


@dataclass(frozen=True)
class Row:
    """One method in one setting; `label` names the settings if several rows share a method."""

    adapter: str
    label: str
    settings: Mapping[str, Any]  # the settings in the label
    entries: Mapping[str, Entry]  # column key -> entry
    average: Average | None
    costs: Costs


@dataclass(frozen=True)
class Table:
    """One model under one protocol on one kind of rows."""

    model: str
    protocol: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    formula: str  # of the average
    ranks: Ranks | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """All tables of a set of records."""

    tables: tuple[Table, ...]
    counts: Mapping[str, int]  # status -> runs
    trials: int  # number of tuning trials, which are in no table
    searched: tuple[Searched, ...] = ()  # expected best of k of these trials, by method and task
