"""The definition of a task, from its YAML or read off the user's own rows. Only this module knows which."""

import re
from functools import lru_cache
from pathlib import Path

from petbench.config.sections import DataSpec, TaskSpec
from petbench.config.spec import RunSpec
from petbench.config.task import OWN, Task
from petbench.config.tree import options
from petbench.console import is_main_process, tell
from petbench.errors import UserError, unknown
from petbench.tasks.glue import NAMES
from petbench.tasks.rows.hub import hub_rows
from petbench.tasks.rows.own import own_task
from petbench.tasks.rows.places import files_of, own_rows, sample_of, stamp
from petbench.tasks.rows.raw import Raw


def require_one_source(task: Task, data: DataSpec) -> None:
    """Raise UserError if the user gives rows for a task that has rows, or together with data=toy; reads no rows."""
    mine = _mine(data)
    if mine and data.source == "toy":
        raise UserError(f"data.{mine}: got rows and data=toy. Leave out one of the two.")
    if not task.text_fields:
        return
    if mine and task.glue is not None:
        raise UserError(f"data.{mine}: task={task.name} has its own rows. Leave out task= or data.{mine}.")
    named = [key for key in ("text", "label") if getattr(data, key) is not None]
    if named:
        key = f"data.{named[0]}"
        raise UserError(f"{key}: task={task.name} names its own columns. Leave out task= or {key}.")


def _mine(data: DataSpec) -> str | None:
    """The key of `data` that names the user's own rows; None when there is none."""
    return "file" if data.file is not None else "hub" if data.hub is not None else None


def settled(spec: RunSpec) -> RunSpec:
    """The spec with a complete task. The user's own rows are read to define it, and what was found is printed once.

    Raises UserError for an unknown task, for rows given to a task that has rows, and for rows that make no task.
    """
    task, data = spec.task, spec.data
    require_one_source(task, data)
    if task.text_fields:
        return spec
    if _mine(data) is None:
        if task.name != OWN:
            raise unknown("task", task.name, options("task"))
        raise UserError("task=own has no rows: give data.file=FILE (or a folder) or data.hub=NAME.")
    found = own(task.name if task.name != OWN else name_of(data), data)
    fixed = {key: value for key, value in task.model_dump().items() if key not in Task.model_fields}
    metrics = task.metrics or found.metrics
    headline = task.headline or metrics[-1]
    if headline not in metrics:
        raise unknown("task.headline", headline, metrics)
    whole = TaskSpec.model_validate({**found.model_dump(), **fixed, "metrics": metrics, "headline": headline})
    return spec.model_copy(update={"task": whole})


def own(name: str, data: DataSpec) -> Task:
    """The task that the rows of `data.file` or `data.hub` define; see `petbench.tasks.rows.own`."""
    stamps = tuple(map(stamp, files_of(data.file).values())) if data.file is not None else ()
    defining = DataSpec.model_validate(data.model_dump(include={"file", "hub", "text", "label", "kind"}))
    return _task_of(name, defining, stamps)  # so that a sweep over other keys says once what was found


def name_of(data: DataSpec) -> str:
    """The task's name for the user's own rows: the file's or the data set's, changed if it is one of GLUE's names."""
    place = data.file or (data.hub or "").partition(":")[0]
    stem = re.sub(r"[^\w.-]+", "_", Path(place).stem if data.file else Path(place).name).strip("_.") or OWN
    return f"{stem}_{OWN}" if stem in NAMES else stem


@lru_cache(maxsize=4)
def _task_of(name: str, data: DataSpec, stamps: tuple[tuple[int, int], ...]) -> Task:
    """stamps: times and sizes of the files, so that a changed file is read again."""

    def said(line: str) -> None:
        if is_main_process():
            tell(line)

    if data.file is not None:
        return own_task(name, data, sample_of(data), lambda task: own_rows(task, data), said)

    raws = hub_rows(Task(name=name, hub=data.hub))

    def head(raw: Raw) -> Raw:
        return Raw(
            raw.path, {key: values[:1000] for key, values in raw.columns.items()}, raw.lines[:1000], raw.names
        )

    return own_task(name, data, head(raws["train"]), lambda task: raws, said)
