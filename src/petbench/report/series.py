"""The series of three plots: score over training rows, selection score over learning rate and over tuning trials."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from petbench.record import Record
from petbench.report.cells import Cell
from petbench.report.layout import Report
from petbench.report.settings import identity, labelled, varying
from petbench.report.statistics.intervals import summary

CUT = "task.train_examples"
RATE = "optim.lr"


def low_resource(report: Report) -> list[dict[str, Any]]:
    """Lines of score over the number of training rows, for a setting of a method, all else equal; x None: all rows."""
    lines: dict[tuple[str, ...], list[tuple[Cell, str, dict[str, Any]]]] = defaultdict(list)
    homes: dict[str, list[int]] = defaultdict(list)  # tables that differ only in the number of training rows
    for index, table in enumerate(report.tables):
        for row in table.rows:
            for entry in row.entries.values():
                cell, s = entry.cell, entry.summary
                home = _without(cell.table_settings, "low_resource") + cell.model + cell.protocol
                if index not in homes[home]:
                    homes[home].append(index)
                if s is not None:
                    key = (
                        home,
                        cell.task,
                        cell.adapter,
                        cell.row_key,
                        _without(cell.column_settings, CUT, "digest"),
                    )
                    point = _point(cell.column_settings.get(CUT), s.mean, s.low, s.high, s.n)
                    lines[key].append((cell, row.label, point))
    out = []
    for (home, task, adapter, *_), members in sorted(lines.items()):
        points = [point for _, _, point in members]
        if len(points) > 1 and any(point["x"] is not None for point in points):
            label = min((label for _, label, _ in members), key=len)
            out.append(_line(homes[home], task, adapter, label, points))
    return out


def tuning(report: Report, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Lines of selection score over the learning rate, trials included; `best` marks the highest mean of a line."""
    places = _places(report)
    rates: dict[tuple[str, ...], set[Any]] = defaultdict(set)
    for record in records:
        rates[_home(record)].add(learning_rate(record))
    lines: dict[tuple[Any, ...], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    settings: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in records:
        rate = learning_rate(record)
        if (
            record.status != "done"
            or record.headline is None
            or rate is None
            or len(rates[_home(record)]) < 2
        ):
            continue
        value = record.selection_score
        place = places.get((record.model, record.protocol))
        if value is None or place is None:
            continue
        rest = {k: v for k, v in identity(record).items() if k != RATE and not k.startswith("logger")}
        rest |= {"precision": record.precision, "data.source": record.data_source}
        key = (place, record.task, record.adapter, repr(sorted(rest.items())))
        lines[key][rate].append(value)
        settings[key] = rest
    out = []
    kept = {key: points for key, points in lines.items() if len(points) > 1}
    for key, line in kept.items():
        place, task, adapter, _ = key
        differ = varying([settings[other] for other in kept if other[:3] == key[:3]])
        points = []
        for rate in sorted(line):
            s = summary(line[rate])
            points.append(_point(rate, s.mean, s.low, s.high, s.n))
        max(points, key=lambda point: point["y"])["best"] = True
        out.append(
            _line(place, task, adapter, f"{adapter} {labelled(settings[key], differ)}".strip(), points)
        )
    return out


def budgets(report: Report) -> list[dict[str, Any]]:
    """Lines of expected best selection score over the number of trials, with the seconds that so many trials take."""
    places = _places(report)
    out = []
    for each in report.searched:
        place = places.get((each.model, each.protocol))
        if place is None:
            continue
        n = len(each.budgets)
        points = [
            _point(budget.trials, budget.score, None, None, n) | {"seconds": budget.seconds}
            for budget in each.budgets
        ]
        out.append(_line(place, each.task, each.method, each.method, points))
    return out


def _places(report: Report) -> dict[tuple[str, str], tuple[int, ...]]:
    """(model, protocol) -> positions of their tables."""
    out: dict[tuple[str, str], tuple[int, ...]] = {}
    for index, table in enumerate(report.tables):
        home = table.model, table.protocol
        out[home] = (*out.get(home, ()), index)
    return out


def _without(settings: Mapping[str, Any], *names: str) -> str:
    return repr(sorted((key, repr(value)) for key, value in settings.items() if key not in names))


def _home(record: Record) -> tuple[str, ...]:
    return record.model, record.protocol, record.task, record.adapter


def learning_rate(record: Record) -> float | None:
    """The run's `optim.lr`; None when its config has none."""
    optim = record.config.get("optim")
    return optim.get("lr") if isinstance(optim, Mapping) else None


def _line(
    tables: Sequence[int], task: str, method: str, label: str, points: list[dict[str, Any]]
) -> dict[str, Any]:
    return {"tables": tables, "task": task, "method": method, "label": label, "points": points}


def _point(x: float | None, y: float, low: float | None, high: float | None, n: int) -> dict[str, Any]:
    """A point of a line, its scores times 100 and not rounded, since they are rounded when printed."""

    def scaled(value: float | None) -> float | None:
        return None if value is None else 100 * value

    return {"x": x, "y": scaled(y), "low": scaled(low), "high": scaled(high), "n": n}
