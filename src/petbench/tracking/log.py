"""The log of a run: always `metrics.jsonl`, and a W&B run besides if `logger=wandb`."""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from petbench.config.sections import LoggerSpec
from petbench.files import unwritable, write_text
from petbench.tracking.wandb import WandbTracker, wanted_mode

METRICS = "metrics.jsonl"


class Tracker(Protocol):
    """What a run logs to. Only the main process of a run has one."""

    def log(
        self, step: int, values: Mapping[str, float], epoch: float | None = None, seconds: float = 0.0
    ) -> None:
        """Log numbers at an optimiser step. epoch: counted from 0, may be fractional. seconds: of training so far."""

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Log a named table, such as the parameters and the scores at the end of a run."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Log values of the whole run, such as `score` and `tuned_params`."""

    def image(self, name: str, path: Path) -> None:
        """Log a picture file."""

    def answers(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        labels: Sequence[float],
        answers: Sequence[int | float | None],
    ) -> None:
        """Log label and answer of every row of the headline score. names: of the classes; empty for a regression."""

    def artifact(
        self, name: str, folder: Path, facts: Mapping[str, Any] | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """Log a folder of files, such as the adapter. facts: its metadata. aliases: its names besides `latest`."""

    def finish(self, status: str) -> None:
        """Close the log. status: `done`, `failed`, `diverged` or `interrupted`."""

    def reference(self) -> dict[str, Any]:
        """Where W&B has the run, for the record's `wandb` field; empty without W&B."""


class JsonlTracker:
    """Writes one JSON object per line: step, epoch, seconds, values; seconds of all steps so far, without evaluation.

    Tables, summaries and files are not logged here, since the record holds them. NaN and infinity become null, since
    JSON cannot hold them.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        """Open the file. resume: whether to keep its lines (`drop_after` has to cut them first) or to start empty."""
        self.path = folder / METRICS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a" if resume else "w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def log(
        self, step: int, values: Mapping[str, float], epoch: float | None = None, seconds: float = 0.0
    ) -> None:
        """Append one line. Raises what `files.unwritable` makes of an OSError, such as a full disk."""
        line = {"step": int(step), "epoch": epoch, "seconds": round(seconds, 3), "values": _plain(values)}
        try:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from error

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Does nothing: the record has the table."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Does nothing: the record has the values."""

    def image(self, name: str, path: Path) -> None:
        """Does nothing: the file is already in the run's folder."""

    def answers(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        labels: Sequence[float],
        answers: Sequence[int | float | None],
    ) -> None:
        """Does nothing: the answers are in `answers.npz`."""

    def artifact(
        self, name: str, folder: Path, facts: Mapping[str, Any] | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """Does nothing: the folder is already in the run's folder."""

    def finish(self, status: str) -> None:
        """Close the file. An error is ignored: `log` has already raised it."""
        with contextlib.suppress(OSError):
            self._file.close()

    def reference(self) -> dict[str, Any]:
        """Empty: there is no W&B run."""
        return {}


class Fanout:
    """Forwards every call to several trackers, in order; `reference` is that of the first that has one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)

    def log(
        self, step: int, values: Mapping[str, float], epoch: float | None = None, seconds: float = 0.0
    ) -> None:
        """See Tracker."""
        for tracker in self.trackers:
            tracker.log(step, values, epoch, seconds)

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """See Tracker."""
        rows = [tuple(row) for row in rows]
        for tracker in self.trackers:
            tracker.table(name, columns, rows)

    def summary(self, values: Mapping[str, Any]) -> None:
        """See Tracker."""
        for tracker in self.trackers:
            tracker.summary(values)

    def image(self, name: str, path: Path) -> None:
        """See Tracker."""
        for tracker in self.trackers:
            tracker.image(name, path)

    def answers(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        labels: Sequence[float],
        answers: Sequence[int | float | None],
    ) -> None:
        """See Tracker."""
        for tracker in self.trackers:
            tracker.answers(names, ids, labels, answers)

    def artifact(
        self, name: str, folder: Path, facts: Mapping[str, Any] | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """See Tracker."""
        for tracker in self.trackers:
            tracker.artifact(name, folder, facts, aliases)

    def finish(self, status: str) -> None:
        """See Tracker."""
        for tracker in self.trackers:
            tracker.finish(status)

    def reference(self) -> dict[str, Any]:
        """See Tracker."""
        return next((found for tracker in self.trackers if (found := tracker.reference())), {})


def open_tracker(
    spec: LoggerSpec,
    folder: Path,
    run_id: str,
    config: Mapping[str, Any],
    *,
    tags: Sequence[str] = (),
    group: str | None = None,
    job_type: str = "train",
    name: str | None = None,
    resume: bool = False,
) -> Tracker:
    """Start logging a run into its folder.

    `metrics.jsonl` is always written. With `logger=wandb` a W&B run of the same id is logged, too; what a resumed run
    had already logged is sent again, so that W&B has the same lines as the file. The spec's `tags` come before those
    given here; its `group` replaces the one given here.
    Raises what `files.unwritable` gives when the folder cannot be written; never because of W&B.
    """
    jsonl = JsonlTracker(folder, resume)
    if spec.name != "wandb" or wanted_mode(spec) == "disabled":
        return jsonl
    tracker = WandbTracker(spec, folder, run_id, config, tags=tags, group=group, job_type=job_type, name=name)
    for line in read_metrics(folder) if resume else []:
        values = {key: math.nan if value is None else value for key, value in line["values"].items()}
        tracker.log(line["step"], values, line["epoch"], line["seconds"])
    return Fanout([jsonl, tracker])


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`, up to the first broken one (from a run that was killed while writing)."""
    path = folder / METRICS
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            line["step"], line["seconds"], line["values"]
        except (ValueError, KeyError, TypeError):
            break
        lines.append(line)
    return lines


def drop_after(folder: Path, step: int) -> int:
    """Drop the lines of `metrics.jsonl` after the step that a run resumes from; returns the number of dropped lines.

    The resumed run logs those steps again. Call it before `open_tracker(..., resume=True)`.
    """
    path = folder / METRICS
    if not path.is_file():
        return 0
    kept = [line for line in read_metrics(folder) if line["step"] <= step]
    before = len(path.read_text(encoding="utf-8", errors="replace").splitlines())
    if len(kept) < before:
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    return before - len(kept)


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """The numbers, of whatever library, as Python floats; None for NaN and infinity."""
    plain = {key: float(value) for key, value in values.items()}
    return {key: value if math.isfinite(value) else None for key, value in plain.items()}
