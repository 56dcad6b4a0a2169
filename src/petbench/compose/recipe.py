"""Recipes: from the table of a published setting to the overrides of its cells; the user's own overrides win.

A recipe's YAML (`conf/recipe/`) holds the settings that all runs of a published table share, and under `table` those
that differ from cell to cell. A cell is a method on a task (and a model, if the paper has several):

    table:
      adapter: [krona, lora]        # the cells are adapter x task (x model)
      task: [cola, rte]
      seed: [0]
      settings:                     # each row applies to every cell that it matches; later rows win
        - {optim.lr: 1.0e-3}
        - {adapter: krona, task: rte, optim.lr: 2.0e-3}
        - {task: rte, start: mnli}  # starts from the adapter that the same method learnt on mnli
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petbench.config.tree import key_of
from petbench.errors import UserError, nearest

AXES = ("model", "adapter", "task")
CONSUMED = "++table=null"  # marks the table as read; validation refuses a table that was not
START = "start"
PENDING = "cell:"  # `init_from: cell:mnli` until the run id of that cell is known
Overrides = tuple[str, ...]
IdOf = Callable[[dict[str, Any]], str | None]  # composed values -> run id; None when it is not known


@dataclass(frozen=True)
class Table:
    """The cells of a published table and their settings. `model` is empty if the table has a single model."""

    recipe: str
    adapter: tuple[str, ...]
    task: tuple[str, ...]
    model: tuple[str, ...]
    seed: tuple[int, ...]
    settings: tuple[Mapping[str, Any], ...]

    def values(self, cell: Mapping[str, str]) -> dict[str, Any]:
        """The settings of a cell, dotted key -> value. Raises UserError for a method or task that the table lacks.

        A model that the table lacks gets the settings of its first model, so that a recipe can be tried on a small one.
        """
        place = dict(cell)
        for axis in ("adapter", "task"):
            legal = getattr(self, axis)
            if place[axis] not in legal:
                raise UserError(
                    f"recipe {self.recipe} has no {axis} '{place[axis]}'.{nearest(place[axis], legal)} "
                    f"Legal: {', '.join(legal)}; leave recipe out to run another."
                )
        if self.model and place["model"] not in self.model:
            place["model"] = self.model[0]
        found: dict[str, Any] = {}
        for row in self.settings:
            if all(place[axis] in _listed(row[axis]) for axis in AXES if axis in row):
                found |= {key: value for key, value in row.items() if key not in AXES}
        return found


def table_of(values: Mapping[str, Any]) -> Table | None:
    """The table in composed plain values; None without a recipe. Raises UserError for an unknown key."""
    raw = values.get("table")
    if raw is None:
        return None
    wrong = set(raw) - {*AXES, "seed", "settings"}
    if wrong:
        raise UserError(f"table: unknown keys {sorted(wrong)}. Legal: {', '.join(AXES)}, seed, settings.")
    axes = {axis: tuple(_listed(raw.get(axis) or ())) for axis in AXES}
    seeds = tuple(_listed(raw.get("seed", 0)))
    return Table(str(values.get("recipe")), **axes, seed=seeds, settings=tuple(raw.get("settings") or ()))


def completed(overrides: Sequence[str], table: Table, choices: Mapping[str, str]) -> Overrides:
    """A member's overrides with its cell's settings before them, without settings that the overrides give themselves.

    choices: group -> the choice that holds if the overrides name none.
    """
    settings = table.values(cell_of(overrides, choices))
    if START in settings:
        settings["init_from"] = PENDING + settings.pop(START)
    given = {key_of(text) for text in overrides}
    own = [f"++{key}={as_text(value)}" for key, value in settings.items() if key not in given]
    return (*own, CONSUMED, *overrides)


def cell_of(overrides: Sequence[str], choices: Mapping[str, str]) -> dict[str, str]:
    """The model, adapter and task of a member."""
    named = {key_of(text): text.partition("=")[2] for text in overrides}
    return {axis: named[axis] if axis in named else choices[axis] for axis in AXES}


def starting_cell(overrides: Sequence[str], table: Table, task: str) -> Overrides:
    """The member that another starts from: the same on another task, with the table's first seed."""
    kept = [text for text in overrides if key_of(text) not in ("task", "seed", "init_from", "plan")]
    return (*kept, f"task={task}", f"++seed={table.seed[0]}")


def with_starts(
    members: Sequence[Overrides],
    given: Sequence[Overrides],
    table: Table,
    choices: Mapping[str, str],
    compose: Callable[[list[Overrides]], list[dict[str, Any]]],
    id_of: IdOf,
) -> list[Overrides]:
    """The members with `init_from` filled in: the run id of the cell that each starts from.

    given: the same members without their cells' settings. compose: overrides -> values. id_of: values -> run id. If
    that id is not known, the member stays unchanged: it can be planned, but not run.
    """
    cache: dict[Overrides, str | None] = {}
    out = []
    for member, own in zip(members, given, strict=True):
        text = next((o for o in member if o.startswith(f"++init_from={PENDING}")), None)
        if text is not None:
            start = starting_cell(own, table, text.partition(PENDING)[2])
            whole = completed(start, table, choices)
            if whole not in cache:
                cache[whole] = id_of(compose([whole])[0])
            if (found := cache[whole]) is not None:
                member = tuple(f"++init_from={found}" if o == text else o for o in member)
        out.append(member)
    return out


def as_text(value: Any) -> str:
    """A value in Hydra's override grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{as_text(item)}" for key, item in value.items()) + "}"
    return f"[{','.join(map(as_text, value))}]" if isinstance(value, list | tuple) else str(value)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]
