"""Run logging: every run's `metrics.jsonl`, and W&B beside it when it is asked for."""

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
    """What a run tells while it goes on. Only the main process of a run holds one."""

    def log(
        self, step: int, values: Mapping[str, float], epoch: float | None = None, seconds: float = 0.0
    ) -> None:
        """Numbers at an optimiser step; `epoch` counts from 0 and may be fractional; `seconds` of training so far."""

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A named table, as the parameter and score tables at the end of a run."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Fields that stand for the whole run, such as `score` and `tuned_params`."""

    def image(self, name: str, path: Path) -> None:
        """A picture file."""

    def answers(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        labels: Sequence[float],
        answers: Sequence[int | float | None],
    ) -> None:
        """Label and answer of every row behind the headline number; names: the classes', none of a regression."""

    def artifact(
        self, name: str, folder: Path, facts: Mapping[str, Any] | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """A folder of files, such as the adapter; what is known of it, and names besides `latest`."""

    def finish(self, status: str) -> None:
        """Close: `done`, `failed`, `diverged` or `interrupted`."""

    def reference(self) -> dict[str, Any]:
        """Where the run can be found again, for the record's `wandb` field; empty without W&B."""


class JsonlTracker:
    """One JSON object a line: step, epoch, seconds (of all steps so far: no loading, no evaluation), values.

    Tables, summaries and files are not repeated here: the record holds them.
    A value that is not finite becomes null, as JSON has no word for it.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        """Keep the lines of a resumed run (`drop_after` cuts them first); start any other one afresh."""
        self.path = folder / METRICS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a" if resume else "w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def log(
        self, step: int, values: Mapping[str, float], epoch: float | None = None, seconds: float = 0.0
    ) -> None:
        """Append one line. Raises as `atomic.unwritable` says when the disk takes no more."""
        line = {"step": int(step), "epoch": epoch, "seconds": round(seconds, 3), "values": _plain(values)}
        try:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from error

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Nothing: the record has it."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Nothing: the record has it."""

    def image(self, name: str, path: Path) -> None:
        """Nothing: the file is already there."""

    def answers(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        labels: Sequence[float],
        answers: Sequence[int | float | None],
    ) -> None:
        """Nothing: they lie in `answers.npz`."""

    def artifact(
        self, name: str, folder: Path, facts: Mapping[str, Any] | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """Nothing: the folder is already there."""

    def finish(self, status: str) -> None:
        """Close the file. What a full disk did not take was an error of `log`; closing tries it once more."""
        with contextlib.suppress(OSError):
            self._file.close()

    def reference(self) -> dict[str, Any]:
        """Empty: no W&B run."""
        return {}


class Fanout:
    """The same words to several trackers, in order; the first that refers to a W&B run is quoted."""

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
    """Start logging into a run's folder.

    `metrics.jsonl` is always written. W&B joins for `logger=wandb`, with the run id as its own; what a
    resumed run had already logged is told again, so W&B holds the same lines as the file.
    `tags` and `group` of the spec add to, and go before, the ones given here.
    Raises as `atomic.unwritable` says when the folder cannot be written; never because of W&B.
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
    """The lines of a run's `metrics.jsonl`, up to the first broken one (a run killed while writing)."""
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
    """Cut `metrics.jsonl` back to the step that a run resumes from; the number of lines dropped.

    Lines past it will be logged again. Call it before `open_tracker(..., resume=True)`.
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
    """Python floats for numbers of any library; null for what is not finite."""
    plain = {key: float(value) for key, value in values.items()}
    return {key: value if math.isfinite(value) else None for key, value in plain.items()}
