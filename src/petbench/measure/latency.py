"""Latency: one short row through a model in evaluation mode, and the clock that times it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, thread_time

import torch
from torch import nn

from petbench.models.made_up import made_up
from petbench.tuned.attach import Tuned

LENGTH = 10  # tokens of the row, as in KronA's measurement
WARM_UP, TIMED = 5, 20  # rounds at the end of a run; `petbench bench` takes 150 and 200


@dataclass(frozen=True)
class Clock:
    """A clock in seconds, and its name."""

    name: str
    read: Callable[[], float]


def clock_of(device: torch.device) -> Clock:
    """CUDA: wall time, read when the device is done. One CPU thread: its CPU time. More threads: wall time."""
    if device.type == "cuda":
        return Clock("wall time", _wall_time_on_cuda)
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return Clock("CPU time of one thread", thread_time)
    return Clock("wall time", perf_counter)


def _wall_time_on_cuda() -> float:
    torch.cuda.synchronize()
    return perf_counter()


@torch.no_grad()
def latencies(
    models: Sequence[nn.Module], length: int, warm_up: int, timed: int, device: torch.device
) -> list[list[float]]:
    """Seconds of every timed forward pass at batch 1, by model; the models take turns, so that drift is shared."""
    times: list[list[float]] = [[] for _ in models]
    inputs = [made_up(model, [length]) for model in models]
    now = clock_of(device).read
    for model in models:
        model.eval()
    for round_number in range(warm_up + timed):
        for place, model in enumerate(models):
            started = now()
            model(**inputs[place])
            spent = now() - started
            if round_number >= warm_up:
                times[place].append(spent)
    return times


def tuned_latency(tuned: Tuned) -> tuple[float, float | None]:
    """Median milliseconds of a run's model: with its adapters, and merged (None where it cannot be merged).

    Quick, for the record; for a comparison of methods use `petbench bench`, where they take turns.
    """
    device = next(tuned.model.parameters()).device

    def milliseconds() -> float:
        return 1000 * median(latencies([tuned.model], LENGTH, WARM_UP, TIMED, device)[0])

    unmerged = milliseconds()
    if not tuned.method.mergeable(tuned.spec, tuned.layout):
        return unmerged, None
    tuned.merge()
    try:
        return unmerged, milliseconds()
    finally:
        tuned.unmerge()
