"""Planning from a results folder: the smallest difference that so many seeds detect, and the cost of detecting one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median, variance

from petbench.errors import UserError
from petbench.report.cells import Cell
from petbench.report.sides import Read, side_of
from petbench.report.statistics.difference import residual_part, rows_part
from petbench.report.statistics.power import Design, endless_seeds, least_difference, seeds_needed

MOST_PAIRS = 50  # most pairs of methods over which the variance over rows is averaged


@dataclass(frozen=True)
class Spread:
    """The spreads on a task (variances in score²), pooled over the cells of a folder or given by the user."""

    task: str
    rows: int
    seeds_variance: float
    rows_variance: float | None  # None: no answers were stored, so plans hold for these rows only
    run_seconds: float | None  # median training time of a run
    cells: int  # number of cells that were pooled


@dataclass(frozen=True)
class Plan:
    """What `seeds` runs of each of two methods detect on a task; differences in score units."""

    spread: Spread
    seeds: int
    on_these_rows: float  # smallest true difference that is detected with power 0.8
    at_all: float | None  # the same for other rows of the kind; None when no answers were stored
    endless: float | None  # the limit of `at_all` for infinitely many seeds


def pooled(cells: Sequence[Cell], read: Read, task: str | None = None) -> list[Spread]:
    """The spreads of every task of a folder. Cells with collapsed runs and cells with one run are left out.

    Raises UserError when no cell of the task has two finished runs.
    """
    by_task: dict[str, list[Cell]] = {}
    for cell in cells:
        if len(cell.values) > 1 and not cell.collapsed and task in (None, cell.task):
            by_task.setdefault(cell.task, []).append(cell)
    if not by_task:
        raise UserError(
            f"no setting{f' of {task}' if task else ''} has two finished runs here, so the spread over seeds is not "
            "known. Run two seeds of any method, or give the spread: --seeds-std POINTS --rows N."
        )
    return [_pooled(name, members, read) for name, members in sorted(by_task.items())]


def _pooled(task: str, cells: Sequence[Cell], read: Read) -> Spread:
    weights = [len(cell.values) - 1 for cell in cells]
    seeds = sum(w * variance(cell.values.values()) for w, cell in zip(weights, cells, strict=True)) / sum(
        weights
    )
    runs = [run for cell in cells for run in cell.done]
    kept = [side.rows for cell in cells if (side := side_of(cell, read)).rows is not None]
    rows = [table for table in kept if table is not None]
    between = []
    for a, b in list(combinations(rows, 2))[:MOST_PAIRS]:
        if a.shape[1] == b.shape[1]:
            m = a.shape[1]
            between.append(max(rows_part(a, b) - residual_part(a) - residual_part(b), 0.0) * m)
    seconds = [run.cost.train_seconds for run in runs if run.cost.train_seconds is not None]
    return Spread(
        task=task,
        rows=next((run.headline.n for run in runs if run.headline), 0),
        seeds_variance=seeds,
        rows_variance=fmean(between) if between else None,
        run_seconds=median(seconds) if seconds else None,
        cells=len(cells),
    )


def plan(spread: Spread, seeds: int) -> Plan:
    """What so many seeds of each of two methods would detect."""
    here = Design(seeds, max(spread.rows, 2), spread.seeds_variance)
    if spread.rows_variance is None:
        return Plan(spread, seeds, least_difference(here), None, None)
    kind = Design(seeds, spread.rows, spread.seeds_variance, spread.rows_variance)
    return Plan(spread, seeds, least_difference(here), least_difference(kind), endless_seeds(kind))


def cost(spread: Spread, wanted: float) -> Mapping[str, float | None]:
    """Seeds of each of two methods that detect a difference (score units), runs in total, and hours of training."""
    design = Design(2, max(spread.rows, 2), spread.seeds_variance, spread.rows_variance or 0.0)
    seeds = seeds_needed(design, wanted)
    hours = None
    if seeds is not None and spread.run_seconds is not None:
        hours = 2 * seeds * spread.run_seconds / 3600
    return {"seeds": seeds, "runs": None if seeds is None else 2 * seeds, "hours": hours}
