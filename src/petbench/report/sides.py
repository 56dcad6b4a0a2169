"""Cells as the sides of a test: their scores by seed, their values by row, and the prior of their table."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from petbench.record import Answers, Record
from petbench.record.metrics.table import row_values
from petbench.report.cells import Cell
from petbench.report.statistics.difference import Side
from petbench.report.statistics.moderation import FEWEST_CELLS, Prior, fit_prior

Read = Callable[[Record], Answers | None]  # run -> its answers on its headline split, if they were stored


def no_answers(record: Record) -> Answers | None:
    """The `Read` of records without a folder: there are no answers."""
    return None


def side_of(cell: Cell, read: Read = no_answers) -> Side:
    """The finished runs of a cell by seed, with (seeds, rows) jackknife values if every run stored its answers."""
    runs = [run for run in cell.done if run.seed in cell.values]
    runs = list({run.seed: run for run in reversed(runs)}.values())[
        ::-1
    ]  # of two runs of a seed the first, as in `values`
    scores = tuple(cell.values[run.seed] for run in runs)
    rows = []
    seen: Answers | None = None
    for run in runs:
        kept = read(run)
        if kept is None or (seen is not None and not np.array_equal(kept.ids, seen.ids)):
            return Side(scores)
        seen = kept
        values = row_values(cell.metric, kept.labels.astype(np.float64), kept.answers.astype(np.float64))
        if values is None:
            return Side(scores)
        rows.append(values)
    return Side(scores, np.array(rows) if rows else None)


def headline_scores(cell: Cell) -> Sequence[float]:
    """The scores of a cell's finished runs."""
    return list(cell.values.values())


def prior_of(
    column: Sequence[Cell],
    table: Iterable[Cell],
    scores: Callable[[Cell], Sequence[float]] = headline_scores,
) -> Prior | None:
    """The prior of the variance over seeds: from the column's cells if it has ten, else from the table's; else None.

    Cells with collapsed runs are left out, since a collapse does not follow the same distribution as other runs.
    """
    for cells in (column, list(table)):
        runs = [found for cell in cells if not cell.collapsed and len(found := scores(cell)) > 1]
        spreads = [(float(np.var(found, ddof=1)), len(found) - 1) for found in runs]
        if len(spreads) >= FEWEST_CELLS:
            return fit_prior(spreads)
    return None


def prior_for(cell: Cell, prior: Prior | None) -> Prior | None:
    """The prior for a cell; None for a cell with collapsed runs, whose variance is not shrunk."""
    return None if cell.collapsed else prior
