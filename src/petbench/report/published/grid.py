"""A published table as text, methods by tasks: the paper's numbers, below them ours and the gap; and the verdict."""

from collections.abc import Iterator, Sequence
from statistics import StatisticsError, correlation, fmean

from petbench.record.units import fix
from petbench.report.published.beside import Beside, Line

MARKS = {"consistent": "", "differs": "!", "cannot tell": "?"}
LEAST_RANKED = 3  # methods that a rank correlation needs


def grid_lines(beside: Beside) -> Iterator[str]:
    """The lines of the table, for every model: the paper's numbers; below each, if we have runs, ours and the gap."""
    aim = beside.target
    models = dict.fromkeys(line.theirs.model for line in beside.lines)
    yield f"{beside.recipe}, as published: {aim.paper}, {aim.table or 'no table'} ({', '.join(models or aim.models)})"
    if any(line.ours is not None for line in beside.lines):
        yield "theirs; below it ours and the gap: ! differs; ? cannot tell (our runs scatter, or there is only one)"
    if not beside.lines:
        yield "there is no published number for this part of the table"
    for model in models:
        mine = [line for line in beside.lines if line.theirs.model == model]
        yield from _aligned(_rows(mine, model if len(models) > 1 else "method"))


def _rows(lines: Sequence[Line], head: str) -> list[list[str]]:
    """The column heads, then one or two rows for each method."""
    metrics: dict[str, set[str]] = {}
    for line in lines:
        metrics.setdefault(line.theirs.task, set()).add(line.theirs.metric)
    columns = dict.fromkeys((line.theirs.task, line.theirs.metric) for line in lines)
    several = {task for task, found in metrics.items() if len(found) > 1}
    rows = [[head, *(f"{task} {metric}" if task in several else task for task, metric in columns)]]
    found: dict[tuple[str, str], dict[tuple[str, str], Line]] = {}
    for line in lines:
        place = (line.theirs.task, line.theirs.metric)
        found.setdefault((line.adapter, line.theirs.method), {})[place] = line
    for (adapter, printed), cells in found.items():
        here = [cells.get(column) for column in columns]
        rows.append(
            [f"{adapter} ({printed})", *("" if cell is None else f"{cell.theirs.value:g}" for cell in here)]
        )
        if any(cell is not None and cell.ours is not None for cell in here):
            rows.append(["  ours", *("" if cell is None else _ours(cell) for cell in here)])
    return rows


def _ours(line: Line) -> str:
    if line.ours is None or line.difference is None:
        return ""
    mark = MARKS.get(line.word.word, "") if line.word is not None else "?"
    spread = "" if line.ours.std is None else f"±{fix(line.ours.std)}"
    return f"{fix(line.ours.mean)}{spread} {line.difference:+.1f}{mark}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = (text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def verdict(beside: Beside, still_to_run: str = "") -> str:
    """`verdict: 5 consistent, 1 differs; mean gap -0.40 points; …; 66 of 72 numbers have no run of ours, …`.

    still_to_run: a text on the time that the missing runs take; empty if unknown.
    """
    told = [line.word.word for line in beside.lines if line.word is not None]
    parts = [", ".join(f"{told.count(word)} {word}" for word in MARKS if word in told)]
    gaps = [line.difference for line in beside.lines if line.difference is not None]
    if gaps:
        parts.append(f"mean gap {fmean(gaps):+.2f} points")
    ranks = rank_correlations(beside)
    if ranks:
        tasks = "1 task" if len(ranks) == 1 else f"{len(ranks)} tasks"
        parts.append(f"rank correlation of the methods {fmean(ranks):.2f} (mean over {tasks})")
    numbers = [line for line in beside.lines if line.theirs.task != "average"]
    missing = sum(line.ours is None for line in numbers)
    if missing:
        more = f", {still_to_run}" if still_to_run else ""
        parts.append(f"{missing} of {len(numbers)} numbers have no run of ours{more}")
    else:
        parts.append(f"all {len(numbers)} numbers have runs of ours")
    return f"verdict: {'; '.join(filter(None, parts))}."


def rank_correlations(beside: Beside) -> list[float]:
    """Spearman's correlation of their scores and ours over methods, for each task with runs of three or more."""
    columns: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for line in beside.lines:
        if line.ours is not None:
            place = (line.theirs.model, line.theirs.task, line.theirs.metric)
            columns.setdefault(place, []).append((line.theirs.value, line.ours.mean))
    found = []
    for pairs in columns.values():
        if len(pairs) >= LEAST_RANKED:
            theirs, ours = (_ranks(values) for values in zip(*pairs, strict=True))
            try:
                found.append(correlation(theirs, ours))
            except StatisticsError:  # all scores of one side are equal
                continue
    return found


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; ties get their mean rank."""
    return [(sum(o < v for o in values) + sum(o <= v for o in values) + 1) / 2 for v in values]
