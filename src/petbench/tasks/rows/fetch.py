"""Store all of GLUE in a folder for machines without network, and verify such a folder."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from petbench.config.task import Task
from petbench.errors import UserError
from petbench.files import filling, replacing, write_text
from petbench.machine.network import hub_reachable
from petbench.tasks.glue import TASKS
from petbench.tasks.rows.hub import load_hub, no_hub_message
from petbench.tasks.rows.load import read_local_split, task_folder
from petbench.tasks.splits import Split

SUMS = "SHA256SUMS"  # in the format of `sha256sum -c`


@dataclass(frozen=True)
class Finding:
    """What `check` found for one split: `ok`, `missing`, or `bad` with the reason."""

    task: str
    split: str
    status: str
    rows: int | None
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """The findings for a folder; `whole`: every split of all ten tasks is there and valid."""

    folder: Path
    findings: tuple[Finding, ...]

    @property
    def bad(self) -> tuple[Finding, ...]:
        """Splits that are there but invalid."""
        return tuple(finding for finding in self.findings if finding.status == "bad")

    @property
    def missing(self) -> tuple[Finding, ...]:
        """Splits that are not there."""
        return tuple(finding for finding in self.findings if finding.status == "missing")

    @property
    def whole(self) -> bool:
        """Whether no split is bad or missing."""
        return all(finding.status == "ok" for finding in self.findings)


def fetch(folder: str | Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """Store every split of all ten tasks from the hub as `<task>/<split>.parquet`, with SHA256SUMS.

    A task whose files match their checksums is kept, so an interrupted fetch goes on where it stopped. `say` is called
    with one line for each split. Returns the folder. Raises UserError when the hub cannot be reached or the folder
    cannot be written.
    """
    root = Path(folder)
    sums = _read_sums(root)
    for task in TASKS.values():
        files = {name: root / task.name / f"{name}.parquet" for name in task.splits}
        if all(_has_sum(root, path, sums) for path in files.values()):
            say(f"{task.name}: already there")
            continue
        if not hub_reachable():
            raise UserError(no_hub_message(task, "not in reach from this machine"))
        splits = load_hub(task)
        with filling(root, "folder") as half:
            for name, path in files.items():
                split = splits.part(name)
                if len(split) != task.rows[name]:
                    raise UserError(
                        f"the hub's {task.name} {name} has {len(split)} rows, officially {task.rows[name]}: "
                        "no split of this task was stored. Try again later."
                    )
                place = path.relative_to(root)
                write_split(half / place, task, split)
                sums[place.as_posix()] = _sha256(half / place)
                say(f"{task.name} {name}: {len(split):,} rows")
        _write_sums(root, sums)
    return root


def check(folder: str | Path) -> Report:
    """Verify a folder: the checksums that SHA256SUMS lists, row counts, columns, labels and texts."""
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder. Give one that `petbench data fetch DIR` has filled.")
    sums = _read_sums(root)
    return Report(
        root, tuple(finding for task in TASKS.values() for finding in _check_task(root, task, sums))
    )


def _check_task(root: Path, task: Task, sums: dict[str, str]) -> Iterator[Finding]:
    """Findings of one task's splits."""
    folder = task_folder(task, root)
    for name in task.splits:
        path = root / task.name / f"{name}.parquet"
        try:
            split = read_local_split(task, folder, name) if folder else None
        except UserError as error:
            yield Finding(task.name, name, "bad", None, str(error).splitlines()[0])
            continue
        if split is None:
            yield Finding(task.name, name, "missing", None)
        elif path.is_file() and path.relative_to(root).as_posix() in sums and not _has_sum(root, path, sums):
            yield Finding(task.name, name, "bad", len(split), f"checksum differs from {SUMS}")
        elif len(split) != task.rows[name]:
            detail = f"{len(split)} rows, officially {task.rows[name]}"
            yield Finding(task.name, name, "bad", len(split), detail)
        else:
            yield Finding(task.name, name, "ok", len(split))


def write_split(path: Path, task: Task, split: Split) -> None:
    """Write a split as Parquet in the hub's schema: texts, label (-1 where unknown), idx. Atomic."""
    # pyarrow takes most of a second
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.float32() if task.regression else pa.int64()
    labels = split.labels if split.labels is not None else [-1] * len(split)
    columns = {field: pa.array(split.texts[field], pa.string()) for field in task.text_fields}
    columns |= {"label": pa.array(labels, kind), "idx": pa.array(split.idx, pa.int32())}
    with replacing(path, instead="folder") as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


def _has_sum(root: Path, path: Path, sums: dict[str, str]) -> bool:
    """Whether the file is there and has its listed checksum."""
    return path.is_file() and sums.get(path.relative_to(root).as_posix()) == _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_sums(root: Path) -> dict[str, str]:
    """File name -> checksum, from SHA256SUMS."""
    path = root / SUMS
    if not path.is_file():
        return {}
    pairs = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {name.removeprefix("*").removeprefix("./"): digest for digest, name in pairs}


def _write_sums(root: Path, sums: dict[str, str]) -> None:
    text = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    write_text(root / SUMS, text, instead="folder")
