"""The report as plain data: what every writer (terminal, Markdown, CSV, LaTeX, page) shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from petbench.report.budgets import Searched
from petbench.report.cells import Cell
from petbench.report.statistics.intervals import Summary
from petbench.report.statistics.ranks import Ranks

# All pairs of a column are looked at together. top: in the top group, the rows not told from the highest; behind:
# told from it; level: no row of the column is told from another; none: fewer than two runs, or no other row.
Standing = Literal["top", "behind", "level", "none"]


@dataclass(frozen=True)
class Column:
    """One task as it was run; `label` names settings where two columns share a task."""

    key: str
    task: str
    label: str
    metric: str
    averaged: bool  # whether it is in the average


@dataclass(frozen=True)
class Entry:
    """One cell as shown: `summary` is None when no run finished; scores are in [-1, 1]."""

    cell: Cell
    summary: Summary | None
    standing: Standing = "none"
    p: float | None = None  # against the highest row of the column, corrected for all pairs
    letters: str = ""  # rows of a column that share a letter are not told apart
    rows_error: float | None = None  # standard error for other rows of the kind, where answers were kept

    @property
    def mean_of_the_rest(self) -> float | None:
        """The mean of the runs that did not collapse; None where none collapsed or all did."""
        rest = [value for seed, value in self.cell.values.items() if seed not in self.cell.collapsed]
        return fmean(rest) if rest and self.cell.collapsed else None


@dataclass(frozen=True)
class Average:
    """The macro mean over the averaged columns that a row has; it is compared only when it has them all."""

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
    """Smallest and largest value over a row's cells."""

    low: float
    high: float


@dataclass(frozen=True)
class Costs:
    """What a row costs, over its finished runs; None where nothing was measured."""

    adapter: Span | None = None  # parameters of the adapter alone
    tuned: Span | None = None  # adapter, norms and other trained parts: all but the head
    tuned_percent: Span | None = None  # of the backbone
    trainable: Span | None = None  # parameters, head included
    step_seconds: Span | None = None
    step_vs_lora: float | None = None  # geometric mean over shared columns
    peak_memory: float | None = None  # bytes, largest
    adapter_bytes: float | None = None  # largest
    latency_unmerged_ms: float | None = None  # medians
    latency_merged_ms: float | None = None
    train_seconds: float | None = None  # median of a run
    tuning_runs: int | None = None  # what choosing the setting took, beside the runs shown
    tuning_seconds: float | None = None


@dataclass(frozen=True)
class Row:
    """One method in one setting; `label` names settings where rows share a method."""

    adapter: str
    label: str
    settings: Mapping[str, Any]  # those in the label
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
    trials: int  # tuning runs, in no table
    searched: tuple[Searched, ...] = ()  # what their budgets buy, by method and task
