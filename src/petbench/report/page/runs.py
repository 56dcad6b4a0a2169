"""What the page shows of a run besides its numbers: command, differences from the presets, and provenance."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from petbench.config.presets import composed, same
from petbench.config.spec import NOT_IDENTITY
from petbench.config.tree import options
from petbench.config.values import as_override, flat, inside
from petbench.record import Record
from petbench.report.layout import Entry, Report, Row
from petbench.report.settings import show

_UNTOLD = (*(".".join(path) for path in NOT_IDENTITY if path[0] != "data"), "seed", "recipe", "task.name")
_PLAIN = re.compile(r"(?!(?:null|true|false|inf|nan)$)[A-Za-z_./][\w./:@%+-]*", re.IGNORECASE)


def every_entry(report: Report) -> Iterator[tuple[int, Row, str, Entry]]:
    """Position of the table, row, column key and entry, in the order in which the page numbers its cells."""
    for number, table in enumerate(report.tables):
        for row in table.rows:
            for key, entry in row.entries.items():
                yield number, row, key, entry


def drawers(report: Report, records: Sequence[Record]) -> dict[str, Any]:
    """Columns for the page's runs, and the lists to which they refer: equal settings and machines are kept once."""
    places = {
        run.run_id: index
        for index, (_, _, _, entry) in enumerate(every_entry(report))
        for run in entry.cell.records
    }
    configs, made, said = _Once(), _Once(), _Once()
    settings: dict[str, int] = {}  # by what `_settings` reads, equal for the seeds of a cell

    def config(run: Record) -> int:
        asked = json.dumps([run.adapter, run.model, run.protocol, run.task, run.config | {"seed": None}])
        if asked not in settings:
            settings[asked] = configs.place(_settings(run))
        return settings[asked]

    columns: dict[str, list[Any]] = {
        "cell": [places.get(run.run_id) for run in records],
        "config": [config(run) for run in records],
        "made": [made.place(_made(run)) for run in records],
        "said": [said.place(_said(run)) for run in records],
        "date": [run.date.isoformat(timespec="seconds") if run.date else None for run in records],
    }
    return {"runs": columns, "configs": configs.values, "made": made.values, "said": said.values}


class _Once:
    """A list of values, each kept once, and the position of each."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        key = repr(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def _settings(run: Record) -> dict[str, Any]:
    """The run's command without its seed, and the settings that differ from the presets (path, value, preset)."""
    choices = _choices(run)
    preset = composed(choices)
    shown = ("adapter", "task", "model") + (() if choices["protocol"] == "petbench" else ("protocol",))
    words = [f"{group}={choices[group]}" for group in shown if group in choices]
    differs = []
    for path, value in flat(run.config).items():
        if path not in preset or same(value, preset[path]) or inside(path, _UNTOLD):
            continue
        words.append(f"{path}={as_override(value, _quoted)}")
        differs.append([path, show(value), show(preset[path])])
    return {"command": " ".join(["petbench train", *map(shlex.quote, words)]), "differs": differs}


def _choices(run: Record) -> dict[str, str]:
    """The presets that the run's labels name; if the adapter's label is no preset, the method's own preset."""
    named = {"adapter": run.adapter, "model": run.model, "protocol": run.protocol, "trainer": "default"}
    method = _at(run.config, "adapter", "method")
    if run.adapter not in _known("adapter") and method:
        named["adapter"] = method
    if run.model not in _known("model"):
        del named["model"]
    source = str(_at(run.config, "data", "source") or "auto")
    own = any(_at(run.config, "data", key) for key in ("file", "hub"))
    named["data"] = source if source in _known("data") else "auto"
    if not own:
        named["task"] = run.task if run.task in _known("task") else run.task.replace("_", "/", 1)
    return named


@cache
def _known(group: str) -> frozenset[str]:
    return frozenset(options(group))


def _at(config: Mapping[str, Any], section: str, key: str) -> Any:
    found = config.get(section)
    return found.get(key) if isinstance(found, Mapping) else None


def _quoted(text: str) -> str:
    """Text, in quotes if Hydra's grammar might misread it. This does not use Hydra, which a report does not import."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _made(run: Record) -> list[list[str]]:
    """The run's provenance as pairs of name and value: commit, device, precision, rows, weights, versions."""
    of = run.provenance
    lines = []
    if of.git is not None:
        lines.append(["commit", of.git.commit[:12] + (" (with uncommitted changes)" if of.git.dirty else "")])
    lines += [["device", of.device], ["precision", of.precision]]
    lines += [["threads", "" if of.threads is None else str(of.threads)]]
    lines += [["rows", " ".join(filter(None, [of.data.source, of.data.digest[:12]]))]]
    lines += [["weights", " ".join(filter(None, [of.model.source, of.model.digest[:12]]))]]
    lines += [["versions", ", ".join(f"{name} {version}" for name, version in of.versions.items())]]
    return [line for line in lines if line[1]]


def _said(run: Record) -> list[str]:
    """The remarks in the run's record: changes, marks, notes and warnings."""
    of = run.provenance
    return list(dict.fromkeys([*run.changes, *of.marks, *of.notes, *of.warnings, *run.metrics.warnings]))
