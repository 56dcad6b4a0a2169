"""Recipes: the table of a published setting -> the overrides of one of its cells; what the user gives wins.

A recipe's YAML (`conf/recipe/`) holds what all runs of a published table share, as any config does, and under
`table` what differs from cell to cell:

    table:
      adapter: [krona, lora]        # the cells are adapter x task (x model, where the paper has several)
      task: [cola, rte]
      seed: [0]
      settings:                     # each row holds for every cell that it fits; later rows win
        - {optim.lr: 1.0e-3}
        - {adapter: krona, task: rte, optim.lr: 2.0e-3}
        - {task: rte, start: mnli}  # starts from the adapter that the same method learned on mnli
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petbench.config.tree import key_of
from petbench.errors import UserError, nearest

AXES = ("model", "adapter", "task")
CONSUMED = "++table=null"  # says that the table has been read; config refuses one that has not
START = "start"
PENDING = "cell:"  # `init_from: cell:mnli` until the run id of that cell is known
Overrides = tuple[str, ...]
IdOf = Callable[[dict[str, Any]], str | None]  # the run id of composed values; None where it is not known


@dataclass(frozen=True)
class Table:
    """The cells of a published table and what each of them sets. `model` is empty where there is one model."""

    recipe: str
    adapter: tuple[str, ...]
    task: tuple[str, ...]
    model: tuple[str, ...]
    seed: tuple[int, ...]
    settings: tuple[Mapping[str, Any], ...]

    def values(self, cell: Mapping[str, str]) -> dict[str, Any]:
        """Dotted keys and values of a cell. Raises UserError for a method or task that the table lacks.

        A model that the table does not name takes the settings of its first one: for trying a recipe out.
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
    """The table in composed plain values; None without a recipe. Raises UserError for a key it cannot have."""
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
    """A member's overrides with its cell's settings in front, less those that the user gives themselves.

    `choices` are the groups' choices where the overrides name none.
    """
    settings = table.values(cell_of(overrides, choices))
    if START in settings:
        settings["init_from"] = PENDING + settings.pop(START)
    given = {key_of(text) for text in overrides}
    own = [f"++{key}={as_text(value)}" for key, value in settings.items() if key not in given]
    return (*own, CONSUMED, *overrides)


def cell_of(overrides: Sequence[str], choices: Mapping[str, str]) -> dict[str, str]:
    """Model, adapter and task that a member chooses."""
    named = {key_of(text): text.partition("=")[2] for text in overrides}
    return {axis: named[axis] if axis in named else choices[axis] for axis in AXES}


def starting_cell(overrides: Sequence[str], table: Table, task: str) -> Overrides:
    """The member that another starts from: the same but for the task, on the table's first seed."""
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
    """Members with `init_from` filled in: the run id of the cell that each starts from.

    `given` are the same members without their cells' settings; `compose` makes values of overrides, `id_of` a run id
    of values. Where that id is not known the member stays as it is: it can be planned.
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
    """A value as Hydra's override grammar reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{as_text(item)}" for key, item in value.items()) + "}"
    return f"[{','.join(map(as_text, value))}]" if isinstance(value, list | tuple) else str(value)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]
