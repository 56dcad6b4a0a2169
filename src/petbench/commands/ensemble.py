"""The runs that the argument RUN names: one run, or all finished runs of a folder, which must have one task."""

from pathlib import Path
from typing import Any

from petbench.config.task import Task, task_in
from petbench.errors import UserError
from petbench.record import read_record
from petbench.tuned.checkpoint import CONFIG_FILE, adapter_folder, read_adapter_config, require_run


def runs_at(run: str, results_dir: str) -> tuple[list[Path], Task]:
    """The adapter folders of the runs, and the task that all of them were trained on.

    A folder of runs is a results folder or its `runs`; unfinished runs and trials of a tuning sweep are left out.
    Raises UserError when there is no run, and when the runs have several tasks.
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
    """What must be the same in all runs: the text fields and the labels."""
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
