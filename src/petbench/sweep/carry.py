"""Carry: bring the files of a run back from a node that does not see the results folder of the process that waits.

The waiting process leaves a mark in its results folder. A node that sees the mark shares the folder and hands back
only the score; another hands back the files of the run's folder with it, and the waiting process writes them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from petbench.files import replacing
from petbench.record import RECORD_FILE, RESUME_FILE, run_folder
from petbench.training.claim_file import CLAIM_FILE

Folder = dict[str, bytes]  # path below a run's folder -> content


@dataclass(frozen=True)
class Carried:
    """What a job returned, and the folders of the runs that it ended, by run id."""

    value: Any
    folders: dict[str, Folder]


@dataclass(frozen=True)
class Carrier:
    """A launcher's task that also returns its run's files where the results folder is not shared."""

    task: Callable[[Any], Any]
    mark: str = field(default_factory=lambda: f".seen-{uuid4().hex}")

    def __call__(self, config: Any) -> Any:
        results = Path(config.results_dir)
        if (results / self.mark).exists():
            return self.task(config)
        before = _ends(results)
        value = self.task(config)
        new = [run_id for run_id, at in _ends(results).items() if before.get(run_id) != at]
        return Carried(value, {run_id: _packed(run_folder(results, run_id)) for run_id in new})

    @contextmanager
    def marking(self, results: Path) -> Iterator[None]:
        """Inside, a node can tell whether it sees this folder."""
        results.mkdir(parents=True, exist_ok=True)
        (results / self.mark).touch()
        try:
            yield
        finally:
            (results / self.mark).unlink(missing_ok=True)


def unpack(carried: Any, results: Path) -> None:
    """Write the files of a job that came back from another disk, each record last: it makes its run done."""
    if not isinstance(carried, Carried):
        return
    for run_id, files in carried.folders.items():
        for name in sorted(files, key=lambda name: name == RECORD_FILE):
            with replacing(run_folder(results, run_id) / name) as half:
                half.write_bytes(files[name])


def _ends(results: Path) -> dict[str, int]:
    """When each run of a folder ended, in nanoseconds."""
    return {path.parent.name: path.stat().st_mtime_ns for path in results.glob(f"runs/*/{RECORD_FILE}")}


def _packed(folder: Path) -> Folder:
    """The files of a run without its claim, hidden files and resume state."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    left = {CLAIM_FILE, RESUME_FILE}
    kept = [path for path in files if not path.name.startswith(".") and path.name not in left]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}
