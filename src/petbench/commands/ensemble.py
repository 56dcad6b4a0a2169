"""The runs that a name stands for: one, or all finished runs of a folder, which must be of one task."""

from pathlib import Path
from typing import Any

from petbench.config.task import Task, task_in
from petbench.errors import UserError
from petbench.record import read_record
from petbench.tuned.checkpoint import CONFIG_FILE, adapter_folder, read_adapter_config, require_run


def runs_at(run: str, results_dir: str) -> tuple[list[Path], Task]:
    """The adapter folders, and the task that all of them answer.

    A folder of runs is a results folder or its `runs`; runs that are not done and trials of a tuning sweep are left
    out. Raises UserError where there is no run, and where runs are of several tasks.
    """
    try:
        folders = [adapter_folder(run, results_dir)]
    except UserError:
        folders = _finished(Path(run))
        if not folders:
            raise
    tasks = [(folder, _task_at(folder)) for folder in folders]
    first, task = tasks[0]
    for folder, other in tasks:
        if _asked(other) != _asked(task):
            raise UserError(
                f"{run} holds runs of several tasks: {task.name} ({first.parent.name}) and {other.name} "
                f"({folder.parent.name}). Name runs of one task."
            )
    return folders, task


def _task_at(folder: Path) -> Task:
    saved = read_adapter_config(folder)
    require_run(saved, folder)
    return task_of(saved)


def task_of(saved: dict[str, Any]) -> Task:
    """The task of a saved adapter."""
    return task_in(saved.get("config") or {}, str(saved.get("task")))


def _asked(task: Task) -> tuple[Any, ...]:
    """What must be the same in all runs: the texts that are read and what is answered."""
    return task.text_fields, task.columns, task.labels


def _finished(place: Path) -> list[Path]:
    found = []
    for config in sorted(
        {*place.glob(f"*/adapter/{CONFIG_FILE}"), *place.glob(f"runs/*/adapter/{CONFIG_FILE}")}
    ):
        record = read_record(config.parents[1])
        if record is not None and record.status == "done" and not record.is_trial:
            found.append(config.parent)
    return found
