"""What a row of a table costs: parameters, time, memory, bytes, latency and tuning."""

from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from statistics import fmean, median

from petbench.record import Record
from petbench.report.cells import Cell
from petbench.report.layout import Costs, Span

LORA = ("lora", "peft/lora")  # step times are relative to the first of these that has a row


def row_costs(cells: Mapping[str, Cell], lora: Mapping[str, Cell]) -> Costs:
    """The costs of a row's cells (column key -> cell); `step_vs_lora` is relative to the LoRA row's cells."""
    runs = [record for cell in cells.values() for record in cell.done]
    params = [record.params for record in runs if record.params is not None]
    tuning_runs, tuning_seconds = _tuning(cells.values())
    return Costs(
        adapter=_span([p.adapter for p in params]),
        tuned=_span([p.tuned for p in params]),
        tuned_percent=_span([p.tuned_percent for p in params]),
        trainable=_span([p.trainable for p in params]),
        step_seconds=_span([seconds for cell in cells.values() if (seconds := step_seconds(cell))]),
        step_vs_lora=step_ratio(cells, lora),
        peak_memory=max(_measured(runs, "peak_memory_bytes"), default=None),
        adapter_bytes=max(_measured(runs, "adapter_bytes"), default=None),
        latency_unmerged_ms=_median(_measured(runs, "latency_unmerged_ms")),
        latency_merged_ms=_median(_measured(runs, "latency_merged_ms")),
        train_seconds=_median(_measured(runs, "train_seconds")),
        tuning_runs=tuning_runs,
        tuning_seconds=tuning_seconds,
    )


def step_seconds(cell: Cell) -> float | None:
    """The median over a cell's runs of their median step time; runs that shared their steps (`lanes`) are left out."""
    return _median(_measured([run for run in cell.done if run.cost.lanes == 1], "step_seconds_median"))


def step_ratio(cells: Mapping[str, Cell], lora: Mapping[str, Cell]) -> float | None:
    """The geometric mean of step time / LoRA's step time, over shared columns with equal conditions; else None."""
    ratios = []
    for column, cell in cells.items():
        other = lora.get(column)
        if other is None or _conditions(cell) != _conditions(other):
            continue
        mine, theirs = step_seconds(cell), step_seconds(other)
        if mine and theirs:
            ratios.append(log(mine / theirs))
    return exp(fmean(ratios)) if ratios else None


def _conditions(cell: Cell) -> tuple[object, ...]:
    """What must be equal for two step times to be comparable."""
    names = ("batch_size", "gradient_accumulation", "gradient_checkpointing", "bucket")
    trainer = tuple(repr(cell.row_settings.get(f"trainer.{name}")) for name in names)
    machine = {(run.device, str(run.provenance.threads)) for run in cell.done}
    return *trainer, str(cell.row_settings.get("precision")), tuple(sorted(machine))


def _tuning(cells: Iterable[Cell]) -> tuple[int | None, float | None]:
    """Runs and seconds of the tuning that chose these cells' settings (`provenance.tuning`), counted once per cell."""
    runs, seconds, found = 0, 0.0, False
    for cell in cells:
        notes = (run.provenance.tuning for run in cell.done)
        note = next((note for note in notes if note is not None and note.runs is not None), None)
        if note is not None and note.runs is not None:
            runs, seconds, found = runs + note.runs, seconds + (note.seconds or 0), True
    return (runs, seconds) if found else (None, None)


def _measured(runs: Iterable[Record], name: str) -> list[float]:
    values = (getattr(run.cost, name) for run in runs)
    return [value for value in values if value is not None]


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _span(values: Sequence[float]) -> Span | None:
    return Span(min(values), max(values)) if values else None
