"""The standing of every cell of a column: its interval, whether it is in the top group, its letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from petbench.report.cells import Cell
from petbench.report.layout import Entry, Standing
from petbench.report.sides import Read, prior_for, prior_of, side_of
from petbench.report.statistics.column import Column, Parts, all_pairs, averaged, parts_of
from petbench.report.statistics.difference import Side, rows_error, seeds_variance
from petbench.report.statistics.intervals import CONFIDENCE, summary, t_quantile
from petbench.report.statistics.moderation import Prior, Variance

# standing, corrected p of the difference from the highest, letters
Verdict = tuple[Standing, float | None, str]


@dataclass(frozen=True)
class JudgedColumn:
    """One column's cells as sides of a test, all pairs tested together; `pairs` is None below two such cells."""

    sides: Mapping[str, Side]  # row key -> side
    prior: Prior | None
    parts: Parts | None
    pairs: Column | None

    def entry(self, cell: Cell) -> Entry:
        """The cell as tables show it."""
        side = self.sides[cell.row_key]
        if not side.scores:
            return Entry(cell, None)
        short = summary(side.scores, prior_for(cell, self.prior))
        error = None if side.rows is None else rows_error(side.rows)
        return Entry(cell, short, *verdict_of(self.pairs, cell.row_key), error)

    def spread(self, cell: Cell) -> Variance | None:
        """The variance of the cell's mean due to seeds (score²); None below two runs."""
        side = self.sides[cell.row_key]
        if side.n < 2:
            return None
        found = seeds_variance(side, prior_for(cell, self.prior))
        return Variance(found.value / side.n, found.df)


def judge_column(
    key: str, cells: Sequence[Cell], read: Read, table: Sequence[Cell] | None = None
) -> JudgedColumn:
    """The cells of one column, all pairs tested together.

    table: all cells of the table, if `cells` are only some of them; the variance over seeds is moderated by all.
    """
    column = [cell for cell in cells if cell.column_key == key]
    whole = cells if table is None else table
    prior = prior_of([cell for cell in whole if cell.column_key == key], whole)
    sides = {cell.row_key: side_of(cell, read) for cell in column}
    parts = parts_of(sides, {cell.row_key: prior_for(cell, prior) for cell in column})
    return JudgedColumn(sides, prior, parts, None if parts is None else all_pairs(parts))


def verdict_of(pairs: Column | None, name: str) -> Verdict:
    """The standing of one row, from all pairs of its column."""
    if pairs is None or name not in pairs.names:
        return "none", None, ""
    if not pairs.apart.any():
        return "level", pairs.p_from_top[name], ""
    standing: Standing = "top" if name in pairs.top else "behind"
    return standing, pairs.p_from_top[name], pairs.letters[name]


def judge_average(
    columns: Sequence[JudgedColumn],
    rows: Mapping[tuple[str, str], Mapping[str, Cell]],
    wanted: Sequence[str],
) -> Mapping[tuple[str, str], Verdict]:
    """(adapter, label) -> verdict on the mean over tasks, for rows with every averaged column; all pairs together."""
    tasks = []
    for column, key in zip(columns, wanted, strict=True):
        if column.parts is None:
            return {}
        names = {cells[key].row_key: "\t".join(name) for name, cells in rows.items() if key in cells}
        tasks.append(column.parts.named(names))
    parts = averaged(tasks)
    if parts is None:
        return {}
    pairs = all_pairs(parts)
    return {name: verdict_of(pairs, "\t".join(name)) for name in rows}


def mean_interval(spreads: Sequence[Variance | None], mean: float) -> tuple[float | None, float | None]:
    """95 % interval of a mean over k tasks, mean ± t · √(Σ vᵢ)/k with Satterthwaite's degrees of freedom.

    spreads: the variances vᵢ of the tasks' means. (None, None) when one of them is None.
    """
    known = [spread for spread in spreads if spread is not None]
    if len(known) < len(spreads):
        return None, None
    k = len(known)
    total = sum(spread.value for spread in known) / k**2
    below = sum((spread.value / k**2) ** 2 / spread.df for spread in known)
    half = t_quantile((1 + CONFIDENCE) / 2, max(1.0, total**2 / below) if below else float("inf")) * sqrt(
        total
    )
    return mean - half, mean + half
