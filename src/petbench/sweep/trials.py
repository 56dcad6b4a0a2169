"""An equal tuning budget: every method gets the same number of trials over its own search space.

Here a cell is one method on one task. Its trials try settings from the method's YAML (`tuning.search`), on seeds that
no final run uses. The setting with the best score on the selection rows is chosen, and runs on the final seeds. The
report shows the final runs and, beside them, the cost of choosing.
"""

import copy
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from petbench.compose.expand import Composed
from petbench.compose.overrides import apart
from petbench.compose.recipe import as_text
from petbench.config.tree import key_of
from petbench.errors import UserError
from petbench.record import Point, Record
from petbench.report.settings import identity, varying

OWN_KEYS = ("sweep", "budget_runs", "final_seeds", "trial_seed", "pruner")  # keys of the sweep, not of a run
TRIAL = "++tuning={role:trial}"  # the note that keeps a run out of the report
PAUSE = 1 / 3  # the share of a trial's steps after which `pruner=halving` compares the trials
KEPT = 3  # one of this many trials is trained to its end
PAUSING = f"++tuning={{role:trial,pause:{PAUSE}}}"
TRIAL_SEED = 1000  # the seed of trials of a Hydra sweeper; unlikely to be the seed of a final run
Setting = tuple[tuple[str, Any], ...]  # dotted keys and their values
T = TypeVar("T")
Planned = Callable[
    [dict[str, Any]], str
]  # values -> what they make, equal for equal runs; UserError if impossible


@dataclass(frozen=True)
class Trial:
    """One setting of a cell on one seed. `overrides` are those of its run, including the tuning note."""

    setting: Setting
    overrides: tuple[str, ...]

    @property
    def pausing(self) -> tuple[str, ...]:
        """As `overrides`, but the run pauses where `pruner=halving` compares the trials."""
        return *self.overrides[:-1], PAUSING


@dataclass(frozen=True)
class Chosen:
    """The setting that the selection rows chose in a cell, the number of trials, and those trials' records."""

    setting: Setting
    score: float  # mean over the setting's seeds
    runs: int
    records: tuple[Record, ...]


@dataclass(frozen=True)
class TunedCell:
    """One method on one task: its overrides, composed values, and the seeds of its final runs."""

    name: str  # method, task, and the settings that tell it from other cells
    overrides: tuple[str, ...]
    values: dict[str, Any]
    seeds: tuple[int, ...]

    def trials(self, planned: Planned) -> list[Trial]:
        """`budget_runs` trials: distinct settings in a seeded order, so that a larger budget continues a smaller one.

        When all settings are used, they are tried again on another seed. Impossible settings are skipped and cost no
        trial, nor do those that make the run of an earlier one, as sizes do under a budget, which sets the size. Raises
        UserError when no setting is possible, and when a final seed is also a trial's seed.
        """
        budget, first = self._count("budget_runs", 1), self._count("trial_seed", 0)
        if set(self.seeds) & set(range(first, first + budget)):
            raise UserError(
                f"trial_seed={first}: trials would use seeds of the final runs, {self.seeds}. Give another trial_seed."
            )
        distinct: dict[str, Setting] = {}
        reasons: list[str] = []
        for setting in self._settings():
            try:
                distinct.setdefault(planned(self._values_with(setting)), setting)
            except UserError as error:
                reasons.append(str(error))
            if len(distinct) == budget:
                break
        settings = list(distinct.values())
        if not settings:
            raise UserError(reasons[0])
        places = [(settings[n % len(settings)], first + n // len(settings)) for n in range(budget)]
        return [Trial(s, (*self.overrides, *as_overrides(s), f"++seed={seed}", TRIAL)) for s, seed in places]

    def finals(self, chosen: Chosen) -> list[tuple[str, ...]]:
        """Overrides of the chosen setting on each final seed, with a note of the cost of choosing it."""
        note = final_note(chosen.runs, chosen.records)
        return [
            (*self.overrides, *as_overrides(chosen.setting), f"++seed={seed}", note) for seed in self.seeds
        ]

    def _settings(self) -> Iterator[Setting]:
        """The grid of the method's search space in a seeded order, without keys that the user has fixed."""
        adapter = self.values["adapter"]
        space = (adapter.get("tuning") or {}).get("search") or {}
        fixed = set(map(key_of, self.overrides))
        free = {key: values for key, values in space.items() if key not in fixed}
        if not free:
            why = (
                "its search space is fixed by the command line" if space else "its YAML has no tuning.search"
            )
            raise UserError(f"sweep=tuned: nothing to tune for {adapter.get('method')}: {why}.")
        grid = list(itertools.product(*free.values()))
        random.Random(0).shuffle(grid)
        for values in grid:
            yield tuple(zip(free, values, strict=True))

    def _values_with(self, setting: Setting) -> dict[str, Any]:
        """The composed values of a run with this setting."""
        values = copy.deepcopy({key: value for key, value in self.values.items() if key not in OWN_KEYS})
        for key, value in setting:
            *parents, leaf = key.split(".")
            place = values
            for parent in parents:
                place = place.setdefault(parent, {})  # validation reports an unknown key
            place[leaf] = value
        return values

    def _count(self, key: str, least: int) -> int:
        return whole_number(self.values, key, least)


def as_overrides(setting: Setting) -> list[str]:
    """The overrides that make a setting."""
    return [f"++{key}={as_text(value)}" for key, value in setting]


def is_tuned(members: Sequence[Composed]) -> bool:
    """Whether the sweep asks for tuning (`sweep=tuned budget_runs=8`)."""
    return any("budget_runs" in member.values for member in members)


def tuned_cells(members: Sequence[Composed]) -> list[TunedCell]:
    """The cells of a tuned sweep: members that differ only in the seed are one cell. Several seeds are its final seeds;
    a single seed is the first of `final_seeds` many. Raises UserError for counts that are not whole numbers."""
    found: dict[tuple[str, ...], list[Composed]] = {}
    for member in members:
        own = (o for o in member.overrides if key_of(o) not in (*OWN_KEYS, "seed"))
        found.setdefault(tuple(own), []).append(member)
    cells = []
    settings = apart(found, ("adapter", "task"))
    for overrides, group in found.items():
        values = group[0].values
        seeds = sorted({whole_number(member.values, "seed", 0) for member in group})
        if len(seeds) == 1:
            seeds = list(range(seeds[0], seeds[0] + whole_number(values, "final_seeds", 1)))
        adapter = values["adapter"]
        parts = (adapter.get("name") or adapter.get("method"), values["task"]["name"], *settings[overrides])
        cells.append(TunedCell(" ".join(parts), overrides, values, tuple(seeds)))
    return cells


def choose(trials: Sequence[Trial], records: Sequence[Record | None]) -> Chosen | None:
    """The setting with the highest mean score on the selection rows, of equal ones the first tried; None when no trial
    finished. Failed trials count as runs, and so do their seconds."""
    scores: dict[Setting, list[float]] = {}
    for trial, record in zip(trials, records, strict=True):
        if record is not None and record.status == "done" and record.selection_score is not None:
            scores.setdefault(trial.setting, []).append(record.selection_score)
    if not scores:
        return None
    best = max(scores, key=lambda setting: fmean(scores[setting]))
    return Chosen(best, fmean(scores[best]), len(trials), tuple(r for r in records if r is not None))


def of_search(overrides: Sequence[str]) -> list[str]:
    """The overrides that mark the members of a search as trials: the note, and TRIAL_SEED unless a seed is given."""
    given = set(map(key_of, overrides))
    return [*([] if "seed" in given else [f"++seed={TRIAL_SEED}"]), TRIAL]


def better(trials: Sequence[T], records: Sequence[Record | None], steps: int) -> list[T]:
    """The better third of a cell's trials, at least one, and those that equal the last one of these.

    They are compared at the first evaluation after a third of `steps` optimiser steps, even if some have trained
    further since: by the loss on the selection rows where all have one, by the score elsewhere (numbers, written
    answers). The loss tells who has begun to learn while the score is still the majority answer's, which may even be
    the higher one. Trials without an evaluation there come last. Equals are not ranked: none of them is left out.
    """
    points = [_point_at(record, PAUSE * steps) for record in records]
    by_loss = all(point.selection_loss is not None for point in points if point is not None)
    merits = [_merit(point, by_loss) for point in points]
    order = sorted(range(len(trials)), key=lambda n: -merits[n])
    count = max(1, len(trials) // KEPT)
    last = merits[order[count - 1]]
    equal = [n for n in order[count:] if merits[n] == last > float("-inf")]
    return [trials[n] for n in [*order[:count], *equal]]


def _merit(point: Point | None, by_loss: bool) -> float:
    """What trials are ranked by, the higher the better: minus the loss, or the score."""
    if point is None:
        return float("-inf")
    return point.score if point.selection_loss is None or not by_loss else -point.selection_loss


def _point_at(record: Record | None, step: float) -> Point | None:
    """The first evaluation at or after a step; None where there is none."""
    curve = () if record is None or record.status not in ("done", "paused") else record.curve
    return next((point for point in curve if point.step >= step), None)


def pruner(values: dict[str, Any]) -> str | None:
    """The sweep's pruner: `halving` or None. Raises UserError for any other value."""
    value = values.get("pruner")
    if value not in (None, "halving"):
        raise UserError(f"pruner: got {value!r}. Legal: halving, or null to train all trials to their end.")
    return value


def final_note(trials: int, records: Sequence[Record]) -> str:
    """The override that notes in a final run what was chosen, and what choosing it cost. records: of the trials."""
    steps, seconds = cost_of(records)
    keys = ",".join(searched_settings(records))
    return f"++tuning={{role:final,runs:{trials},steps:{steps},seconds:{seconds:.3f},searched:[{keys}]}}"


def searched_settings(records: Sequence[Record]) -> list[str]:
    """Dotted keys of the settings in which the trials of a cell differ, those that follow from others included, as
    LoRA's alpha from its rank. Trials that failed are not asked: their content may be unknown."""
    return varying([identity(record) for record in records if record.status in ("done", "paused")])


def cost_of(records: Iterable[Record]) -> tuple[int, float]:
    """The sums over records of optimiser steps up to the last evaluation, and of seconds of training and evaluation."""
    some = list(records)
    return sum(r.curve[-1].step for r in some if r.curve), sum(r.cost.seconds for r in some)


def whole_number(values: dict[str, Any], key: str, least: int) -> int:
    """The value of one of the sweep's own keys. Raises UserError when it is not a whole number of at least `least`."""
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{key}: got {value!r}. Legal: a whole number from {least}.")
    return value
