"""The nine views as matplotlib panels, from the same values as the page (`views.payload`)."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import floor, log10
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from petbench.plot_style import INK, SOFT
from petbench.record.units import compact, fix
from petbench.report.costs import LORA
from petbench.report.figures.look import Data, Panel, look

if TYPE_CHECKING:  # matplotlib is an extra, and takes seconds
    from matplotlib.axes import Axes

REACH = 0.97  # the target of `time_to_score`, as a share of the best mean selection score
DASHES = ("-", "--", ":", "-.")
Point = tuple[Data, float, float, float | None, float | None]  # row, x, y, low, high


def figures(data: Data) -> dict[str, list[Panel]]:
    """File name -> panels, for the views that have data."""
    out: dict[str, list[Panel]] = {}
    for table in data["tables"]:
        title = table["name"]
        for name, x, label in (
            ("score_parameters", "tuned", "tuned parameters, head not counted"),
            ("score_time", "step", "time of a step, seconds"),
        ):
            points = list(_average_points(data, table, x))
            if points:
                out.setdefault(name, []).append((title, partial(_trade_off, data, points, label)))
        if len(table["rows"]) > 1:
            out.setdefault("heat_map", []).append((title, partial(_heat_map, data, table)))
        suffix = f"-{_slug(title)}" if len(data["tables"]) > 1 else ""
        for task in table["tasks"]:
            cells = _cells(data, table, task["name"])
            if cells:
                out.setdefault(f"seeds{suffix}", []).append((task["name"], partial(_seeds, data, cells)))
            if any(cell["curves"] for cell in cells):
                out.setdefault(f"curves{suffix}", []).append((task["name"], partial(_curves, data, cells)))
            timed = [cell for cell in cells if any("t" in c and "y" in c for c in cell["curves"])]
            if timed:
                panel = (task["name"], partial(_reach, data, timed))
                out.setdefault(f"time_to_score{suffix}", []).append(panel)
    for name, key, label in (
        ("few_rows", "low", "training rows"),
        ("learning_rate", "tuning", "learning rate"),
        ("tuning_budget", "budgets", "tuning trials"),
    ):
        for place, task in sorted({(line["tables"][0], line["task"]) for line in data[key]}):
            lines = [line for line in data[key] if line["tables"][0] == place and line["task"] == task]
            title = f"{data['tables'][place]['model']}, {task}"
            out.setdefault(name, []).append((title, partial(_lines, data, lines, label)))
    return out


def front(points: Sequence[Point]) -> list[Point]:
    """The Pareto front, by x: points that no other beats in both x (smaller is better) and y (larger is better)."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point[1], -point[2])):
        if not kept or point[2] > kept[-1][2]:
            kept.append(point)
    return kept


def chosen(rows: Sequence[Data], by_size: bool = False) -> list[Data]:
    """One row for each method, or for each of its sizes: the setting with the most tasks, and of these the one with the
    best selection score."""

    def rank(row: Data) -> tuple[int, float]:
        return len(row["cells"]), row["selection"] if row["selection"] is not None else -1e9

    best: dict[tuple[str, Any], Data] = {}
    for row in rows:
        key = row["method"], row["tuned"] if by_size else None
        if key not in best or rank(row) > rank(best[key]):
            best[key] = row
    return list(best.values())


def _cells(data: Data, table: Data, task: str, by_size: bool = False) -> list[Data]:
    """The cells of the chosen rows on a task, best first."""
    rows = chosen(table["rows"], by_size)
    cells = [data["cells"][row["cells"][task]] for row in rows if task in row["cells"]]
    return sorted((cell for cell in cells if cell["mean"] is not None), key=lambda cell: -cell["mean"])


def _average_points(data: Data, table: Data, x: str) -> Iterator[Point]:
    """The averages of rows with every task; if there is no average, the cells of the only task. Against the number of
    parameters a method shows every size that it has."""
    by_size = x == "tuned"
    if not table["average_of"]:
        if len(table["tasks"]) == 1:
            for cell in _cells(data, table, table["tasks"][0]["name"], by_size):
                if cell[x] is not None:
                    yield cell, cell[x], cell["mean"], cell["low"], cell["high"]
        return
    for row in chosen(table["rows"], by_size):
        if row["average_n"] == table["average_of"] and row[x] is not None:
            yield row, row[x], row["average"], row["average_low"], row["average_high"]


def _trade_off(data: Data, points: Sequence[Point], label: str, axes: "Axes") -> None:
    """Draw score against a cost; a cost of zero is drawn at the left of the logarithmic axis."""
    best = front(points)
    positive = [x for _, x, *_ in points if x > 0]
    if positive and len(positive) < len(points):
        axes.set_xscale("symlog", linthresh=10 ** floor(log10(min(positive))), linscale=0.4)
    elif positive:
        axes.set_xscale("log")
    axes.step(
        [p[1] for p in best], [p[2] for p in best], where="post", color=SOFT, linewidth=0.8, linestyle="--"
    )
    for method in {row["method"]: None for row, *_ in points}:
        sizes = sorted((x, y) for row, x, y, *_ in points if row["method"] == method)
        axes.plot(*zip(*sizes, strict=True), color=look(data, method)[0], linewidth=0.8, alpha=0.6)
    for row, x, y, low, high in points:
        colour, shape = look(data, row["method"])
        on_front = any(p[0] is row for p in best)
        if low is not None and high is not None:
            axes.plot([x, x], [low, high], color=colour, linewidth=0.8, alpha=0.4)
        face = colour if on_front else "white"
        axes.plot([x], [y], shape, color=colour, markersize=6, markerfacecolor=face, label=row["method"])
    axes.set_xlabel(label)
    axes.set_ylabel("score")


def _heat_map(data: Data, table: Data, axes: "Axes") -> None:
    """Draw the difference in points from LoRA, or from the mean if there is no LoRA."""
    rows = sorted(
        chosen(table["rows"]), key=lambda row: -(row["average"] if row["average"] is not None else -1e9)
    )
    tasks = [task["name"] for task in table["tasks"]]

    def mean(row: Data, task: str) -> float | None:
        return data["cells"][row["cells"][task]]["mean"] if task in row["cells"] else None

    base = next((row for row in rows if row["method"] in LORA), None)
    grid = []
    for row in rows:
        line = []
        for task in tasks:
            there = [value for other in rows if (value := mean(other, task)) is not None]
            zero = mean(base, task) if base is not None else fmean(there) if there else None
            value = mean(row, task)
            line.append(float("nan") if value is None or zero is None else value - zero)
        grid.append(line)
    sizes = sorted(abs(value) for line in grid for value in line if value == value)
    limit = max(1.0, sizes[int(0.85 * (len(sizes) - 1))] if sizes else 1.0)
    shown = [[max(-limit, min(limit, value)) if value == value else value for value in line] for line in grid]
    axes.imshow(shown, cmap="PuOr", vmin=-limit * 2, vmax=limit * 2, aspect="auto")
    axes.set_xticks(range(len(tasks)), tasks, rotation=35 if len(tasks) > 5 else 0)
    axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
    axes.grid(False)
    if len(rows) * len(tasks) <= 200:
        for i, line in enumerate(grid):
            for j, value in enumerate(line):
                if value == value:
                    axes.text(
                        j,
                        i,
                        f"{'+' if value > 0.05 else ''}{fix(value)}",
                        ha="center",
                        va="center",
                        fontsize=6,
                    )
    axes.set_xlabel(f"points against {base['method'] if base else 'the mean'}")


def _seeds(data: Data, cells: Sequence[Data], axes: "Axes") -> None:
    """Draw a mark for each seed, the mean as a tick, the 95% interval as a bar; hollow marks are collapsed runs."""
    for place, cell in enumerate(cells):
        colour, shape = look(data, cell["method"])
        if cell["low"] is not None:
            axes.plot([cell["low"], cell["high"]], [place, place], color=colour, linewidth=5, alpha=0.2)
        for hollow in (False, True):
            values = [seed[1] for seed in cell["seeds"] if (len(seed) > 2) == hollow]
            if values:
                face = "white" if hollow else colour
                axes.plot(
                    values, [place] * len(values), shape, color=colour, markersize=4, markerfacecolor=face
                )
        axes.plot([cell["mean"]], [place], "|", color=INK, markersize=9)
    _by_method(axes, cells)
    axes.set_xlabel("score")


def _curves(data: Data, cells: Sequence[Data], axes: "Axes") -> None:
    """Draw the mean selection score over the seeds, up to the end of the shortest curve."""
    for cell in cells:
        curves = [curve for curve in cell["curves"] if "x" in curve and "y" in curve]
        if curves:
            length = min(len(curve["x"]) for curve in curves)
            xs = [_mean(curve["x"][i] for curve in curves) for i in range(length)]
            ys = [_mean(curve["y"][i] for curve in curves) for i in range(length)]
            colour, shape = look(data, cell["method"])
            end: dict[str, Any] = {"marker": shape, "markevery": [length - 1], "markersize": 4}
            axes.plot(xs, ys, color=colour, linewidth=1.2, label=cell["method"], **end)
    axes.set_xlabel("step")
    axes.set_ylabel("selection score")


def _reach(data: Data, cells: Sequence[Data], axes: "Axes") -> None:
    """Draw the seconds of training until the selection score reaches the target: a mark for each seed that does."""
    timed = [(cell, [c for c in cell["curves"] if "t" in c and "y" in c]) for cell in cells]
    tops = [[max(v for v in c["y"] if v is not None) for c in curves] for _, curves in timed]
    goal = REACH * max(fmean(top) for top in tops)
    for place, (cell, curves) in enumerate(timed):
        colour, shape = look(data, cell["method"])
        times = [_first(curve, goal) for curve in curves]
        hits = [time for time in times if time is not None]
        axes.plot(hits, [place] * len(hits), shape, color=colour, markersize=4)
        if len(hits) * 2 > len(times):
            middle = median(time if time is not None else float("inf") for time in times)
            axes.plot([0, middle], [place, place], color=colour, linewidth=1.2, alpha=0.5)
    _by_method(axes, cells)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"seconds to a selection score of {fix(goal)}")


def _lines(data: Data, lines: Sequence[Data], label: str, axes: "Axes") -> None:
    """Draw means and 95% intervals over a logarithmic axis; `all` is one step right of the last number. Settings of one
    method share its colour, and differ in their dashes."""
    known = [point["x"] for line in lines for point in line["points"] if point["x"] is not None]
    end = max(known) * 3
    drawn: Counter[str] = Counter()
    for line in lines:
        points = sorted(line["points"], key=lambda point: point["x"] or end)
        xs, ys = [point["x"] or end for point in points], [point["y"] for point in points]
        colour, shape = look(data, line["method"])
        dashes = DASHES[drawn[line["method"]] % len(DASHES)]
        drawn[line["method"]] += 1
        axes.plot(
            xs, ys, dashes, color=colour, marker=shape, markersize=4, linewidth=1.2, label=line["label"]
        )
        for x, point in zip(xs, points, strict=True):
            if point["low"] is not None:
                axes.plot([x, x], [point["low"], point["high"]], color=colour, linewidth=0.8, alpha=0.5)
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("score")
    if any(point["x"] is None for line in lines for point in line["points"]):
        ticks = sorted(set(known))
        axes.set_xticks([*ticks, end], [*(compact(tick) for tick in ticks), "all"])
        axes.minorticks_off()


def _by_method(axes: "Axes", cells: Sequence[Data]) -> None:
    axes.set_yticks(range(len(cells)), [cell["method"] for cell in cells])
    axes.set_ylim(len(cells) - 0.4, -0.6)


def _first(curve: Data, goal: float) -> float | None:
    pairs = zip(curve["t"], curve["y"], strict=True)
    return next((t for t, y in pairs if y is not None and y >= goal), None)


def _mean(values: Iterable[float | None]) -> float:
    there = [value for value in values if value is not None]
    return fmean(there) if there else float("nan")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
