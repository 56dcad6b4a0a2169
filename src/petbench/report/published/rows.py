"""Whether a published number was measured on our rows, and otherwise how much other rows may change it."""

from dataclasses import replace
from statistics import fmean

from petbench.errors import UserError
from petbench.report.cells import Cell
from petbench.report.published.numbers import Published
from petbench.report.sides import Read, side_of
from petbench.report.statistics.difference import rows_error
from petbench.tasks.glue import task_named

WHOLE = (
    "dev",
    "official validation",
)  # beginnings of the `split` of a number that was measured on all validation rows


def rows_variance(number: Published, cell: Cell, read: Read) -> float | None:
    """The variance (score²) of ours minus theirs that comes from different rows; 0 on the same rows, None if unknown.

    Their rows are assumed to be as many and as hard as our m rows and to share none with them, so it is twice the
    variance of our mean over rows. That is estimated from stored answers; without them, for an accuracy p, by
    p·(1 − p)/m.
    """
    headline = next((run.headline for run in cell.done if run.headline), None)
    if headline is None or same_rows(number, cell.task, headline.split, headline.n):
        return 0.0
    by_row = side_of(replace(cell, metric=number.metric_id), read).rows
    if by_row is not None:
        return 2 * rows_error(by_row) ** 2
    if number.metric_id == cell.metric == "accuracy":
        p = fmean(cell.values.values())
        return 2 * p * (1 - p) / headline.n
    return None


def same_rows(number: Published, task: str, split: str, rows: int) -> bool:
    """Whether their rows and ours are both the whole official validation split."""
    try:
        whole = task_named(task).rows.get(split) == rows
    except UserError:
        return False
    return whole and number.split.startswith(WHOLE)
