"""One run, as a recipe: plan, rows, model, adapter, train, report, record."""

import contextlib
import os
import shutil
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petbench import signals
from petbench.atomic import write_text
from petbench.claim import LOCK_FILE, claimed
from petbench.config import BudgetSpec, RunSpec
from petbench.console import is_main_process, say, warn
from petbench.content import Content, content_of, located
from petbench.errors import Diverged, NotHere, RunError, UserError
from petbench.plan import Plan, plan
from petbench.record import RECORD_FILE, Record, Status, read_record, run_folder, write_record
from petbench.resume import RESUME_FILE
from petbench.tasks.protocols import Cut, cut
from petbench.tasks.rows import companion_splits, load_splits
from petbench.tasks.splits import Splits, content_digest


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
        """All that makes it this run: what its id is the hash of."""
        return self.spec.identity() | self.content.values()

    @property
    def folder(self) -> Path:
        return run_folder(self.spec.results_dir, self.run_id)


_SPLITS: dict[str, Splits] = {}  # the members of a sweep read the rows once,
_CUTS: dict[str, Cut] = {}  # and cut them once


def prepare(spec: RunSpec) -> Prepared:
    """Plan, read and cut the rows, digest the rest. Raises UserError on anything that cannot be; nothing is
    written."""
    spec = located(spec)
    planned = plan(spec)
    splits, rows = rows_of(spec)
    content = content_of(spec, data_digest(splits, rows))
    return Prepared(planned, splits, rows, content, planned.spec.run_id(content.values()))


def run_id_of(spec: RunSpec) -> str | None:
    """The run's id without planning it, for telling what is done already; None where a budget sets the size, and
    while its model or the run that it starts from is not here."""
    if spec.budget != BudgetSpec():
        return None
    spec = located(spec)
    content = content_of(spec, data_digest(*rows_of(spec)))
    return None if content.missing else spec.run_id(content.values())


def rows_of(spec: RunSpec) -> tuple[Splits, Cut]:
    """The task's splits and their cut under the run's protocol, read once a process."""
    config = spec.canonical()
    source = {"task": spec.task.name, "data": config["data"], "dir": os.environ.get("PETBENCH_GLUE")}
    key = content_digest(source)
    if key not in _SPLITS:
        _SPLITS[key] = load_splits(spec.task.name, spec.data)
        _warn(_SPLITS[key].warnings)
    splits = _SPLITS[key]
    cut_key = content_digest(source | {"task": config["task"], "protocol": config["protocol"]})
    if cut_key not in _CUTS:
        whole = spec.protocol.name == "glue_test"
        companions = companion_splits(spec.task.name, spec.data) if whole else {}
        _CUTS[cut_key] = cut(splits, spec.protocol, spec.task, spec.data, companions)
        _warn(_CUTS[cut_key].warnings)
    return splits, _CUTS[cut_key]


def _warn(lines: Sequence[str]) -> None:
    for line in lines if is_main_process() else ():
        warn(line)


def data_digest(splits: Splits, rows: Cut) -> str:
    """Digest of the official splits that the run uses; others in the same folder make no difference."""
    used = {name for part, name in rows.origin.items() if not part.startswith("predict/")}
    digests: dict[str, Any] = {name: splits.split_digests[name] for name in sorted(used)}
    digests |= {part: split.digest for part, split in rows.parts().items() if part.startswith("predict/")}
    return content_digest({"task": splits.task, "splits": digests})


def run(spec: RunSpec, *, group: str | None = None, since: float | None = None) -> Record:
    """Train and score one run, or return its record when it is done already.

    since: when the sweep of this run began, in seconds since the epoch. What failed later failed in another
    sweep over the same cells, and is not tried again by this one.
    Writes the run's folder; the record comes last. Raises UserError for a mistake (nothing is left that
    was not there), RunError when the run failed or diverged or the disk broke (recorded with its reason, and
    all that was trained is kept), Interrupted when a signal stopped it (recorded; the next call goes on).
    """
    prepared = prepare(spec)
    if prepared.content.missing:
        raise NotHere("\n".join(prepared.content.missing))
    was_there = prepared.folder.exists()
    if (earlier := _done(prepared, since)) is not None:
        return earlier
    try:
        with (
            signals.stop_signals(),
            claimed(prepared.folder) if is_main_process() else contextlib.nullcontext(),
        ):
            # Another process may have finished it between the first look and the claim.
            return _done(prepared, since) or _train(prepared, group)
    except UserError:
        if not was_there and is_main_process():
            _remove_unfinished(prepared.folder)
        raise


def note_failure(spec: RunSpec, reason: str) -> None:
    """Record a member of a sweep that a mistake ended after planning: the sweep goes on, its table says why."""
    _write_end(prepare(spec), "failed", reason)


def _done(prepared: Prepared, since: float | None) -> Record | None:
    """The record of a run that is done, said aloud; else None. Raises RunError for one that failed and that
    `retry=false` leaves, or that failed after `since`."""
    record = read_record(prepared.folder)
    if record is None:
        return None
    if record.status in ("failed", "diverged"):
        told = f"run {record.run_id} {record.status}"
        if not prepared.spec.retry:
            raise RunError(f"{told} before ({record.reason}); retry=false leaves it.")
        if since is not None and (prepared.folder / RECORD_FILE).stat().st_mtime >= since:
            raise RunError(f"{told} in another sweep just now ({record.reason}); the next call tries again.")
    if record.status != "done":
        return None
    say(
        f"{prepared.run_id} is done already ({record.adapter}, {record.task}, seed {record.seed}): nothing to run."
    )
    return record


def _train(prepared: Prepared, group: str | None) -> Record:
    """Train and score; a record is written whatever the end."""
    from petbench.runtime import free_dead_model  # the slow imports wait until something really runs
    from petbench.session import train_and_score

    started = time.perf_counter()
    try:
        if is_main_process():
            _remove_half_written(prepared.folder)
            write_text(prepared.folder / "config.yaml", _as_yaml(prepared.spec))
        record = train_and_score(prepared, group=group, started=started)
        free_dead_model()
    except KeyboardInterrupt as stop:
        _write_interrupted(prepared, stop)
        raise
    except UserError:
        raise
    except Diverged as error:
        _write_end(prepared, "diverged", str(error))
        raise
    except RunError as error:
        _write_end(prepared, "failed", str(error))
        raise
    except Exception as error:
        asked = signals.asked()
        if asked is not None:  # another process of this run stopped first, and its pipe broke
            _write_interrupted(prepared, asked)
            raise asked from error
        reason = f"{type(error).__name__}: {error}"
        _write_end(prepared, "failed", reason, traceback.format_exc())
        raise RunError(
            f"run {prepared.run_id} failed: {reason} (trace: {prepared.folder / 'error.txt'})"
        ) from error
    if is_main_process():
        (prepared.folder / "error.txt").unlink(missing_ok=True)  # of an earlier try
    return record


def _write_interrupted(prepared: Prepared, stop: KeyboardInterrupt) -> None:
    by = "the user" if signals.exit_status(stop) == 130 else str(stop)
    _write_end(prepared, "interrupted", f"stopped by {by}")


def _write_end(prepared: Prepared, status: Status, reason: str, trace: str | None = None) -> None:
    """Record an end that is not `done`, if the disk still takes it. What came after `done` was written changes
    nothing any more."""
    if not is_main_process():
        return
    spec = prepared.spec
    record = Record(
        run_id=prepared.run_id,
        status=status,
        reason=reason,
        task=spec.task.name,
        model=spec.model.label,
        adapter=spec.adapter.label,
        seed=spec.seed,
        config=spec.canonical(),
        protocol=spec.protocol.name,
        params=prepared.plan.params,
        provenance={"content": prepared.content.values()},
    )
    with contextlib.suppress(UserError, RunError):  # the first error is the one to show
        earlier = read_record(prepared.folder)
        if earlier is not None and earlier.status == "done":
            return
        if trace is not None:
            write_text(prepared.folder / "error.txt", trace)
        write_record(record, spec.results_dir)


def _remove_half_written(folder: Path) -> None:
    """Take away what a killed process was just writing: files are written under a hidden name, then renamed."""
    for place in (folder, folder / "adapter", folder / "predictions", folder / "plots"):
        for path in place.glob(".*"):
            if path.name != LOCK_FILE and path.is_file():
                path.unlink(missing_ok=True)


def _remove_unfinished(folder: Path) -> None:
    """Take away the folder of a run that a mistake ended, unless something trained is in it."""
    if not (folder / RESUME_FILE).exists() and not (folder / "adapter").exists():
        shutil.rmtree(folder, ignore_errors=True)


def _as_yaml(spec: RunSpec) -> str:
    import yaml

    head = (
        "# The whole config of this run, as validated. Its identity leaves out paths, loggers and devices.\n"
    )
    return head + yaml.safe_dump(spec.canonical(), sort_keys=False, allow_unicode=True)
