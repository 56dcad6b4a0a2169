"""Published GLUE numbers, and which of them belong to a recipe (the `published` block of its YAML)."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from petbench.config.tree import option_path, options, yaml_values
from petbench.errors import UserError, unknown

COSTS = "costs"  # the `table` of a recipe whose numbers are costs, in costs.csv
Statistic = Literal["single", "mean", "median", "unknown"]


@dataclass(frozen=True)
class Published:
    """One printed number; `value` and `std` in points. What the printed texts mean is in the last columns."""

    paper: str
    table: str
    model: str
    method: str
    trainable_percent: str
    task: str
    metric: str  # as printed
    value: float
    std: float | None
    split: str
    status: str
    source: str
    statistic: Statistic  # what the number is of its `runs`
    runs: int | None
    size_millions: float | None  # trained parameters, if the printed method's name says them
    start: str  # the task from whose adapter its runs start; empty: from the plain backbone
    percent_is: Literal["printed", "derived", ""]  # whether the paper prints trainable_percent
    metric_id: str  # petbench's name of the metric


@dataclass(frozen=True)
class Target:
    """The table that a recipe reproduces. methods: our adapter's name -> the printed names, one for each size."""

    paper: str
    table: str
    models: tuple[str, ...]
    methods: Mapping[str, tuple[str, ...]]
    gaps: tuple[str, ...] = ()  # reasons for a gap that hold for every number
    like: str = ""  # for a recipe of costs: the recipe that has the methods


def target(recipe: str) -> Target:
    """The published table of a recipe. Raises UserError for an unknown recipe, or a missing or invalid block."""
    if recipe not in options("recipe"):
        raise unknown("recipe", recipe, recipes())
    path = option_path("recipe", recipe)
    block: Any = yaml_values(path).get("published")
    if not isinstance(block, Mapping):
        raise UserError(f"recipe {recipe} has no `published` block. Legal: {', '.join(recipes())}.")
    wrong = set(block) - {"paper", "table", "models", "methods", "gaps", "like"}
    if wrong or "paper" not in block:
        raise UserError(
            f"{path}: published has {', '.join(sorted(wrong)) or 'no paper'}. "
            "Legal: paper, table, models, methods, gaps; like, for costs."
        )
    methods = {name: tuple(printed) for name, printed in (block.get("methods") or {}).items()}
    return Target(
        paper=str(block["paper"]),
        table=str(block.get("table") or ""),
        models=tuple(block.get("models") or ()),
        methods=methods,
        gaps=tuple(block.get("gaps") or ()),
        like=str(block.get("like") or ""),
    )


@cache
def recipes() -> tuple[str, ...]:
    """The recipes that have published numbers."""
    return tuple(
        name
        for name in options("recipe")
        if "\npublished:" in option_path("recipe", name).read_text(encoding="utf-8")
    )


def folder() -> Path:
    """The folder of the published numbers, in the installed package or the repository. Raises UserError without one."""
    inside = Path(str(files("petbench"))) / "published"
    places = (inside, Path(__file__).resolve().parents[4] / "results" / "published")
    for place in places:
        if (place / "glue_results.csv").is_file():
            return place
    raise UserError(f"glue_results.csv is neither in {places[0]} nor in {places[1]}. Install petbench again.")


@cache
def published() -> tuple[Published, ...]:
    """Every number of glue_results.csv, in its order. Raises UserError on a line that is not a number."""
    path = folder() / "glue_results.csv"
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.DictReader(file), start=2):
            try:
                values: dict[str, Any] = dict(line)
                values["value"] = float(line["value"])
                values["std"] = float(line["std"]) if line["std"] else None
                values["runs"] = int(line["runs"]) if line["runs"] else None
                values["size_millions"] = float(line["size_millions"]) if line["size_millions"] else None
                found.append(Published(**values))
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path}:{number}: {error}. Restore the file.") from error
    return tuple(found)


def lookup(**wanted: str) -> list[Published]:
    """The numbers with these values, such as paper="lora", task="rte"."""
    return [
        each for each in published() if all(getattr(each, name) == value for name, value in wanted.items())
    ]
