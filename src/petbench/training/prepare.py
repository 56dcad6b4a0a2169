"""Prepare a run: plan it, read and cut its rows, determine its id."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from petbench.config.sections import BudgetSpec
from petbench.config.spec import RunSpec, canonical_json
from petbench.config.task import Task
from petbench.console import is_member, warn
from petbench.errors import UserError
from petbench.record import run_folder
from petbench.tasks.protocols import Cut, cut
from petbench.tasks.rows.load import ENV_DIR, companion_splits, load_splits
from petbench.tasks.splits import Splits, content_digest
from petbench.training.draws import drawn
from petbench.training.plan import Keyed, Plan, plan, spec_from
from petbench.tuned.content import Content, content_of, located


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start: planned, its rows cut, its id known."""

    plan: Plan
    splits: Splits
    rows: Cut
    content: Content
    run_id: str

    @property
    def spec(self) -> RunSpec:
        return self.plan.spec

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        trainer = self.spec.trainer
        per_epoch = -(-len(self.rows.train) // trainer.batch_size)
        return trainer.max_steps or max(1, round(trainer.epochs * per_epoch))

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies the run: its id is the hash of these values."""
        return self.spec.identity() | self.content.values()

    @property
    def folder(self) -> Path:
        return run_folder(self.spec.results_dir, self.run_id)


TASKS_KEPT = 12  # a sweep goes through all GLUE tasks in turn, and reads each once


def prepare(spec: RunSpec) -> Prepared:
    """Plan the run, read and cut its rows, digest its content. Raises UserError when anything is impossible; writes
    nothing."""
    spec = located(spec)
    planned = plan(spec)
    splits, rows = rows_of(spec)
    content = content_of(spec, data_digest(splits, rows))
    return Prepared(planned, splits, rows, content, planned.spec.run_id(content.values()))


def run_id_of(spec: RunSpec) -> str | None:
    """The run's id without planning the run, to find what is done already; None where a budget sets the size, and
    while its model or the run that it starts from cannot be reached."""
    if spec.budget != BudgetSpec():
        return None
    spec = located(spec)
    content = content_of(spec, data_digest(*rows_of(spec)))
    return None if content.missing else spec.run_id(content.values())


def rows_of(spec: RunSpec) -> tuple[Splits, Cut]:
    """The task's splits and their cut under the run's protocol and draws."""
    spec = drawn(spec)
    config = spec.canonical()
    task = spec.task.model_dump(mode="json", include=set(Task.model_fields))
    source = {"task": task, "data": config["data"], "dir": os.environ.get(ENV_DIR)}
    cut_by = source | {"task": config["task"], "protocol": config["protocol"]}
    found = Keyed(canonical_json(source), spec)
    return _splits(found), _cut(Keyed(canonical_json(cut_by), spec), found)


@lru_cache(maxsize=TASKS_KEPT)
def _splits(keyed: Keyed) -> Splits:
    splits = load_splits(keyed.spec.task, keyed.spec.data)
    _warn(splits.warnings)
    return splits


@lru_cache(maxsize=TASKS_KEPT)
def _cut(keyed: Keyed, found: Keyed) -> Cut:
    spec = keyed.spec
    companions = companion_splits(spec.task, spec.data) if spec.protocol.name == "glue_test" else {}
    rows = cut(_splits(found), spec.protocol, spec.task, spec.data, companions)
    _warn(rows.warnings)
    return rows


def data_digest(splits: Splits, rows: Cut) -> str:
    """Digest of the official splits that the run uses; others in the same folder make no difference."""
    used = {name for part, name in rows.origin.items() if not part.startswith("predict/")}
    digests: dict[str, Any] = {name: splits.split_digests[name] for name in sorted(used)}
    digests |= {part: split.digest for part, split in rows.parts().items() if part.startswith("predict/")}
    return content_digest({"task": splits.task, "splits": digests})


def start_id(values: dict[str, Any]) -> str | None:
    """The run id of composed values; None where its rows or its model cannot be reached."""
    try:
        return run_id_of(spec_from(values))
    except UserError:
        return None


def _warn(lines: Sequence[str]) -> None:
    # The process that planned a sweep has warned for all its members.
    for line in () if is_member() else lines:
        warn(line)
