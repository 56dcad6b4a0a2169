"""The unfinished sweeps of a results folder: `sweeps/<name>.json` lists the runs that a sweep is to train.

A run's folder tells how far the run is, but waiting runs have no folder yet: only this file knows them. It is written
when a sweep starts and removed when all its runs have ended. After a stop it stays, with the command to continue.
"""

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from petbench.files import write_json
from petbench.training.claim_file import started

FOLDER = "sweeps"


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, the process that trains them, and when it began (seconds since the epoch)."""

    runs: Mapping[str, str]  # run id -> label
    command: str
    host: str
    pid: int
    started: float | None  # when the process started: later another process may have the same number
    since: float

    @property
    def alive(self) -> bool | None:
        """Whether its process still runs; None if it is on another machine, since that cannot be seen from here."""
        if self.host != socket.gethostname():
            return None
        return self.started is not None and started(self.pid) == self.started


def this_sweep(runs: Mapping[str, str], since: float) -> Sweep:
    """The sweep of these runs by this process."""
    pid = os.getpid()
    command = shlex.join(["petbench", *sys.argv[1:]])
    return Sweep(dict(runs), command, socket.gethostname(), pid, started(pid), since)


def note(results_dir: Path, sweep: Sweep) -> Path:
    """Write the file of a sweep; it replaces that of an earlier sweep of the same runs."""
    path = _path(results_dir, sweep)
    write_json(path, asdict(sweep))
    return path


def forget(results_dir: Path, sweep: Sweep) -> None:
    """Remove the file of a sweep."""
    _path(results_dir, sweep).unlink(missing_ok=True)


def _path(results_dir: Path, sweep: Sweep) -> Path:
    name = sha256(" ".join(sorted(sweep.runs)).encode()).hexdigest()[:12]
    return results_dir / FOLDER / f"{name}.json"


def sweeps(results_dir: Path) -> list[Sweep]:
    """All sweeps that have a file, oldest first; a file that cannot be read is left out."""
    found = []
    for path in sorted(results_dir.glob(f"{FOLDER}/*.json")):
        try:
            found.append(Sweep(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    return sorted(found, key=lambda sweep: sweep.since)


def clock(moment: float) -> str:
    """A time as `14:03`, with the date if it is not today's."""
    then, now = time.localtime(moment), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)
