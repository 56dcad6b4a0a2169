"""Whether a published number was measured on our rows, and what other rows would change where it was not."""

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
)  # how the `split` of a number that was measured on all of validation begins


def rows_variance(number: Published, cell: Cell, read: Read) -> float | None:
    """The variance (score²) that other rows bring into ours minus theirs; 0 on the same rows, None where not known.

    Theirs are taken to be as many and as hard as ours, and none of them ours: twice the variance of our mean over
    rows of the kind. From kept answers; of accuracy also without them, p·(1 − p)/m of one run.
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
    """Whether both are the whole official validation split."""
    try:
        whole = task_named(task).rows.get(split) == rows
    except UserError:
        return False
    return whole and number.split.startswith(WHOLE)
