"""Read rows from a data set on the hub, GLUE's or another; without a connection it fails within seconds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from petbench.config.task import Task
from petbench.errors import UserError
from petbench.machine.network import hub_reachable
from petbench.tasks.rows.checks import checked_split, split_notes
from petbench.tasks.rows.raw import Raw, with_names
from petbench.tasks.splits import Splits


def require_hub(task: Task) -> None:
    """Raise UserError when the hub cannot be reached and no cache on this machine can hold the task's rows."""
    repository, _ = _named(task.hub or "")
    arrow = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    caches = (
        Path(arrow) / repository.replace("/", "___"),
        Path(constants.HF_HUB_CACHE) / f"datasets--{repository.replace('/', '--')}",
    )
    if not any(path.exists() for path in caches) and not hub_reachable():
        raise UserError(no_hub_message(task, "not in reach, and not in its cache here"))


def load_hub(task: Task) -> Splits:
    """All splits of a GLUE task from the hub or its cache. Raises UserError that says how else to get the rows."""
    found = _data_set(task)
    repository, config = _named(task.hub or "")
    parts, notes = {}, []
    for name in task.splits:
        if name not in found:
            continue
        split = checked_split(task, name, found[name][:], partial(_place, repository, name))
        parts[name] = split
        notes += split_notes(split)
    return Splits(task.name, "hub", f"the hub's {repository}, {config}", parts, warnings=tuple(notes))


def hub_rows(task: Task) -> dict[str, Raw]:
    """train, validation, test -> the raw columns of any data set, with names for class codes. Skips other splits.

    Raises UserError when the data set cannot be had or has no train split.
    """
    found = _data_set(task)
    if task.train is not None and task.train not in found:
        raise UserError(f"data.hub={task.hub}: there is no '{task.train}' split; there: {', '.join(found)}.")
    raws = {}
    names_of = {"train": (task.train,), "validation": task.validation, "test": task.test}
    for split, official in names_of.items():
        name = next((name for name in official if name in found), None)
        if name is None:
            continue
        rows = found[name]
        names = {name: tuple(kind.names) for name, kind in rows.features.items() if hasattr(kind, "names")}
        columns = {name: with_names(list(values), names.get(name)) for name, values in rows[:].items()}
        raws[split] = Raw(f"hub {task.hub}, {split}", columns, list(range(len(rows))), names)
    return raws


def _data_set(task: Task) -> Any:
    """The splits of a data set by name, from the hub or its cache."""
    import datasets  # datasets takes seconds

    online = hub_reachable()
    repository, config = _named(task.hub or "")
    try:
        with _offline(not online), _quiet(datasets):
            return datasets.load_dataset(repository, config)
    except (OSError, ValueError) as error:  # datasets raises ConnectionError, FileNotFoundError or ValueError
        reason = str(error).splitlines()[0] if online else "not in reach, and not in its cache here"
        raise UserError(no_hub_message(task, reason)) from error


def _named(hub: str) -> tuple[str, str | None]:
    """`owner/name:config` in its two parts."""
    repository, _, config = hub.partition(":")
    return repository, config or None


def _place(repository: str, split: str, row: int) -> str:
    return f"hub {repository}, {split} row {row}"


def no_hub_message(task: Task, reason: str) -> str:
    """The error message for rows that the hub does not give: the reason, and what to do instead."""
    repository, _ = _named(task.hub or "")
    ways = (
        "Do one of three things: data.dir=DIR (GLUE's parquet or TSV files); `petbench data fetch DIR` on a "
        "machine with network; data=toy (generated rows, marked so)."
        if task.glue is not None
        else "Check the name, or give its rows as files: data.file=FILE."
    )
    return f"{task.name}: cannot get {repository} from the hub ({reason}).\n{ways}"


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Inside, `datasets` is in offline mode: it reads its cache and does not wait for a network."""
    import datasets  # datasets takes seconds

    holders: list[Any] = [constants, datasets.config]
    before = [holder.HF_HUB_OFFLINE for holder in holders]
    for holder, value in zip(holders, before, strict=True):
        holder.HF_HUB_OFFLINE = value or wanted
    try:
        yield
    finally:
        for holder, value in zip(holders, before, strict=True):
            holder.HF_HUB_OFFLINE = value


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Inside, `datasets` shows no progress bars and logs no retries."""
    bars, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        if not bars:
            datasets.enable_progress_bars()
        datasets.logging.set_verbosity(level)
