"""The state of the runs of a results folder (running, waiting, done, failed, stopped), read from its files.

It does not matter which process or machine trains them. Torch is not imported, so that `petbench status` answers at
once, also on the login node of a cluster.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from petbench.errors import UserError
from petbench.record import RECORD_FILE, Record, read_record, run_folder
from petbench.record.units import measured
from petbench.tracking.log import read_metrics
from petbench.training.claim import owner
from petbench.training.claim_file import CLAIM_FILE

State = Literal["running", "waiting", "done", "paused", "failed", "stopped"]
ORDER: tuple[State, ...] = ("running", "waiting", "done", "paused", "failed", "stopped")
ENDED: tuple[State, ...] = ("done", "paused", "failed")  # paused: a trial that its sweep left where it stood
LEAST_SECONDS = 60  # before a sweep without a finished run says how long it will take


@dataclass(frozen=True)
class RunState:
    """The state of one run. part: the share of its steps that is done. said: its progress, or why it ended."""

    run_id: str
    label: str
    state: State
    part: float = 0.0
    said: str = ""
    owner: str = ""
    since: float | None = None  # since when a running one runs, in seconds since the epoch
    record: Record | None = None


@dataclass(frozen=True)
class Status:
    """The states of several runs."""

    runs: tuple[RunState, ...]

    def of(self, state: State) -> tuple[RunState, ...]:
        """The runs in this state."""
        return tuple(run for run in self.runs if run.state == state)

    @property
    def counts(self) -> str:
        """`2 running, 3 waiting, 7 done`"""
        counts = Counter(run.state for run in self.runs)
        return ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])

    @property
    def ended(self) -> int:
        """The number of runs that are done, paused or failed."""
        return sum(run.state in ENDED for run in self.runs)

    @property
    def moved(self) -> float:
        """The number of runs that have ended, plus the done shares of those that are running."""
        return self.ended + sum(run.part for run in self.of("running"))

    def seconds_left(self, since: float) -> float | None:
        """Seconds until no run runs or waits, at the pace since `since`, when all of them waited. None before the first
        run is over or a minute has passed: until then most of the time went into starting."""
        left = sum(1 - run.part for run in self.runs if run.state in ("running", "waiting"))
        passed = time.time() - since
        known = self.moved >= 1 or (self.moved > 0 and passed >= LEAST_SECONDS)
        return passed * left / self.moved if known else None


@dataclass
class Watch:
    """Reads the states of runs again and again; files that have not changed since the last time are not read."""

    results_dir: Path
    _records: dict[Path, tuple[int, Record | None]] = field(default_factory=dict)

    def look(self, runs: Mapping[str, str], since: float | None = None) -> Status:
        """The states of these runs (id -> label). since: when the sweep that is to train them began; a run that failed
        before then is waiting to be tried again."""
        return Status(tuple(self._look(run_id, label, since) for run_id, label in runs.items()))

    def all_runs(self) -> dict[str, str]:
        """Every run of the folder, id -> label; the label is empty if it is not known yet."""
        folders = sorted(path for path in self.results_dir.glob("runs/*") if path.is_dir())
        return {path.name: label_of(path) for path in folders}

    def _look(self, run_id: str, label: str, since: float | None) -> RunState:
        folder = run_folder(self.results_dir, run_id)
        if not folder.is_dir():
            return RunState(run_id, label, "waiting")
        holder = owner(folder)
        if holder is not None:
            part, said = progress(folder)
            return RunState(run_id, label, "running", part, said, holder, _claimed_at(folder))
        record, written = self._record(folder)
        if record is None or (record.status != "done" and since is not None and written < since):
            return RunState(run_id, label, "waiting" if since is not None else "stopped", record=record)
        if record.status == "done":
            return RunState(run_id, label, "done", 1.0, record=record)
        if record.status == "paused":
            return RunState(run_id, label, "paused", said=record.reason or "", record=record)
        state: State = "failed" if record.status in ("failed", "diverged") else "stopped"
        return RunState(run_id, label, state, said=_reason(record), record=record)

    def _record(self, folder: Path) -> tuple[Record | None, float]:
        """The current record, and when it was written (seconds since the epoch)."""
        path = folder / RECORD_FILE
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            return None, 0.0
        if self._records.get(path, (None,))[0] != stamp:
            try:
                self._records[path] = (stamp, read_record(folder))
            except UserError:
                self._records[path] = (stamp, None)
        return self._records[path][1], stamp / 1e9


def _reason(record: Record) -> str:
    text = " ".join((record.reason or "").split())
    return text if record.status == "failed" else f"{record.status}: {text}"


def progress(folder: Path) -> tuple[float, str]:
    """The share of a run's steps that is done, and its last logged state: `step 40 of 200, accuracy 0.6130`."""
    lines = read_metrics(folder)
    if not lines:
        return 0.0, "starting"
    trainer = _config(folder).get("trainer") or {}
    step, epoch = int(lines[-1]["step"]), float(lines[-1]["epoch"] or 0)
    steps, epochs = trainer.get("max_steps"), float(trainer.get("epochs") or 0)
    part = step / steps if steps else epoch / epochs if epochs else 0.0
    values: dict[str, Any] = {}
    for line in lines:
        values |= line["values"]
    scores = [
        f"{name.partition('/')[2].replace('_', ' ')} {measured(value)}"
        for name, value in values.items()
        if name.startswith("selection/") and value is not None
    ]
    how_far = f"step {step:,}" + (f" of {steps:,}" if steps else f", epoch {epoch:.1f} of {epochs:g}")
    return min(1.0, part), ", ".join([how_far, *scores[:1]])


def label_of(folder: Path) -> str:
    """A run's label, `krona rte minilm seed 0`, from the config that it writes when it starts; empty before."""
    config = _config(folder)
    try:
        adapter, task, model = config["adapter"], config["task"]["name"], config["model"]
        name = adapter.get("name") or adapter["method"]
        return f"{name} {task} {model.get('label') or model['name']} seed {config['seed']}"
    except (KeyError, TypeError, AttributeError):
        return ""


def _config(folder: Path) -> Mapping[str, Any]:
    """A run's `config.yaml`; empty when it is not written yet."""
    path = folder / "config.yaml"
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError:
        return {}


@cache
def _parsed(path: Path, stamp: int) -> Mapping[str, Any]:
    reader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=reader)
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _claimed_at(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / CLAIM_FILE).read_text(encoding="utf-8"))["since"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def owners(runs: Iterable[RunState]) -> str:
    """The number of running runs on each machine: `host: 2, other: 1`."""
    counts = Counter(run.owner.partition(",")[0] for run in runs)
    return ", ".join(f"{host}: {number}" for host, number in counts.items())
