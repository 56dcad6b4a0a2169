"""Compare our latency and training time with those of the KronA paper, in percent of full fine-tuning."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import fmean, median

from petbench.record import Record
from petbench.report.cells import Cell, group
from petbench.report.published.numbers import folder, target

GAPS = (
    "their device is not ours; only the order of the methods and rough ratios are comparable",
    "latency: theirs at batch 1 and length 10, mean of three sets of 200 forwards; ours the median of 20 after a run",
    "mergeable methods: ours is the merged model's latency, where it was measured",
    "their PA and Adapter have about KronA's parameter count (0.06 and 0.07% of the backbone)",
)


@dataclass(frozen=True)
class CostLine:
    """One cost in percent of full fine-tuning."""

    adapter: str
    method: str
    quantity: str  # inference_latency or training_time
    theirs: float
    ours: float | None


def costs_beside(recipe: str, records: Sequence[Record]) -> list[CostLine]:
    """The lines of costs.csv with ours: the geometric mean over tasks of method / full, on the same device."""
    like = target(recipe).like
    names = {name: adapter for adapter, (name, *_) in target(like).methods.items()}
    wanted = {recipe, like}
    cells = [cell for cell in group(r for r in records if r.config.get("recipe") in wanted) if cell.values]
    lines = []
    with (folder() / "costs.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            adapter, quantity = names[line["method"]], line["quantity"]
            read = latency if quantity == "inference_latency" else train_seconds
            ours = _percent(cells, adapter, read)
            lines.append(CostLine(adapter, line["method"], quantity, float(line["percent_of_full"]), ours))
    return lines


def latency(cell: Cell) -> float | None:
    """The median latency: of the merged model if it was measured, otherwise of the model with its adapters."""
    found = [run.cost.latency_merged_ms or run.cost.latency_unmerged_ms for run in cell.done]
    return _median(found)


def train_seconds(cell: Cell) -> float | None:
    """The median training time of the runs that shared no steps with others."""
    return _median([run.cost.train_seconds for run in cell.done if run.cost.lanes == 1])


def costs_text(recipe: str, records: Sequence[Record]) -> str:
    """The comparison as Markdown."""
    lines = [f"## {recipe}: our costs beside the paper's, in percent of full fine-tuning", ""]
    lines += [
        "| method | printed as | cost | theirs | ours | difference |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for line in costs_beside(recipe, records):
        ours = "not run" if line.ours is None else f"{line.ours:.0f}"
        difference = "" if line.ours is None else f"{line.ours - line.theirs:+.0f}"
        what = line.quantity.replace("_", " ")
        lines.append(
            f"| {line.adapter} | {line.method} | {what} | {line.theirs:.0f} | {ours} | {difference} |"
        )
    lines += ["", "Known reasons for a gap:", *(f"- {gap}" for gap in GAPS)]
    return "\n".join(lines) + "\n"


def _percent(cells: Sequence[Cell], adapter: str, read: Callable[[Cell], float | None]) -> float | None:
    full = {
        (cell.model, cell.column_key, _device(cell)): value
        for cell in cells
        if cell.adapter == "full" and (value := read(cell))
    }
    ratios = [
        log(value / full[key])
        for cell in cells
        if cell.adapter == adapter
        and (key := (cell.model, cell.column_key, _device(cell))) in full
        and (value := read(cell))
    ]
    return 100 * exp(fmean(ratios)) if ratios else None


def _device(cell: Cell) -> tuple[str, ...]:
    return tuple(sorted({run.device for run in cell.done}))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
