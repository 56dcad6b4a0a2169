"""Our runs of a recipe beside the published table: the difference, our interval, the reasons for a gap."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from petbench.record import Record
from petbench.report.cells import Cell, group, is_toy
from petbench.report.published.costs import costs_text
from petbench.report.published.numbers import COST_RECIPES, PAPER_GAPS, Published, Target, lookup, target
from petbench.report.statistics.stats import Summary, summary

METRICS: Mapping[str, str] = {"pearson_spearman_mean": "pearson_spearman", "spearman": "spearmanr"}
PARTS: Mapping[str, str] = {"mnli_matched": "mnli", "mnli_mismatched": "mnli"}


@dataclass(frozen=True)
class Line:
    """One number: theirs in points and ours in points, None where there is no finished run."""

    adapter: str
    theirs: Published
    ours: Summary | None
    gaps: tuple[str, ...]

    @property
    def difference(self) -> float | None:
        """Ours minus theirs, in points."""
        return None if self.ours is None else self.ours.mean - self.theirs.value

    @property
    def covered(self) -> bool | None:
        """Whether our interval holds their number; None without an interval."""
        if self.ours is None or self.ours.low is None or self.ours.high is None:
            return None
        return self.ours.low <= self.theirs.value <= self.ours.high


@dataclass(frozen=True)
class Beside:
    """A whole published table with ours."""

    recipe: str
    target: Target
    lines: tuple[Line, ...]
    gaps: tuple[str, ...]  # for every line

    @property
    def missing(self) -> int:
        """Numbers without a run of ours."""
        return sum(line.ours is None for line in self.lines)


def ours_beside_theirs(recipe: str, records: Sequence[Record]) -> Beside:
    """Finished runs whose config names the recipe, beside its table. Raises UserError for an unknown recipe."""
    aim = target(recipe)
    mine = [record for record in records if record.config.get("recipe") == recipe]
    cells: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in group(mine):
        cells.setdefault((cell.model, cell.adapter, cell.task), []).append(cell)
    lines = []
    for model in aim.models:
        for adapter, names in aim.methods.items():
            for name in names:
                for number in lookup(paper=aim.paper, table=aim.table, model=model, method=name):
                    lines.append(_line(adapter, number, names, model, cells))
    return Beside(recipe, aim, tuple(lines), PAPER_GAPS.get(aim.paper, ()))


def _line(
    adapter: str,
    number: Published,
    names: Sequence[str],
    model: str,
    cells: Mapping[tuple[str, str, str], list[Cell]],
) -> Line:
    if number.task == "average":
        return Line(adapter, number, None, ("averages: compare the tasks, the formulas differ",))
    found = cells.get((model, adapter, PARTS.get(number.task, number.task)), [])
    sized = [cell for cell in found if _nearest(cell, names) == number.method]
    if not sized:
        return Line(adapter, number, None, ())
    cell = max(sized, key=lambda cell: len(cell.values))
    values = [value for record in cell.done if (value := _value(record, number)) is not None]
    gaps = tuple(_gaps(number, cell, more=len(sized) - 1))
    return Line(adapter, number, summary([100 * value for value in values]) if values else None, gaps)


def _nearest(cell: Cell, names: Sequence[str]) -> str:
    """The printed method of this size: by the `0.32M` in the names, nearest to our tuned parameters."""
    sizes = {name: float(found.group(1)) for name in names if (found := re.search(r"(\d+\.\d+)M", name))}
    params = [record.params for record in cell.done if record.params is not None]
    if len(names) == 1 or not sizes or not params:
        return names[0]
    tuned = params[0].tuned / 1e6
    return min(sizes, key=lambda name: abs(sizes[name] - tuned))


def _value(record: Record, number: Published) -> float | None:
    """Our value of the printed metric, on the reported split; None where it was not measured."""
    report = record.metrics.report
    metric = METRICS.get(number.metric, number.metric.split(" ")[0])
    splits = [split for split in report if ("mismatched" in split) == (number.task == "mnli_mismatched")]
    if "m+mm" in number.metric:
        values = [report[split]["accuracy"] for split in report if "accuracy" in report[split]]
        return fmean(values) if len(values) == 2 else None
    return next((report[split][metric] for split in splits if metric in report[split]), None)


def _gaps(number: Published, cell: Cell, more: int) -> Iterator[str]:
    """Reasons that hold for this number."""
    if any(is_toy(record) for record in cell.done):
        yield "OURS ARE TOY ROWS"
    steps, rows = (
        cell.row_settings.get("trainer.max_steps"),
        cell.column_settings.get("data.max_train_examples"),
    )
    if steps is not None or rows is not None:
        yield f"OURS WAS CUT SHORT: {f'{steps} steps' if steps is not None else f'{rows} training rows'}"
    yield f"their rows: {number.split}; ours: protocol {cell.protocol}"
    if "or accuracy" in number.metric or "assumed" in number.metric:
        yield f"their metric: {number.metric}"
    if "MNLI-initialised" in number.method and number.task in ("mrpc", "rte", "stsb"):
        started = cell.row_settings.get("init_from")
        yield "theirs starts from MNLI" + ("" if started else ", ours does not")
    if number.std is None and "mean" not in number.split:
        yield "their spread over seeds is not printed"
    if number.status == "second_hand":
        yield "second hand: " + number.source
    if "m+mm" in number.metric:
        yield "ours is the mean of matched and mismatched (nearly equal sizes)"
    if cell.collapsed:
        yield f"{len(cell.collapsed)} of ours collapsed"
    if more:
        yield f"{more} other settings of ours left out (fewer seeds)"


def reproduction(recipe: str, records: Sequence[Record]) -> str:
    """What `petbench reproduce recipe=…` prints after the runs. Raises UserError for an unknown recipe."""
    if recipe in COST_RECIPES:
        return costs_text(recipe, records)
    return to_text(ours_beside_theirs(recipe, records))


def to_text(beside: Beside) -> str:
    """The comparison as Markdown: readable on a terminal, ready for a page."""
    aim = beside.target
    lines = [f"## {beside.recipe}: ours beside {aim.paper}, {aim.table or 'no table'}", ""]
    if beside.lines:
        lines += [
            "| method | printed as | task (metric) | theirs | ours | difference | theirs in our interval |"
        ]
        lines += ["| --- | --- | --- | ---: | ---: | ---: | --- |"]
        lines += [_row(line) for line in beside.lines]
        lines += [
            "",
            f"{len(beside.lines) - beside.missing} of {len(beside.lines)} numbers have a run of ours.",
        ]
    lines += ["", "Known reasons for a gap:", *(f"- {gap}" for gap in beside.gaps)]
    specific: dict[str, list[str]] = {}
    for line in beside.lines:
        for gap in line.gaps:
            specific.setdefault(gap, []).append(f"{line.adapter} {line.theirs.task}")
    lines += [f"- {gap} ({_some(places)})" for gap, places in specific.items()]
    return "\n".join(lines) + "\n"


def _row(line: Line) -> str:
    theirs = f"{line.theirs.value:.2f}" + ("" if line.theirs.std is None else f" ± {line.theirs.std:g}")
    ours, difference, covered = "not run", "", ""
    if line.theirs.task == "average":
        ours = "–"
    if line.ours is not None:
        short = line.ours
        ours = f"{short.mean:.2f}" + ("" if short.std is None else f" ± {short.std:.2f}")
        ours += f" [{short.low:.2f}, {short.high:.2f}]" if short.low is not None else ""
        ours += f" n={short.n}"
        difference = f"{line.difference:+.2f}"
        covered = {True: "yes", False: "no", None: "one run"}[line.covered]
    cells = (
        line.adapter, line.theirs.method, f"{line.theirs.task} ({line.theirs.metric})", theirs, ours, difference,
        covered,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _some(places: Sequence[str]) -> str:
    shown = list(dict.fromkeys(places))
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
