"""The comparison of two methods in one word (ahead, equal within a margin, or open) and its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Literal

from petbench.errors import UserError
from petbench.record import Record
from petbench.report.cells import Cell, group
from petbench.report.labels import column_labels
from petbench.report.settings import labelled, parse_where, select, varying
from petbench.report.sides import Read, no_answers, prior_for, prior_of, side_of
from petbench.report.statistics.bootstrap import multi_bootstrap
from petbench.report.statistics.difference import (
    LEVEL,
    Difference,
    Side,
    difference,
    holm,
    mean_difference,
)
from petbench.report.statistics.power import detectable
from petbench.report.statistics.shape import FEWEST_FOR_SHARE, Wins, disagrees, shape_p, wins

SHARE = 0.8  # share of the level that the mean over all tasks gets


# A difference below the margin counts as none (score units); the larger margin holds with fewer rows than FEW_ROWS.
MARGIN, MARGIN_OF_FEW_ROWS, FEW_ROWS = 0.005, 0.01, 1000


FEWEST_TASKS = 6  # with fewer, the signed-rank test over tasks cannot reach p = 0.05


Word = Literal["ahead", "equal", "open"]


@dataclass(frozen=True)
class Judged:
    """One comparison, a against b. `difference` is None when a side has a single run."""

    where: str  # the task, or `the mean of 8 tasks`
    difference: Difference | None
    p: float  # corrected for all comparisons that are made at once
    margin: float  # score units
    a: Side
    b: Side
    collapsed: tuple[int, int] = (0, 0)
    paired: bool = False  # whether both sides have the same seeds

    @property
    def word(self) -> Word:
        """ahead: the difference is significant, and mean and majority of runs name the same winner; equal: the 90 %
        interval lies within the margin; open: neither."""
        found = self.difference
        if found is None or self.nothing_learnt:
            return "open"
        if self.p <= LEVEL and not self.split:
            return "ahead"
        return "equal" if found.equal_within(self.margin) else "open"

    @property
    def nothing_learnt(self) -> bool:
        """Whether every run of both sides collapsed: equal scores then say nothing about the methods."""
        return bool(self.a.n and self.b.n) and self.collapsed == (self.a.n, self.b.n)

    @property
    def split(self) -> bool:
        """Whether one side wins more runs and the other has the higher mean."""
        return bool(self.a.n and self.b.n) and disagrees(self.a.scores, self.b.scores)

    @property
    def wins(self) -> Wins | None:
        """P(a run of a beats a run of b); None when a side has fewer than five runs."""
        enough = min(self.a.n, self.b.n) >= FEWEST_FOR_SHARE
        return wins(self.a.scores, self.b.scores) if enough else None

    @property
    def least(self) -> tuple[float, float] | None:
        """The smallest true difference that so many runs detect with power 0.8, and the smallest that infinitely many
        would detect on as many rows."""
        found = self.difference
        if found is None or found.variance == 0:
            return None
        # A mean over tasks has no number of rows of its own, and so many that their spread is known.
        of_rows = detectable(found.rows_part or 0.0, found.m - 1 if found.m else inf)
        return detectable(found.variance, found.df), of_rows


def pick(records: Sequence[Record], side: str) -> list[Cell]:
    """The cells of one side. side: a condition (`adapter=krona,task=rte`), or run ids separated by commas.

    Raises UserError when nothing matches, or when two cells of the same task match.
    """
    if "=" in side:
        chosen = select(records, parse_where([side]))
    else:
        ids = {part.strip() for part in side.split(",") if part.strip()}
        chosen = [record for record in records if record.run_id in ids]
        missing = ids - {record.run_id for record in chosen}
        if missing:
            raise UserError(
                f"no record has the run id {', '.join(sorted(missing))}. Give run ids, or a condition such as "
                "adapter=krona,task=rte."
            )
    cells = [cell for cell in group(chosen) if cell.values]
    if not cells:
        found = f"{len(chosen)} records, none of them finished" if chosen else "no record"
        raise UserError(f"'{side}' matches {found}. `petbench report` lists what there is.")
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.column_key, cell)
        if other is not cell:
            told = varying([other.settings, cell.settings])
            choices = " or ".join(
                f"{cell.adapter} {labelled(each.settings, told[:4])}" for each in (other, cell)
            )
            raise UserError(
                f"'{side}' matches several settings on {cell.task}: {choices}. Add one of them to the condition."
            )
    return cells


def pairs(first: Sequence[Cell], second: Sequence[Cell]) -> list[tuple[Cell, Cell]]:
    """The pairs of cells, one of each side, with the same task and rows. Raises UserError when there are none."""
    theirs = {cell.column_key: cell for cell in second}
    found = [(cell, theirs[cell.column_key]) for cell in first if cell.column_key in theirs]
    if not found:
        raise UserError(_nothing_shared(first, second))
    return found


def judge(
    first: Sequence[Cell],
    second: Sequence[Cell],
    table: Sequence[Cell] = (),
    read: Read = no_answers,
    margin: float | None = None,
) -> list[Judged]:
    """The comparison on every task that both sides have, and then on their mean.

    The probability of any false `ahead` is at most 5 %: the mean over tasks is tested at 4/5 of the level; single tasks
    share the rest by Holm's correction, and the whole level once the mean differs. table: all cells of the folder,
    which moderate the variance over seeds. margin: score units; by default 0.5 points, or 1.0 with fewer than 1,000
    rows. Raises UserError when the sides share no task and rows.
    """
    both = pairs(first, second)
    labels = column_labels([cell for cell, _ in both])
    found = [_tested(labels[a.column_key], a, b, table, read, margin) for a, b in both]
    if len(found) == 1:
        return found
    differences = [each.difference for each in found]
    known = [each for each in differences if each is not None]
    if len(known) < len(found):
        return found
    together = mean_difference(known)
    overall = min(1.0, together.p / SHARE)
    judged = []
    for each, p in zip(found, holm([each.p for each in known]), strict=True):
        corrected = min(max(p, overall), p / (1 - SHARE), 1.0)
        judged.append(Judged(**{**vars(each), "p": corrected}))
    widest = max(each.margin for each in found)
    whole = Judged(f"the mean of {len(found)} tasks", together, overall, widest, Side(()), Side(()))
    return [*judged, whole]


def _tested(where: str, a: Cell, b: Cell, table: Sequence[Cell], read: Read, margin: float | None) -> Judged:
    """The comparison on one task, p not yet corrected."""
    sides = side_of(a, read), side_of(b, read)
    beside = [cell for cell in table if cell.table_key in (a.table_key, b.table_key)]
    column = [cell for cell in beside if cell.column_key == a.column_key]
    prior = prior_of(column, beside)
    found = difference(*sides, (prior_for(a, prior), prior_for(b, prior)))
    rows = next((run.headline.n for run in a.done if run.headline), 0)
    nothing = margin if margin is not None else MARGIN_OF_FEW_ROWS if rows < FEW_ROWS else MARGIN
    return Judged(
        where, found, 1.0 if found is None else found.p, nothing, *sides,
        collapsed=(len(a.collapsed), len(b.collapsed)), paired=set(a.values) == set(b.values),
    )  # fmt: skip


def as_table(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """The comparisons as plain values in score units, for --json."""
    rows = []
    for each in judged:
        found, won = each.difference, each.wins
        low, high = (None, None) if found is None else found.interval()
        least = each.least
        check = None
        if each.a.rows is not None and each.b.rows is not None and found is not None and found.m:
            check = multi_bootstrap(each.a.rows, each.b.rows)
        rows.append({
            "where": each.where, "verdict": each.word,
            "difference": None if found is None else found.value, "low_95": low, "high_95": high,
            "p": None if found is None else found.p, "p_corrected": None if found is None else each.p,
            "standard_error": None if found is None else found.se,
            "standard_error_seeds": None if found is None else sqrt(found.seeds_part),
            "standard_error_rows": None if found is None or found.rows_part is None else sqrt(found.rows_part),
            "degrees_of_freedom": None if found is None else found.df,
            "seeds": [each.a.n, each.b.n], "rows": None if found is None else found.m,
            "margin": each.margin, "collapsed": list(each.collapsed),
            "wins": None if won is None else [won.share, won.low, won.high],
            "rank_test_p": shape_p(each.a.scores, each.b.scores, each.paired) if each.a.n else None,
            "multi_bootstrap": None if check is None else {"standard_error": check.se, "p": check.p},
            "least_difference": None if least is None else least[0],
            "least_with_endless_seeds": None if least is None else least[1],
        })  # fmt: skip
    return rows


def _nothing_shared(first: Sequence[Cell], second: Sequence[Cell]) -> str:
    tasks = [{cell.task for cell in side} for side in (first, second)]
    shared = sorted(tasks[0] & tasks[1])
    if shared:
        return (
            f"both sides have {', '.join(shared)}, but on different rows or settings of the task. Compare runs of the "
            "same rows."
        )
    listed = [", ".join(sorted(names)) for names in tasks]
    return f"no common task: one side has {listed[0]}, the other {listed[1]}."
