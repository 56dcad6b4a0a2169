"""Estimate the seconds and peak memory of planned runs from the records of similar runs; nothing is guessed."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from petbench.config.spec import RunSpec
from petbench.record import Record

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Estimate:
    """What similar runs took. near: they were of another task or method, so it is only an order of magnitude."""

    seconds: float | None = None
    memory_bytes: int | None = None
    near: bool = False


class Measured:
    """The finished records of a results folder that were made on one device."""

    def __init__(self, records: Iterable[Record], device: str) -> None:
        self._groups: dict[Key, list[Record]] = defaultdict(list)
        for record in records:
            if record.status == "done" and record.curve and record.device == device:
                for level in _LEVELS:
                    self._groups[level(record.config)].append(record)

    def of(self, spec: RunSpec, steps: int) -> Estimate:
        """The estimate for a run: from runs of the same method and task, otherwise of the same method, otherwise of the
        same model; always with equal batch size, length and precision.

        seconds = loading + steps · (training + evaluation per step), medians over those runs.
        """
        config = spec.canonical()
        for number, level in enumerate(_LEVELS):
            found = self._groups.get(level(config), [])
            if found:
                step = median(map(_step_seconds, found))
                load = median(record.cost.load_seconds or 0.0 for record in found)
                peaks = [r.cost.peak_memory_bytes for r in found if r.cost.peak_memory_bytes is not None]
                return Estimate(load + steps * step, int(median(peaks)) if peaks else None, near=number > 0)
        return Estimate()


def _step_seconds(record: Record) -> float:
    """Seconds of training and evaluation per step."""
    steps = max(1.0, record.curve[-1].step)
    return record.cost.seconds / steps


def _like(config: dict[str, Any]) -> Key:
    """The settings that all runs of a group share, whatever their method."""
    trainer = config["trainer"]
    names = ("batch_size", "gradient_accumulation", "gradient_checkpointing", "precision")
    return (config["model"]["name"], config["task"]["max_length"], *(trainer[name] for name in names))


_LEVELS: tuple[Callable[[dict[str, Any]], Key], ...] = (
    lambda c: ("cell", *_like(c), c["adapter"]["name"] or c["adapter"]["method"], c["task"]["name"]),
    lambda c: ("method", *_like(c), c["adapter"]["name"] or c["adapter"]["method"]),
    lambda c: ("model", *_like(c)),
)
