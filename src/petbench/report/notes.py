"""The notes under a table: how to read it, and which runs collapsed, failed or were made under other conditions."""

from collections.abc import Iterator, Mapping, Sequence
from math import isinf, sqrt
from typing import Any

from petbench.record.units import fix, ratio, score
from petbench.report.cells import COMPARED_VERSIONS, Cell
from petbench.report.labels import differing, shown_paths
from petbench.report.layout import Row
from petbench.report.settings import labelled, short, show
from petbench.report.statistics.intervals import share_interval
from petbench.report.statistics.moderation import Prior

UNSTEADY = (
    1.3  # slowest over fastest run of a method, from which on its times are said to be of a shared machine
)
COLLAPSED, LOST, MIXED = "†", "✗", "‡"  # marks in a cell, each followed by a number of runs or nothing


def cell_marks(cell: Cell) -> str:
    """`†2 ✗1 ‡`: two runs collapsed (counted in the mean), one failed or diverged (not counted), versions are mixed."""
    lost = cell.count("failed") + cell.count("diverged")
    parts = [f"{COLLAPSED}{len(cell.collapsed)}" if cell.collapsed else "", f"{LOST}{lost}" if lost else ""]
    return " ".join(filter(None, [*parts, MIXED if cell.marks else ""]))


def table_notes(
    cells: Sequence[Cell], rows: Sequence[Row], priors: Mapping[str, Prior | None]
) -> tuple[str, ...]:
    """All notes of one table, in reading order. priors: column label -> prior of the variance over seeds."""
    return tuple(dict.fromkeys(_notes(cells, rows, priors)))


def _notes(cells: Sequence[Cell], rows: Sequence[Row], priors: Mapping[str, Prior | None]) -> Iterator[str]:
    yield "mean ± standard deviation (n - 1) of the headline metric x 100, 95% t interval over seeds, n seeds"
    yield from _priors(priors)
    entries = [entry for row in rows for entry in row.entries.values()]
    standings = {entry.standing for entry in entries}
    standings |= {row.average.standing for row in rows if row.average is not None}
    on_rows = any(entry.rows_error is not None for entry in entries)
    what = "over seeds and rows" if on_rows else "over seeds, on these rows: no answers by row were stored"
    if "top" in standings:
        yield f"bold: the top group, not significantly below its column's highest; all pairs tested at 5% ({what})"
    if _bold_below(rows):
        yield "a row that is bold below one that is not: its runs scatter more, so less is known of it"
    if "level" in standings:
        yield f"a column without bold: no two rows differ significantly ({what})"
    errors = [100 * entry.rows_error for entry in entries if entry.rows_error is not None]
    if errors:
        span = f"{min(errors):.1f} to {max(errors):.1f}"
        yield f"with other rows of the same kind, a mean would change by {span} points (standard error)"
    if any(len(cell.values) == 1 for cell in cells):
        yield "n=1: a single run says nothing about the spread"
    fallen = sum(len(cell.collapsed) for cell in cells)
    if fallen:
        yield f"{COLLAPSED}k: k runs collapsed to one answer, counted in the mean ({fallen} in all)"
        yield from _collapses(rows)
    lost = {status: sum(cell.count(status) for cell in cells) for status in ("failed", "diverged")}
    if any(lost.values()):
        yield (
            f"{LOST}k: k runs failed or diverged, not in the mean "
            f"({lost['failed']} failed, {lost['diverged']} diverged in all)"
        )
    for status in ("skipped", "interrupted"):
        number = sum(cell.count(status) for cell in cells)
        if number:
            yield f"{number} runs {status}, not shown"
    for cell in cells:
        for mark in cell.marks:
            yield f"{MIXED} {cell.adapter} on {cell.task}: {mark}"
    yield from _mixed_across(cells)
    yield from _hidden_settings(cells)
    yield from _recorded_marks(cells)
    if any(row.average is not None and not row.average.complete for row in rows):
        yield "averages over k of m tasks are marked k/m; they are neither ranked nor compared"


def _bold_below(rows: Sequence[Row]) -> bool:
    """Whether in some column a row of the top group has a lower mean than one that is behind."""
    for key in {key for row in rows for key in row.entries}:
        there = [row.entries[key] for row in rows if key in row.entries]
        means = {
            standing: [e.summary.mean for e in there if e.summary is not None and e.standing == standing]
            for standing in ("top", "behind")
        }
        if means["top"] and means["behind"] and min(means["top"]) < max(means["behind"]):
            return True
    return False


def _priors(priors: Mapping[str, Prior | None]) -> Iterator[str]:
    """A note on the value toward which the cells' spreads are shrunk; a single note if all columns share the value."""
    known = {label: prior for label, prior in priors.items() if prior is not None}
    shared = len(set(known.values())) == 1 and len(known) == len(priors)
    for label, prior in known.items():
        where = "" if shared else f" on {label}"
        worth = "the same for all cells" if isinf(prior.d0) else f"worth {prior.d0:.1f} degrees of freedom"
        yield (
            f"± is as measured; intervals and tests use a spread{where} drawn toward "
            f"{fix(100 * sqrt(prior.s0_squared), 2)} points, {worth} (empirical Bayes over {prior.cells} cells), so "
            "they change with the methods in the table"
        )


def _collapses(rows: Sequence[Row]) -> Iterator[str]:
    """How often a setting collapses, and the mean score of its other runs."""
    for row in rows:
        for entry in row.entries.values():
            k, n = len(entry.cell.collapsed), len(entry.cell.values)
            if k:
                low, high = share_interval(k, n)
                rest = entry.mean_of_the_rest
                others = "" if rest is None else f"; the others' mean is {score(rest)}"
                yield (
                    f"{row.label} on {entry.cell.task}: {k} of {n} runs collapsed "
                    f"({100 * low:.0f}% to {100 * high:.0f}% of runs do, 95% interval){others}"
                )


def _mixed_across(cells: Sequence[Cell]) -> Iterator[str]:
    """Versions, devices, precisions and training settings that differ between the cells of a table."""
    runs = [run for cell in cells for run in cell.done]
    for package in COMPARED_VERSIONS:
        found = {run.provenance.versions.get(package, "") for run in runs} - {""}
        if len(found) > 1:
            yield f"mixed in this table: {package} {', '.join(sorted(found))}"
    yield from _unsteady(cells)
    devices = {run.device for run in runs} - {""}
    if len(devices) > 1:
        yield f"mixed in this table: devices {', '.join(sorted(devices))}; only times of one device are comparable"
    settings: dict[str, set[str]] = {}
    for cell in cells:
        for path, value in cell.row_settings.items():
            if path.startswith("trainer.") or path == "precision":
                settings.setdefault(path, set()).add(show(value))
    for path, values in sorted(settings.items()):
        if len(values) > 1:
            yield f"not all rows were trained alike: {short(path)} is {', '.join(sorted(values))}"


def _unsteady(cells: Sequence[Cell]) -> Iterator[str]:
    """How far the step times of one method lie apart, if that is more than a quiet machine shows."""
    factors = []
    for cell in cells:
        steps = [run.cost.step_seconds_median for run in cell.done if run.cost.step_seconds_median]
        factors += [max(steps) / min(steps)] if len(steps) > 1 else []
    if factors and max(factors) > UNSTEADY:
        yield (
            f"times of one method differ up to {ratio(max(factors))}-fold between its runs, as on a shared machine: "
            "they do not rank methods; petbench bench does"
        )


def _hidden_settings(cells: Sequence[Cell]) -> Iterator[str]:
    """Settings of a row that differ between its tasks, or that are not in its label."""
    by_adapter: dict[str, list[Cell]] = {}
    for cell in cells:
        by_adapter.setdefault(cell.adapter, []).append(cell)
    for adapter, members in sorted(by_adapter.items()):
        shown = shown_paths(members)
        unsaid = [short(path) for path in differing(members) if path not in shown]
        if unsaid:
            yield f"{adapter}: rows also differ in {', '.join(unsaid)}"
        rows: dict[str, list[Cell]] = {}
        for cell in members:
            rows.setdefault(labelled(cell.row_settings, shown), []).append(cell)
        names = {short(path) for row in rows.values() for path in _over_tasks(row)} - set(unsaid)
        if names:
            yield f"{adapter}: {', '.join(sorted(names))} differ between tasks"


def _over_tasks(cells: Sequence[Cell]) -> list[str]:
    paths: dict[str, Any] = {}
    for cell in cells:
        for path, value in cell.row_settings.items():
            if path.startswith(("adapter.", "optim.")):
                paths.setdefault(path, set()).add(repr(value))
    return [path for path, values in paths.items() if len(values) > 1]


def _recorded_marks(cells: Sequence[Cell]) -> Iterator[str]:
    """The marks in the runs' records (`provenance.marks`), such as partial data."""
    for cell in cells:
        for run in cell.done:
            yield from (f"{cell.task}: {mark}" for mark in run.provenance.marks)
