"""One run, as a recipe: plan, rows, model, adapter, train, report, record."""

import contextlib
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from petbench.config.spec import RunSpec
from petbench.console import is_main_process, say, without_secrets
from petbench.errors import Diverged, NotHere, Paused, RunError, UserError
from petbench.files import half_written, write_text
from petbench.machine import signals
from petbench.machine.devices import free_dead_model
from petbench.record import (
    RECORD_FILE,
    RESUME_FILE,
    Cost,
    Point,
    Provenance,
    Record,
    Status,
    read_record,
    write_record,
)
from petbench.tracking.log import METRICS
from petbench.training.claim import LOCK_FILE, Busy, Claim, claimed, owner
from petbench.training.claim_file import CLAIM_FILE
from petbench.training.draws import draws
from petbench.training.pause import stays_paused
from petbench.training.prepare import Prepared
from petbench.training.session import SOLO, Solo
from petbench.training.space import warn_of_space
from petbench.training.told import tell_again
from petbench.training.train import train_and_score

FOLDERS = ("adapter", "predictions", "plots")  # in a run's folder
BEGUN = (
    "config.yaml",
    "error.txt",
    METRICS,
    CLAIM_FILE,
    LOCK_FILE,
)  # the only files of a run before anything is trained


@dataclass(frozen=True)
class Attempt:
    """One try at a run: the claim that the main process holds, how its weights are opened, and when it began (seconds
    of `way.now`)."""

    claim: Claim | None
    way: Solo
    started: float


def run(
    prepared: Prepared, *, group: str | None = None, since: float | None = None, way: Solo = SOLO
) -> Record:
    """Train and score one run, or return its record when it is done already.

    since: when the sweep of this run began, in seconds since the epoch. A run that failed later failed in
    another sweep of the same members, and is not tried again by this one. way: how its weights are opened.
    Writes the run's folder, the record last. Raises UserError for a mistake (no new file is left), RunError
    when the run failed or diverged or the disk failed (recorded with its reason, and all that was trained is
    kept), Interrupted when a signal stopped it (recorded; the next call resumes).
    """
    if prepared.content.missing:
        raise NotHere("\n".join(prepared.content.missing))
    was_there = prepared.folder.exists()
    if (earlier := _done(prepared, since)) is not None:
        _clear_up(prepared.folder)
        return earlier
    with (
        signals.stop_signals(),
        claimed(prepared.folder) if is_main_process() else contextlib.nullcontext() as claim,
    ):
        try:
            # Another process may have finished it between the first look and the claim.
            if (earlier := _done(prepared, since)) is not None:
                return earlier
            _refuse_links(prepared.folder)
            if is_main_process():
                warn_of_space(prepared)
            return _train(prepared, group, claim, way)
        except UserError:
            if not was_there and is_main_process():
                _remove_unfinished(prepared.folder)
            raise


def _clear_up(folder: Path) -> None:
    """Remove what a kill between the record and the run's end left: the resume state and the dead owner's claim."""
    left = any((folder / name).exists() for name in (RESUME_FILE, CLAIM_FILE))
    if left and is_main_process() and owner(folder) is None:
        with (
            contextlib.suppress(RunError, UserError),
            claimed(folder),
        ):  # a folder that cannot be written stays as it is
            (folder / RESUME_FILE).unlink(missing_ok=True)


def note_failure(prepared: Prepared, reason: str) -> None:
    """Record a member of a sweep that failed by a mistake after planning: the sweep goes on and its table says why."""
    _write_end(prepared, "failed", reason)


def _done(prepared: Prepared, since: float | None) -> Record | None:
    """The record of a run that is done already, which is printed; else None. Raises RunError for one that failed
    where `retry=false`, or that failed after `since`."""
    record = read_record(prepared.folder)
    if record is None:
        return None
    if record.status in ("failed", "diverged"):
        told = f"run {record.run_id} {record.status}"
        if not prepared.spec.retry:
            raise RunError(f"{told} before ({record.reason}); retry=false does not try it again.")
        if since is not None and (prepared.folder / RECORD_FILE).stat().st_mtime >= since:
            raise RunError(f"{told} in another sweep just now ({record.reason}); the next call tries again.")
    if record.status == "paused" and stays_paused(prepared.spec.tuning):
        return record
    if record.status != "done":
        return None
    if is_main_process():
        tell_again(prepared, record)
    say(
        f"{prepared.run_id} is done already ({record.adapter}, {record.task}, seed {record.seed}): nothing to run."
    )
    return record


def _train(prepared: Prepared, group: str | None, claim: Claim | None, way: Solo) -> Record:
    """Train and score; a record is written whatever the end."""
    attempt = Attempt(claim, way, way.now())
    try:
        if is_main_process():
            _remove_half_written(prepared.folder)
            write_text(prepared.folder / "config.yaml", _as_yaml(prepared.spec))
        record = train_and_score(prepared, claim, group=group, started=attempt.started, way=way)
        free_dead_model()
    except KeyboardInterrupt as stop:
        _write_interrupted(prepared, attempt, stop)
        raise
    except Paused as pause:
        record = _write_end(prepared, "paused", str(pause), attempt, curve=pause.curve)
    except (UserError, Busy):  # Busy: the folder is another process's now
        raise
    except Diverged as error:
        _write_end(prepared, "diverged", str(error), attempt)
        raise
    except RunError as error:
        _write_end(prepared, "failed", str(error), attempt)
        raise
    except Exception as error:
        asked = signals.asked()
        if asked is not None:  # another process of this run stopped first, and its pipe broke
            _write_interrupted(prepared, attempt, asked)
            raise asked from error
        reason = f"{type(error).__name__}: {error}"
        _write_end(prepared, "failed", reason, attempt, traceback.format_exc())
        raise RunError(
            f"run {prepared.run_id} failed: {reason} (trace: {prepared.folder / 'error.txt'})"
        ) from error
    if is_main_process():
        (prepared.folder / "error.txt").unlink(missing_ok=True)  # of an earlier try
    return record


def _write_interrupted(prepared: Prepared, attempt: Attempt, stop: KeyboardInterrupt) -> None:
    by = "the user" if signals.exit_status(stop) == 130 else str(stop)
    _write_end(prepared, "interrupted", f"stopped by {by}", attempt)


def _write_end(
    prepared: Prepared,
    status: Status,
    reason: str,
    attempt: Attempt | None = None,
    trace: str | None = None,
    curve: Sequence[Mapping[str, Any]] = (),
) -> Record:
    """Record an end other than `done` and the seconds of the attempt, where the disk can still be written and the run
    is still this process's. A record that says `done` is never replaced."""
    spec = prepared.spec
    record = Record(
        run_id=prepared.run_id,
        status=status,
        reason=reason,
        date=datetime.now(UTC).replace(microsecond=0),
        task=spec.task.name,
        model=spec.model.label,
        adapter=spec.adapter.label,
        seed=spec.seed,
        config=spec.canonical(),
        protocol=spec.protocol.name,
        params=prepared.plan.params,
        cost=Cost(train_seconds=None if attempt is None else attempt.way.now() - attempt.started),
        curve=tuple(Point.model_validate(point) for point in curve),
        provenance=Provenance(content=prepared.content.facts, draws=draws(spec), tuning=spec.tuning),
    )
    if not is_main_process():
        return record
    with contextlib.suppress(UserError, RunError):  # the first error is the one to show
        if attempt is not None and attempt.claim is not None:
            attempt.claim.require()
        earlier = read_record(prepared.folder)
        if earlier is not None and earlier.status == "done":
            return record
        if trace is not None:
            write_text(prepared.folder / "error.txt", without_secrets(trace))
        write_record(record, spec.results_dir)
    return record


def _remove_half_written(folder: Path) -> None:
    """Remove what a killed process was writing: files are written under a hidden name, then renamed."""
    for place in (folder, *(folder / name for name in FOLDERS)):
        for path in half_written(place):
            path.unlink(missing_ok=True)


def _remove_unfinished(folder: Path) -> None:
    """Remove the new folder of a run that a mistake ended, unless something trained is in it; files that petbench did
    not write stay."""
    if (folder / RESUME_FILE).exists() or (folder / "adapter").exists():
        return
    shutil.rmtree(folder / "wandb", ignore_errors=True)  # does not follow a link
    for path in [*half_written(folder), *(folder / name for name in BEGUN)]:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _refuse_links(folder: Path) -> None:
    """Raise UserError where a run would write or delete through a symbolic link in its folder."""
    places = [path for path in (folder, *(folder / name for name in FOLDERS)) if path.is_dir()]
    links = sorted(path for place in places for path in place.iterdir() if path.is_symlink())
    if links:
        raise UserError(
            f"{links[0]} is a symbolic link, and a run writes and deletes in its folder. Remove the link, or "
            "replace it by what it points to."
        )


def _as_yaml(spec: RunSpec) -> str:
    head = "# The whole config of this run, as validated. The run's id ignores paths, loggers and devices.\n"
    return head + yaml.safe_dump(spec.canonical(), sort_keys=False, allow_unicode=True)
