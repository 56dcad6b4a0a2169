"""Compare our runs of a recipe with the published table: consistent, differs or cannot tell; reasons for a gap."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from petbench.record import Record
from petbench.report.cells import Cell, group
from petbench.report.published.numbers import Published, Target, lookup, target
from petbench.report.published.rows import rows_variance
from petbench.report.sides import Read, no_answers, prior_for, prior_of
from petbench.report.statistics.intervals import Summary, summary
from petbench.report.statistics.moderation import Prior
from petbench.report.statistics.theirs import Beside as Word
from petbench.report.statistics.theirs import beside

PARTS: Mapping[str, str] = {"mnli_matched": "mnli", "mnli_mismatched": "mnli"}


@dataclass(frozen=True)
class Line:
    """One number: the paper's and ours, in points; ours is None without a finished run."""

    adapter: str
    theirs: Published
    ours: Summary | None
    word: Word | None  # in score units
    gaps: tuple[str, ...]

    @property
    def difference(self) -> float | None:
        """Ours minus theirs, in points."""
        return None if self.ours is None else self.ours.mean - self.theirs.value


@dataclass(frozen=True)
class Beside:
    """A published table with our numbers."""

    recipe: str
    target: Target
    lines: tuple[Line, ...]
    stand_ins: tuple[
        str, ...
    ] = ()  # models of our runs that are not in the table; these runs are not compared

    def of(self, adapters: Collection[str], tasks: Collection[str]) -> "Beside":
        """The part of the table for these methods and tasks; with averages only if no printed task is left out."""
        printed = {PARTS.get(line.theirs.task, line.theirs.task) for line in self.lines} - {"average"}
        tasks = {*tasks, *(["average"] if printed <= set(tasks) else [])}
        kept = (
            line
            for line in self.lines
            if line.adapter in adapters and PARTS.get(line.theirs.task, line.theirs.task) in tasks
        )
        return Beside(self.recipe, self.target, tuple(kept), self.stand_ins)


def ours_beside_theirs(recipe: str, records: Sequence[Record], read: Read = no_answers) -> Beside:
    """The recipe's table, compared with the finished runs whose config names the recipe. read: run -> its answers.

    Raises UserError for an unknown recipe.
    """
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
                    lines.append(_line(adapter, number, names, model, cells, read))
    done = [record.model for record in mine if record.status == "done"]
    others = tuple(dict.fromkeys(model for model in done if model not in aim.models))
    return Beside(recipe, aim, tuple(lines), others)


def _line(
    adapter: str,
    number: Published,
    names: Sequence[str],
    model: str,
    cells: Mapping[tuple[str, str, str], list[Cell]],
    read: Read,
) -> Line:
    if number.task == "average":
        return Line(adapter, number, None, None, ("averages have other formulas: compare the tasks",))
    found = cells.get((model, adapter, PARTS.get(number.task, number.task)), [])
    sized = [cell for cell in found if nearest(cell, names) == number.method]
    if not sized:
        return Line(adapter, number, None, None, ())
    cell = max(sized, key=lambda cell: len(cell.values))
    values = [value for record in cell.done if (value := _value(record, number)) is not None]
    rows = rows_variance(number, cell, read)
    gaps = tuple(_gaps(number, cell, more=len(sized) - 1, rows_part=rows))
    if not values:
        return Line(adapter, number, None, None, gaps)
    # A printed median or best counts as a single run, since its spread is not known.
    several = number.statistic == "mean"
    word = beside(
        values,
        number.value / 100,
        std=number.std / 100 if several and number.std is not None else None,
        n=number.runs or 1 if several else 1,
        prior=prior_for(cell, _prior(number, cell, [each for some in cells.values() for each in some])),
        rows_variance=rows or 0.0,
    )
    return Line(adapter, number, summary([100 * value for value in values]), word, gaps)


def _prior(number: Published, cell: Cell, cells: Sequence[Cell]) -> Prior | None:
    """The prior of the variance over seeds from the recipe's cells, by the printed metric if they have it."""

    def scores(other: Cell) -> list[float]:
        found = [_value(record, number) for record in other.done]
        return [value for value in found if value is not None] or list(other.values.values())

    table = [other for other in cells if other.table_key == cell.table_key]
    return prior_of([other for other in table if other.column_key == cell.column_key], table, scores)


def nearest(cell: Cell, names: Sequence[str]) -> str:
    """The printed method whose size, as the table gives it, is nearest to our number of tuned parameters."""
    sizes = {each.method: each.size_millions for name in names for each in lookup(method=name)}
    known = {name: size for name, size in sizes.items() if size is not None}
    params = [record.params for record in cell.done if record.params is not None]
    if len(names) == 1 or not known or not params:
        return names[0]
    tuned = params[0].tuned / 1e6
    return min(known, key=lambda name: abs(known[name] - tuned))


def _stand_in(cell: Cell) -> str | None:
    """The name of a backbone with random weights that ran under the paper's name; None if the weights are trained."""
    for record in cell.done:
        model = record.config.get("model") or {}
        if model.get("weights") == "random":
            return f"{model.get('name')} with random weights"
    return None


def _value(record: Record, number: Published) -> float | None:
    """Our value of the printed metric on the reported split; None when it was not measured."""
    report = record.metrics.report
    if number.metric_id == "accuracy_m+mm":
        values = [report[split]["accuracy"] for split in report if "accuracy" in report[split]]
        return fmean(values) if len(values) == 2 else None
    splits = [split for split in report if ("mismatched" in split) == (number.task == "mnli_mismatched")]
    return next((report[s][number.metric_id] for s in splits if number.metric_id in report[s]), None)


def _gaps(number: Published, cell: Cell, more: int, rows_part: float | None) -> Iterator[str]:
    """Reasons for a gap that hold for this number."""
    if any(record.is_toy for record in cell.done):
        yield "OURS ARE TOY ROWS"
    if (stand_in := _stand_in(cell)) is not None:
        yield f"OURS RAN ON A STAND-IN FOR {cell.model}: {stand_in}"
    steps, rows = (
        cell.row_settings.get("trainer.max_steps"),
        cell.column_settings.get("data.max_train_examples"),
    )
    if steps is not None or rows is not None:
        yield f"OURS WAS CUT SHORT: {f'{steps} steps' if steps is not None else f'{rows} training rows'}"
    yield f"their rows: {number.split}; ours: protocol {cell.protocol}"
    if rows_part is None:
        yield "their rows are others, and we stored no answers to estimate the effect: `differs` may be due to rows"
    if number.metric != number.metric_id:
        yield f"their metric is printed as: {number.metric}"
    if number.start:
        started = cell.row_settings.get("init_from")
        yield f"theirs starts from {number.start.upper()}" + ("" if started else ", ours does not")
    if number.statistic == "median":
        yield f"theirs is the median of {number.runs} runs, ours the mean"
    if number.statistic == "single":
        yield "theirs is a single run"
    if number.std is None and number.statistic != "single":
        yield "their spread over seeds is not printed"
    if number.percent_is == "derived":
        yield "their percent of trained parameters is derived from printed counts"
    if number.status == "second_hand":
        yield "cited from another paper: " + number.source
    if number.metric_id == "accuracy_m+mm":
        yield "ours is the mean of matched and mismatched (nearly equal sizes)"
    if cell.collapsed:
        yield f"{len(cell.collapsed)} of ours collapsed"
    if more:
        yield f"{more} other settings of ours left out (fewer seeds)"


def reasons(beside: Beside) -> Iterator[str]:
    """The known reasons for a gap: those of the whole table, then those of single numbers, each once."""
    yield from beside.target.gaps
    specific: dict[str, list[str]] = {}
    for line in beside.lines:
        for gap in line.gaps if line.ours is not None else ():
            specific.setdefault(gap, []).append(f"{line.adapter} {line.theirs.task}")
    yield from (f"{gap} ({_some(places)})" for gap, places in specific.items())
    if beside.stand_ins:
        names = ", ".join(beside.stand_ins)
        yield f"our runs on {names}, instead of {', '.join(beside.target.models)}, are not compared"


def _some(places: Sequence[str]) -> str:
    shown = list(dict.fromkeys(places))
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
