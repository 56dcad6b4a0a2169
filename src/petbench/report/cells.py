"""Group records into cells: runs that are equal in everything but the seed.

Three keys place a cell: its table (model, protocol), its column (task, data and the data's digest) and its
row (adapter, optimiser, trainer and the precision that was used). So runs with different protocols, data digests
or precisions never share a cell. Runs of different versions or on different devices may; the cell is then marked.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from petbench.record import Record
from petbench.report.settings import identity

TABLE_GROUPS = ("model", "protocol")
COLUMN_GROUPS = ("task", "data")
Key = tuple[str, str, str]
Parts = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
COMPARED_VERSIONS = ("petbench", "torch", "transformers", "peft")


@dataclass(frozen=True)
class Cell:
    """One setting on one task. `values` maps seed to headline value of the finished runs, in [-1, 1]."""

    model: str
    protocol: str
    task: str
    adapter: str
    metric: str
    table_key: str
    column_key: str
    row_key: str
    table_settings: Mapping[str, Any]
    column_settings: Mapping[str, Any]
    row_settings: Mapping[str, Any]
    records: tuple[Record, ...]  # of every status
    values: Mapping[int, float]
    collapsed: tuple[int, ...]  # seeds of the runs that collapsed
    counts: Mapping[str, int]  # status -> number of runs
    marks: tuple[str, ...] = field(default=())

    @property
    def done(self) -> tuple[Record, ...]:
        """The finished runs, by seed."""
        return tuple(record for record in self.records if record.status == "done")

    @property
    def settings(self) -> Mapping[str, Any]:
        """All settings except those of the task."""
        return {**self.table_settings, **self.row_settings}

    def count(self, status: str) -> int:
        """The number of runs with this status."""
        return self.counts.get(status, 0)


def group(records: Iterable[Record]) -> list[Cell]:
    """All cells, ordered by table, task, adapter and row key. Tuning trials are left out."""
    members: dict[Key, list[Record]] = {}
    parts: dict[Key, Parts] = {}
    homes: dict[
        str, Key
    ] = {}  # settings without digest and precision -> the key of a cell with finished runs
    found = _Found()
    kept = [record for record in records if not record.is_trial]
    for record in sorted(kept, key=lambda record: record.status != "done"):
        settings = identity(record)
        split = _split(record, settings)
        found.fill(record, split)
        key = (
            _key(record.model, record.protocol, split[0]),
            _key(record.task, split[1]),
            _key(record.adapter, split[2]),
        )
        loose = _key(record.model, record.adapter, record.task, settings)
        if record.status == "done":
            homes.setdefault(loose, key)
        elif key not in members:
            key = homes.get(loose, key)  # the run may have failed before its digest and precision were known
        members.setdefault(key, []).append(record)
        parts.setdefault(key, split)
    cells = [_cell(key, sorted(runs, key=_order), *parts[key]) for key, runs in members.items()]
    return sorted(
        cells,
        key=lambda cell: (
            cell.model, cell.protocol, cell.table_key, cell.task, cell.column_key, cell.adapter, cell.row_key,
        ),
    )  # fmt: skip


def _split(record: Record, settings: Mapping[str, Any]) -> Parts:
    """The identity of a run in three parts: table, column, row."""
    table: dict[str, Any] = {}
    column: dict[str, Any] = {}
    row: dict[str, Any] = {}
    for path, value in settings.items():
        head = path.partition(".")[0]
        (table if head in TABLE_GROUPS else column if head in COLUMN_GROUPS else row)[path] = value
    column["digest"] = record.provenance.data.digest[:8]
    table["rows"] = source if (source := record.data_source) in ("toy", "made") else record.rows_kind
    table["low_resource"] = column.get("task.train_examples") is not None
    row["precision"] = record.precision
    row.pop("trainer.precision", None)  # the precision that was used replaces it, since it may be `auto`
    return table, column, row


class _Found:
    """Data digests and precisions of the finished runs. The record of a run that failed early lacks both; it gets those
    of finished runs on the same task and data, so that it falls into their cell."""

    def __init__(self) -> None:
        self.digest: dict[str, str] = {}  # task and data settings -> digest
        self.precision: dict[str, str] = {}  # model, protocol and their settings -> precision

    def fill(self, record: Record, parts: Parts) -> None:
        """Note the values of a finished run, or fill in those that another run lacks. Finished runs come first."""
        table, column, row = parts
        place = _key(record.task, {path: value for path, value in column.items() if path != "digest"})
        home = _key(record.model, record.protocol, table)
        if record.status == "done":
            self.digest.setdefault(place, column["digest"])
            self.precision.setdefault(home, row["precision"])
            return
        column["digest"] = column["digest"] or self.digest.get(place, "")
        if not record.provenance.precision:
            asked = row["precision"]
            row["precision"] = self.precision.get(home, asked) if asked == "auto" else asked


def _key(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True)


def _order(record: Record) -> tuple[int, str]:
    return record.seed, record.run_id


def _cell(
    key: Key,
    runs: list[Record],
    table: dict[str, Any],
    column: dict[str, Any],
    row: dict[str, Any],
) -> Cell:
    values: dict[int, float] = {}
    fallen: list[int] = []
    marks: list[str] = []
    metric = ""
    for record in runs:
        if record.status != "done" or record.headline is None:
            continue
        if record.seed in values:
            marks.append(f"seed {record.seed} was recorded twice; the first by run id is used")
            continue
        metric = record.headline.name
        values[record.seed] = record.headline.value
        if record.collapsed:
            fallen.append(record.seed)
    first = runs[0]
    return Cell(
        model=first.model, protocol=first.protocol, task=first.task, adapter=first.adapter, metric=metric,
        table_key=key[0], column_key=key[1], row_key=key[2],
        table_settings=table, column_settings=column, row_settings=row,
        records=tuple(runs), values=values, collapsed=tuple(fallen),
        counts=Counter(record.status for record in runs),
        marks=tuple(dict.fromkeys([*marks, *_mixed(runs)])),
    )  # fmt: skip


def _mixed(runs: list[Record]) -> list[str]:
    """Marks for versions and devices that differ between the finished runs of one cell."""
    done = [record for record in runs if record.status == "done"]
    marks = []
    for package in COMPARED_VERSIONS:
        found = sorted({record.provenance.versions.get(package, "") for record in done} - {""})
        if len(found) > 1:
            marks.append(f"mixed versions of {package}: {', '.join(found)}")
    devices = sorted({record.device for record in done} - {""})
    if len(devices) > 1:
        marks.append(f"mixed devices: {', '.join(devices)}")
    return marks
