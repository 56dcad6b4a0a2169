"""Rows from the hub's `nyu-mll/glue`, with an answer within seconds where no hub is in reach."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from petbench.errors import UserError
from petbench.machine.network import hub_reachable
from petbench.tasks.glue import Task
from petbench.tasks.rows.checks import checked_split, split_notes
from petbench.tasks.splits import Splits

REPOSITORY = "nyu-mll/glue"


def require_hub(task: Task) -> None:
    """Raise UserError when no hub is in reach and no cache on this machine can hold its rows."""
    from huggingface_hub import constants

    arrow = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    caches = Path(arrow) / "nyu-mll___glue", Path(constants.HF_HUB_CACHE) / "datasets--nyu-mll--glue"
    if not any(path.exists() for path in caches) and not hub_reachable():
        raise UserError(no_hub_message(task, "not in reach, and not in its cache here"))


def load_hub(task: Task) -> Splits:
    """All splits of a task from the hub, or from its cache. Raises UserError that names the three ways on."""
    import datasets

    online = hub_reachable()
    try:
        with _offline(not online), _quiet(datasets):
            found = datasets.load_dataset(REPOSITORY, task.name)
    except (OSError, ValueError) as error:  # datasets raises ConnectionError, FileNotFoundError or ValueError
        reason = str(error).splitlines()[0] if online else "not in reach, and not in its cache here"
        raise UserError(no_hub_message(task, reason)) from error
    parts, notes = {}, []
    for name in task.splits:
        if name not in found:
            continue
        split = checked_split(task, name, found[name][:], partial(_place, name))
        parts[name] = split
        notes += split_notes(split)
    return Splits(task.name, "hub", f"the hub's {REPOSITORY}, {task.name}", parts, warnings=tuple(notes))


def _place(split: str, row: int) -> str:
    return f"hub {REPOSITORY}, {split} row {row}"


def no_hub_message(task: Task, reason: str) -> str:
    """What to do without a hub, in two lines."""
    return (
        f"{task.name}: cannot get {REPOSITORY} from the hub ({reason}).\n"
        "Three ways on: data.dir=DIR (GLUE's parquet or TSV files); `petbench data fetch DIR` on a "
        "machine with network; data=toy (generated rows, marked so)."
    )


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Offline mode for a while: `datasets` then reads its cache and does not wait for a network."""
    import datasets
    from huggingface_hub import constants

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
    """No progress bars and no retry log while loading."""
    bars, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        if not bars:
            datasets.enable_progress_bars()
        datasets.logging.set_verbosity(level)
