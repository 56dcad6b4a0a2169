"""How a step grows along an axis, read from results/bench/: points, the slope of each method, its words, and a plot.

The ratio to the bare backbone, or of runs in a row to lanes, is fitted by least squares as a straight line over log2 of
the axis; the slope is so the change of the ratio by each doubling. Used by `scripts/bench_tables.py`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Any

from petbench.plot_style import PALETTE, SHAPES, STYLE

Made = Mapping[str, Any]  # what `petbench bench --json` printed


@dataclass(frozen=True)
class Point:
    """One mark of a plot. x: the place on the axis; label: its name in the table's head; y: the ratio."""

    x: float
    label: str
    y: float


@dataclass(frozen=True)
class Axis:
    """Something that grows. names: pattern of the files; along: its words in a sentence; ratio: what y is."""

    name: str
    title: str
    names: str
    along: str
    ratio: str = "step as a multiple of the bare backbone's"


AXES = (
    Axis("lanes", "Lanes", "lanes_8x12.json", "lanes", "runs in a row, as a multiple of lanes"),
    Axis("length", "Tokens of a row", "length_*.json", "a row's tokens"),
    Axis("model", "Step of the bare backbone, ms", "model_*.json", "the bare backbone's step"),
    Axis("factors", "Rows of A, columns of A", "factors.json", "the rows of A, whose entries stay as many,"),
)
METHODS = ("krona", "lora", "compacter", "peft/lora", "peft/lokr", "peft/dora")


def read(folder: Path, names: str) -> list[Made]:
    """The files of a pattern, in order of name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(names))]


def bare(made: Made) -> float:
    """Milliseconds of a step of the bare backbone: the mean of its two copies."""
    return (made["rows"][0]["step_ms"] + made["rows"][-1]["step_ms"]) / 2


def lines_of(axis: Axis, folder: Path) -> dict[str, list[Point]]:
    """The points of each method that has two or more, from the smallest x on; methods in the order of METHODS."""
    found: dict[str, list[Point]] = {name: [] for name in METHODS}
    for made in read(folder, axis.names):
        for row in made["rows"]:
            name = row["name"].split()[0]
            if name in found:
                found[name].append(_point(axis.name, made, row))
    return {
        name: sorted(points, key=lambda point: point.x) for name, points in found.items() if len(points) > 1
    }


def _point(axis: str, made: Made, row: Mapping[str, Any]) -> Point:
    if axis == "lanes":
        return Point(row["lanes"], str(row["lanes"]), row["ratio"])
    if axis == "length":
        return Point(made["shape"]["length"], str(made["shape"]["length"]), row["step_ratio"])
    if axis == "model":
        return Point(bare(made), made["model"], row["step_ratio"])
    shape = row["name"].partition("factor_shape=")[2]
    return Point(json.loads(shape)[0], shape, row["step_ratio"])


def slope(points: Sequence[Point]) -> float:
    """Change of the ratio by each doubling of x: the least-squares line over log2 x."""
    return _slope([(log2(point.x), point.y) for point in points])


def power_of_time(folder: Path) -> float:
    """p in bare step ∝ lengthᵖ, by least squares over both logarithms."""
    pairs = [(log2(made["shape"]["length"]), log2(bare(made))) for made in read(folder, "length_*.json")]
    return _slope(pairs)


def _slope(pairs: Sequence[tuple[float, float]]) -> float:
    mean_x, mean_y = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in pairs) / sum((x - mean_x) ** 2 for x, _ in pairs)


def words(axis: Axis, lines: Mapping[str, Sequence[Point]], folder: Path) -> str:
    """The slopes as a sentence or two."""
    slopes = ", ".join(f"{slope(points):+.3f} ({name})" for name, points in lines.items())
    said = [f"With every doubling of {axis.along} the ratio changes by {slopes}."]
    if axis.name == "length":
        said.append(f"The bare step itself takes time as length to the power of {power_of_time(folder):.2f}.")
    if axis.name == "factors":
        (points,) = lines.values()
        least, most = (choose(points, key=lambda point: point.y) for choose in (min, max))
        said.append(
            f"The cheapest A is {least.label} ({least.y:.3f}), the dearest {most.label} ({most.y:.3f})."
        )
    if axis.name != "lanes":
        apart = max(
            abs(m["rows"][0]["step_ratio"] - m["rows"][-1]["step_ratio"]) for m in read(folder, axis.names)
        )
        said.append(
            f"The two bare backbones of a run differ by up to {apart:.3f}, which a difference must exceed."
        )
    return " ".join(said)


def digest(lines: Mapping[str, Sequence[Point]]) -> str:
    """What a plot's file says of its points, so that a check needs no matplotlib."""
    plain = {name: [(p.x, p.label, p.y) for p in points] for name, points in lines.items()}
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]


def plot(axis: Axis, lines: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Write the plot of an axis as SVG."""
    from matplotlib import rc_context  # matplotlib is an extra, and takes seconds
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.0), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.axhline(1.0, color="#7b8794", linewidth=0.8)
        for place, (name, points) in enumerate(lines.items()):
            look = {
                "color": PALETTE[place],
                "marker": SHAPES[place % len(SHAPES)],
                "markersize": 4,
                "linewidth": 1,
            }
            axes.plot([p.x for p in points], [p.y for p in points], label=name, **look)
        axes.set_xscale("log", base=2)
        ticks = _ticks(point for points in lines.values() for point in points)
        names = any(not label[0].isdigit() for label in ticks.values())  # longer than the space between two
        axes.set_xticks(list(ticks), list(ticks.values()), rotation=35 if names else 0)
        axes.minorticks_off()
        axes.set_xlabel(axis.title)
        axes.set_ylabel(axis.ratio)
        if len(lines) > 1:
            figure.legend(loc="outside right upper", frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Description": digest(lines)})


def _ticks(points: Iterable[Point]) -> dict[float, str]:
    """One mark a label: a model that was measured twice has it at the first."""
    found: dict[str, float] = {}
    for point in points:
        found.setdefault(point.label, point.x)
    return {x: label for label, x in found.items()}
