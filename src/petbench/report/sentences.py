"""A comparison in sentences: the answer, its standard error in parts, and cautions."""

from collections.abc import Sequence
from math import sqrt

from petbench.record.units import points, probability, signed
from petbench.report.cells import Cell
from petbench.report.settings import labelled, varying
from petbench.report.statistics.difference import (
    Difference,
)
from petbench.report.statistics.shape import shape_p
from petbench.report.verdicts import FEWEST_TASKS, Judged


def verdict(judged: Sequence[Judged], first: Sequence[Cell], second: Sequence[Cell]) -> str:
    """The answer in sentences: the main one first, then one line for each task, then cautions."""
    both = names(first, second)
    lines = [sentence(judged[-1], *both), *_details(judged[-1])]
    if len(judged) > 1:
        for each in judged[:-1]:
            lines += [sentence(each, *both), *_details(each)]
        lines.append(f"p values are corrected over these {len(judged)} tests (the mean first, then Holm).")
    lines += _over_tasks(judged, *both)
    lines += _cautions(first, second)
    return "\n".join(lines)


def sentence(judged: Judged, first: str, second: str) -> str:
    """`On sst2, lora is ahead of krona by 1.3 points (95% interval 0.2 to 2.4 over seeds and rows; p .02 …)`"""
    found, on = judged.difference, f"On {judged.where}"
    if found is None:
        alone = " and ".join(name for name, side in ((first, judged.a), (second, judged.b)) if side.n < 2)
        return f"{on}, open: {alone} has a single run, and one run says nothing about the spread. Give more seeds."
    if judged.nothing_learnt:
        return f"{on}, open: every run of {first} and of {second} collapsed to one answer, so nothing was learnt."
    if judged.word == "ahead":
        ahead, behind = (first, second) if found.value > 0 else (second, first)
        low, high = found.interval()
        low, high = (low, high) if found.value > 0 else (-high, -low)
        won = judged.wins
        share = "" if won is None else f"; wins {100 * max(won.share, 1 - won.share):.0f}% of runs"
        return (
            f"{on}, {ahead} is ahead of {behind} by {points(abs(found.value))} points (95% interval "
            f"{points(low)} to {points(high)} {_over(found)}; p {probability(judged.p)}{share})."
        )
    margin = f"{100 * judged.margin:g}"
    if judged.word == "equal":
        low, high = found.interval(0.9)
        return (
            f"{on}, {first} and {second} are equal within {margin}: {first} {signed(found.value)} points "
            f"(90% interval {points(low)} to {points(high)} {_over(found)})."
        )
    low, high = found.interval()
    return (
        f"{on}, open: {first} {signed(found.value)} points against {second} ({points(low)} to {points(high)} "
        f"{_over(found)}; p {probability(judged.p)}; margin {margin})."
    )


def _details(judged: Judged) -> list[str]:
    """The lines below the sentence: the standard error in parts, the runs, and the difference that they can detect."""
    found = judged.difference
    if found is None:
        return []
    lines = []
    if judged.split:
        most, highest = ("the first", "the second") if found.value < 0 else ("the second", "the first")
        k = sum(judged.collapsed)
        why = f": {k} {'run' if k == 1 else 'runs'} collapsed" if k else ""
        lines.append(
            f"  {most} wins more runs, {highest} has the higher mean{why}. So neither is called ahead."
        )
    parts = f"  standard error {points(found.se)}: seeds {points(sqrt(found.seeds_part))}"
    if found.rows_part is not None:
        parts += f", rows {points(sqrt(found.rows_part))}, less what both hold"
    runs = "" if not judged.a.n else f". {judged.a.n} and {judged.b.n} runs"
    least = judged.least
    if least is not None and judged.word != "equal":
        seen, endless = least
        runs += f"; a true difference of {points(seen)} or more would be detected (power 0.8)"
        if found.m and endless:
            runs += f", and on {found.m:,} rows no number of seeds detects less than {points(endless)}"
    return [*lines, f"{parts}{runs}."]


def _over_tasks(judged: Sequence[Judged], first: str, second: str) -> list[str]:
    """The signed-rank test over task means, from six tasks on: whether the result would hold on other tasks."""
    tasks = [each.difference.value for each in judged[:-1] if each.difference is not None]
    if len(tasks) < FEWEST_TASKS:
        return []
    p = shape_p(tasks, [0.0] * len(tasks), paired=True)
    ahead = sum(value > 0 for value in tasks)
    told = "" if p is None else f" (signed-rank over tasks, p {probability(p)})"
    return [f"Over tasks, {first} has the higher mean on {ahead} of {len(tasks)}{told}."]


def _over(found: Difference) -> str:
    return "over seeds, on these rows" if found.rows_part is None else "over seeds and rows"


def names(first: Sequence[Cell], second: Sequence[Cell]) -> tuple[str, str]:
    """Short names of the sides: their adapters, with settings or model if the adapters are the same; else A and B."""
    a, b = first[0], second[0]
    if any(len({cell.adapter for cell in side}) > 1 for side in (first, second)):
        return "A", "B"
    names = [a.adapter, b.adapter]
    if names[0] == names[1]:
        told = varying([a.settings, b.settings])[:4]
        names = [f"{cell.adapter} {labelled(cell.settings, told)}".strip() for cell in (a, b)]
    if a.model != b.model:
        names = [f"{name} ({cell.model})" for name, cell in zip(names, (a, b), strict=True)]
    return ("A", "B") if names[0] == names[1] else (names[0], names[1])


def _cautions(first: Sequence[Cell], second: Sequence[Cell]) -> list[str]:
    """Warnings about what weakens the comparison."""
    both = [*first, *second]
    lines = []
    protocols = sorted({cell.protocol for cell in both})
    if len(protocols) > 1:
        lines.append(f"Caution: the sides were run under different protocols ({', '.join(protocols)}).")
    elif protocols == ["glue_dev"]:
        lines.append("Caution: under glue_dev the reported rows also chose the checkpoint.")
    if any(run.is_toy for cell in both for run in cell.done):
        lines.append("Caution: the rows are generated (toy); this says nothing about GLUE.")
    collapsed = sum(len(cell.collapsed) for cell in both)
    lost = sum(cell.count("failed") + cell.count("diverged") for cell in both)
    if collapsed or lost:
        runs = "run" if collapsed == 1 else "runs"
        lines.append(
            f"Caution: {collapsed} {runs} collapsed (counted), {lost} failed or diverged (left out)."
        )
    marks = dict.fromkeys(mark for cell in both for mark in cell.marks)
    return [*lines, *(f"Caution: {mark}." for mark in marks)]
