"""The two tables of `petbench bench`: methods beside the bare backbone, and runs in a row beside lanes."""

from collections.abc import Mapping
from typing import Any

from petbench.console import Grid

METHODS = {
    "trainable": ("trainable", "{:,}"),
    "step_ratio": ("step ×", "{:.3f}"),
    "step_ms": ("step ms", "{:.1f}"),
    "latency_ratio": ("latency ×", "{:.3f}"),
    "latency_ms": ("latency ms", "{:.2f}"),
    "saved_bytes_over_backbone": ("kept for backward, bytes over backbone", "{:,}"),
    "operations": ("operations of a step", "{:,}"),
    "peak_bytes": ("peak bytes", "{:,}"),
}
LANES = {
    "lanes": ("lanes", "{}"),
    "row_ms": ("in a row, ms", "{:.1f}"),
    "lanes_ms": ("in lanes, ms", "{:.1f}"),
    "ratio": ("ratio", "{:.2f}"),
    "together": ("in one pass", "{}"),
    "padding": ("padding", "{:.1%}"),
    "single_peak_bytes": ("peak of one run, bytes", "{:,}"),
    "lanes_peak_bytes": ("peak of lanes and twins, bytes", "{:,}"),
}


def methods_table(made: Mapping[str, Any]) -> Grid:
    """Times, memory and operations of methods, as measured."""
    return _table(made, METHODS, "Bench")


def lanes_table(made: Mapping[str, Any]) -> Grid:
    """Times and memory of runs in a row and in lanes, as measured."""
    return _table(made, LANES, "Lanes")


def _table(made: Mapping[str, Any], columns: Mapping[str, tuple[str, str]], title: str) -> Grid:
    machine = made["machine"]
    where = f"{made['model']} on {machine['device']}, {machine['threads']} thread(s), torch {made['packages']['torch']}"
    table = Grid(title=f"{title}: {where}", title_justify="left")
    table.add_column("")
    shown = [key for key in columns if any(key in row for row in made["rows"])]
    for key in shown:
        table.add_column(columns[key][0], justify="right")
    for row in made["rows"]:
        table.add_row(row["name"], *(columns[k][1].format(row[k]) if k in row else "" for k in shown))
    return table
