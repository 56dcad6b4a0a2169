"""An equal tuning budget: every method gets the same number of trials over its own search space.

Trials differ from their cell in settings that the method's YAML names (`tuning.search`); the selection rows choose; the
chosen setting then runs on fresh seeds. The report shows the final runs and, beside them, what choosing cost.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from petbench.errors import UserError
from petbench.expand import Member
from petbench.record import Record

OWN_KEYS = ("sweep", "budget_runs", "final_seeds")  # of the sweep, not of a run
Run = Callable[[list[list[str]]], list[Record | None]]  # overrides of some members -> their records


@dataclass(frozen=True)
class Trial:
    """One setting of a cell: the overrides that make it."""

    cell: int
    overrides: tuple[str, ...]


def is_tuned(members: Sequence[Member]) -> bool:
    """Whether the sweep asks for tuning (`sweep=tuned budget_runs=8`)."""
    return any(member.values.get("budget_runs") is not None for member in members)


def tune(members: Sequence[Member], run: Run) -> list[str]:
    """Run the trials, choose by the selection rows, run the chosen settings on fresh seeds.

    `run` runs members that are not done and gives all records. Returns one line a cell: what was chosen.
    Raises UserError when a budget is no positive number or a method names no search space.
    """
    trials = [trial for cell, member in enumerate(members) for trial in trials_of(cell, member)]
    records = run([[*trial.overrides, "++tuning={role:trial}"] for trial in trials])
    lines, finals = [], []
    for cell, member in enumerate(members):
        own = [(t, r) for t, r in zip(trials, records, strict=True) if t.cell == cell]
        done = [(trial, record) for trial, record in own if record is not None and record.status == "done"]
        name = f"{member.values['adapter']['method']} {member.values['task']['name']}"
        if not done:
            lines.append(f"{name}: no trial ended, nothing is chosen")
            continue
        trial, record = max(done, key=lambda pair: selection_score(pair[1]))  # the first among equals
        seconds = sum((r.cost.train_seconds or 0) + (r.cost.eval_seconds or 0) for _, r in done)
        setting = " ".join(o.lstrip("+") for o in trial.overrides[len(_of_run(member)) :])
        lines.append(
            f"{name}: {setting} (selection {selection_score(record):.4f}, {len(own)} trials, {seconds:.0f} s)"
        )
        note = f"++tuning={{role:final,runs:{len(own)},seconds:{seconds:.3f}}}"
        first = int(member.values["seed"]) + 1
        count = _count(member, "final_seeds")
        finals += [[*trial.overrides, f"++seed={seed}", note] for seed in range(first, first + count)]
    run(finals)
    return lines


def trials_of(cell: int, member: Member) -> list[Trial]:
    """A cell's trials: the whole grid when it is small enough, else a seeded choice without replacement."""
    space = (member.values["adapter"].get("tuning") or {}).get("search") or {}
    if not space:
        method = member.values["adapter"].get("method")
        raise UserError(f"adapter={method} names no search space: add tuning.search to its YAML.")
    grid = [tuple(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    budget = _count(member, "budget_runs")
    chosen = grid if len(grid) <= budget else random.Random(0).sample(grid, budget)
    return [
        Trial(cell, (*_of_run(member), *(f"++{key}={_text(value)}" for key, value in one))) for one in chosen
    ]


def selection_score(record: Record) -> float:
    """The headline metric on the selection rows; the report rows choose nothing."""
    assert record.headline is not None
    return record.metrics.selection[record.headline.name]


def _of_run(member: Member) -> tuple[str, ...]:
    """The overrides of a member that are the run's own."""
    return tuple(o for o in member.overrides if o.partition("=")[0].lstrip("+") not in OWN_KEYS)


def _count(member: Member, key: str) -> int:
    value = member.values.get(key)
    if not isinstance(value, int) or value < 1:
        raise UserError(f"{key}: got {value!r}. Legal: a whole number from 1.")
    return value


def _text(value: Any) -> str:
    """A value as Hydra's override grammar reads it."""
    return f"[{','.join(map(_text, value))}]" if isinstance(value, list | tuple) else str(value)
