"""Groups records into cells: runs that are equal in everything but the seed.

Three keys place a cell: its table (model, protocol), its column (task, data and the data's digest) and its
row (adapter, optimiser, trainer and the precision that was used). So runs of another protocol, data digest
or precision never share a cell; runs of other versions or devices do, and the cell is marked.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from petbench.record import Record
from petbench.report.settings import identity
from petbench.tasks.metric_table import one_answer

TABLE_GROUPS = ("model", "protocol")
COLUMN_GROUPS = ("task", "data")
Key = tuple[str, str, str]
Parts = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
_ONE_ANSWER = re.compile(r"\ball [\d,]+ predictions are\b|\bconstant predictions\b")
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
    collapsed: tuple[int, ...]  # seeds
    counts: Mapping[str, int]  # status -> runs
    marks: tuple[str, ...] = field(default=())

    @property
    def done(self) -> tuple[Record, ...]:
        """The finished runs, by seed."""
        return tuple(record for record in self.records if record.status == "done")

    @property
    def settings(self) -> Mapping[str, Any]:
        """All settings but those of the task."""
        return {**self.table_settings, **self.row_settings}

    def count(self, status: str) -> int:
        """Runs with this status."""
        return self.counts.get(status, 0)


def group(records: Iterable[Record]) -> list[Cell]:
    """All cells, ordered by table, task, adapter and row key. Tuning trials are left out (see `is_trial`)."""
    members: dict[Key, list[Record]] = {}
    parts: dict[Key, Parts] = {}
    homes: dict[str, Key] = {}  # the settings without digest and precision -> a cell with finished runs
    found = _Found()
    kept = [record for record in records if not is_trial(record)]
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
            key = homes.get(loose, key)  # it may have failed before its digest and precision were known
        members.setdefault(key, []).append(record)
        parts.setdefault(key, split)
    cells = [_cell(key, sorted(runs, key=_order), *parts[key]) for key, runs in members.items()]
    return sorted(
        cells,
        key=lambda cell: (
            cell.model, cell.protocol, cell.table_key, cell.task, cell.column_key, cell.adapter, cell.row_key,
        ),
    )  # fmt: skip


def is_trial(record: Record) -> bool:
    """Whether a run was a trial of a tuning sweep (`provenance.tuning.role: trial`): no result."""
    tuning = record.provenance.get("tuning")
    return isinstance(tuning, Mapping) and tuning.get("role") == "trial"


def collapsed(record: Record) -> bool:
    """Whether a finished run learnt nothing: it gives every report row one answer.

    True when a metric of a report split has the value that its row of the metric table says (0, or the recorded
    majority share, `provenance.data.majority`: split -> share), or when its scoring warned that all predictions are
    one (whichever class that is).
    """
    if record.status != "done":
        return False
    majority = _part(record.provenance, "data").get("majority")
    for split, values in record.metrics.report.items():
        share = majority.get(split) if isinstance(majority, Mapping) else None
        if any(one_answer(name, value, share) for name, value in values.items()):
            return True
    return any(
        _ONE_ANSWER.search(text) for text in record.metrics.warnings if not text.startswith("selection")
    )


def is_toy(record: Record) -> bool:
    """Whether the rows were generated."""
    return data_source(record) == "toy"


def data_source(record: Record) -> str:
    """Where the rows came from: local, hub, toy; `made` for records of scripts/make_records.py."""
    found = _part(record.provenance, "data").get("source")
    return str(found or _part(record.config, "data").get("source", ""))


def kind_of_rows(record: Record) -> str:
    """`glue`, or `own` for a task that is none of GLUE's."""
    return "own" if _part(record.config, "task").get("glue", True) is None else "glue"


def precision(record: Record) -> str:
    """The precision that the run used, as recorded; else the one that was asked."""
    found = record.provenance.get("precision")
    return str(found or _part(record.config, "trainer").get("precision", ""))


def device(record: Record) -> str:
    """The device's name, for telling whether times compare."""
    found = record.provenance.get("device")
    if isinstance(found, Mapping):
        found = found.get("name") or found.get("type")
    return str(found or "")


def _part(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = mapping.get(key)
    return found if isinstance(found, Mapping) else {}


def _split(record: Record, settings: Mapping[str, Any]) -> Parts:
    """The identity of a run in three parts: table, column, row."""
    table: dict[str, Any] = {}
    column: dict[str, Any] = {}
    row: dict[str, Any] = {}
    for path, value in settings.items():
        head = path.partition(".")[0]
        (table if head in TABLE_GROUPS else column if head in COLUMN_GROUPS else row)[path] = value
    column["digest"] = str(_part(record.provenance, "data").get("digest", ""))[:8]
    table["rows"] = source if (source := data_source(record)) in ("toy", "made") else kind_of_rows(record)
    table["low_resource"] = column.get("task.train_examples") is not None
    row["precision"] = precision(record)
    row.pop("trainer.precision", None)  # the recorded one says more than `auto`
    return table, column, row


class _Found:
    """What finished runs found out of their rows and their machine. A run that failed early knows neither its rows'
    digest nor its precision; it stands where the finished runs of the same task and data stand."""

    def __init__(self) -> None:
        self.digest: dict[str, str] = {}  # task and data settings -> digest
        self.precision: dict[str, str] = {}  # model, protocol and their settings -> precision

    def fill(self, record: Record, parts: Parts) -> None:
        """Learn from a finished run, or fill in what another does not know. Finished runs come first."""
        table, column, row = parts
        place = _key(record.task, {path: value for path, value in column.items() if path != "digest"})
        home = _key(record.model, record.protocol, table)
        if record.status == "done":
            self.digest.setdefault(place, column["digest"])
            self.precision.setdefault(home, row["precision"])
            return
        column["digest"] = column["digest"] or self.digest.get(place, "")
        if "precision" not in record.provenance:
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
        if collapsed(record):
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
    """What the finished runs of one cell do not share though the average needs it said."""
    done = [record for record in runs if record.status == "done"]
    marks = []
    for package in COMPARED_VERSIONS:
        found = sorted({str(_part(record.provenance, "versions").get(package, "")) for record in done} - {""})
        if len(found) > 1:
            marks.append(f"mixed versions of {package}: {', '.join(found)}")
    devices = sorted({device(record) for record in done} - {""})
    if len(devices) > 1:
        marks.append(f"mixed devices: {', '.join(devices)}")
    return marks
