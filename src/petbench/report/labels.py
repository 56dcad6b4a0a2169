"""Titles of tables, columns and rows, with the settings that distinguish those of the same name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from petbench.report.cells import Cell
from petbench.report.settings import labelled, varying

MOST_IN_LABEL = 4
PROTOCOLS: Mapping[str, str] = {
    "petbench": "checkpoint picked on rows cut from train, reported on validation",
    "compacter": "the papers' split: selection and report never share rows",
    "glue_dev": "checkpoint picked and reported on the SAME validation rows: optimistic",
    "glue_test": "checkpoint picked on rows cut from train, test rows predicted",
}
KINDS: Mapping[str, str] = {
    "toy": "TOY ROWS (generated, no GLUE)",
    "made": "MADE RECORDS (no runs)",
    "own": "NOT GLUE (the user's own rows)",
}


def title(cells: Sequence[Cell], siblings: Sequence[Mapping[str, Any]]) -> str:
    """`minilm | protocol petbench: … | TOY ROWS`. siblings: settings of all tables of this model and protocol."""
    first = cells[0]
    settings = first.table_settings
    said = PROTOCOLS.get(first.protocol)
    parts = [first.model, f"protocol {first.protocol}" + (f": {said}" if said else "")]
    if settings.get("model.weights") == "random":
        parts.append("RANDOM WEIGHTS")
    if settings["rows"] in KINDS:
        parts.append(KINDS[settings["rows"]])
    if settings["low_resource"]:
        parts.append("few training rows")
    told = [path for path in varying(siblings) if path not in ("rows", "low_resource", "model.weights")]
    if told:
        parts.append(labelled(settings, told[:MOST_IN_LABEL]))
    return " | ".join(parts)


def column_labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Column key -> label, from one cell for each column: the task, and the settings that differ if it occurs twice."""
    labels = {}
    for cell in cells:
        settings = [other.column_settings for other in cells if other.task == cell.task]
        paths = [path for path in varying(settings) if path != "task.train_examples"]
        size = cell.column_settings.get("task.train_examples")
        parts = [cell.task, *([f"n={size}"] if size is not None else [])]
        parts += [labelled(cell.column_settings, paths)] if paths else []
        labels[cell.column_key] = " ".join(parts)
    return labels


def row_labels(cells: Sequence[Cell]) -> Iterator[tuple[Cell, tuple[str, dict[str, Any]]]]:
    """Each cell with its row's label and the settings in it.

    Cells of one adapter form one row unless two of them share a column. Then the label has all settings that differ
    within a column: these cells get different rows, and cells of other tasks join the row with their settings.
    """
    by_adapter: dict[str, list[Cell]] = {}
    for cell in cells:
        by_adapter.setdefault(cell.adapter, []).append(cell)
    for adapter, members in by_adapter.items():
        paths = shown_paths(members)
        for cell in members:
            settings = {path: cell.row_settings.get(path) for path in paths}
            yield cell, (f"{adapter} {labelled(settings, paths)}" if paths else adapter, settings)


def shown_paths(cells: Sequence[Cell]) -> list[str]:
    """The settings that distinguish one adapter's cells within a column.

    All that differ, those of adapter and optimiser first; if they are more than four, only as many in that order as
    are needed to distinguish the cells. A setting that the tuning chose in every cell is among them only where the
    others do not distinguish these, since it is a result, and another one on every task. The notes name what is left
    out.
    """
    paths = differing(cells)
    tuned = set.intersection(*map(_searched, cells)) if paths else set()
    given = [path for path in paths if path not in tuned]
    shown = given if len(given) <= MOST_IN_LABEL else []
    for path in [*given, *(path for path in paths if path in tuned)]:
        if _apart(cells, [*shown, path]) > _apart(cells, shown):
            shown.append(path)
    return shown


def differing(cells: Sequence[Cell]) -> list[str]:
    """The settings that differ between cells of one column, those of adapter and optimiser first."""
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        columns.setdefault(cell.column_key, []).append(cell.row_settings)
    found = {path for members in columns.values() if len(members) > 1 for path in varying(members)}
    order = ("adapter.", "optim.", "budget.", "trainer.")
    return sorted(found, key=lambda path: (*(not path.startswith(head) for head in order), path))


def _searched(cell: Cell) -> set[str]:
    """The settings of a cell that its tuning chose."""
    notes = (record.provenance.tuning for record in cell.records)
    return {path for note in notes if note is not None for path in note.searched or ()}


def _apart(cells: Sequence[Cell], paths: Sequence[str]) -> int:
    """How many cells these settings distinguish."""
    return len({(cell.column_key, *(repr(cell.row_settings.get(path)) for path in paths)) for cell in cells})
