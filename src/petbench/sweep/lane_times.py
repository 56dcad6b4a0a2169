"""Lane times: steps of single runs beside common passes of as many runs in lanes, on generated rows, in one process.

It stands here and not in `measure`, because it trains several runs as a sweep does.
"""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from petbench.config.spec import RunSpec
from petbench.console import member_of_sweep
from petbench.machine.clock import peak_memory_bytes, reset_peak_memory
from petbench.measure.latency import Clock
from petbench.tracking.log import Fanout
from petbench.training.fit import Fit
from petbench.training.lanes.group import Group
from petbench.training.lanes.lane import current
from petbench.training.prepare import Prepared, prepare
from petbench.training.scoring import Scorer
from petbench.training.session import Together


@dataclass(frozen=True)
class Trained:
    """What training a run cost. seconds: the median of its steps, its share of common passes in them."""

    seconds: float
    peak_bytes: int
    together: Together


def clock_of_runs(device: torch.device) -> Clock:
    """One CPU thread: the CPU time of the process, since every lane has a thread of its own, of which one works at a
    time; other programs hardly disturb it. More threads, or CUDA: wall time."""
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return Clock("CPU time of the process", time.process_time)
    return Clock("wall time", time.perf_counter)


def lane_times(spec: RunSpec, counts: Sequence[int], clock: Callable[[], float]) -> list[dict[str, Any]]:
    """One row for each number of lanes in `counts`, of runs that are `spec` with seeds from 0 on.

    row_ms: one step of each run, summed, in milliseconds; lanes_ms: one pass of all lanes; ratio: the first divided by
    the second, above 1 where lanes are faster. Both have batches and optimiser in them and are medians over the steps,
    which take turns: the runs and their twins in lanes are one group, so that the machine's drift is shared. together:
    the most lanes of a pass, 1 where a model cannot share passes. padding: share of the passes' tokens that lanes
    padded. Peaks are bytes, of one run by itself and of the group; on a CPU all that the process holds.
    Raises what a run raises.
    """
    with TemporaryDirectory() as place, _quiet():
        single = _trained(_ready(spec, 0, Path(place, "single")))
        return [_row(spec, count, clock, Path(place, str(count)), single.peak_bytes) for count in counts]


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, runs print nothing, and none warns that rows are cut, which is asked for here. Errors are raised."""
    with member_of_sweep("", silent=True), redirect_stderr(io.StringIO()):
        yield


def _row(
    spec: RunSpec, count: int, clock: Callable[[], float], folder: Path, single_peak: int
) -> dict[str, Any]:
    ready = [_ready(spec, seed, folder / way) for way in ("lanes", "row") for seed in range(count)]
    found = Group([partial(_trained, member) for member in ready], clock, apart=count).run()
    lanes, row = found[:count], found[count:]
    return {
        "name": spec.adapter.label,
        "lanes": count,
        "together": max(one.together.lanes for one in lanes),
        "row_ms": _step_ms(row),
        "lanes_ms": _step_ms(lanes),
        "ratio": _step_ms(row) / _step_ms(lanes),
        "padding": lanes[0].together.padding or 0.0,
        "single_peak_bytes": single_peak,
        "lanes_peak_bytes": max(one.peak_bytes for one in lanes),
    }


def _ready(spec: RunSpec, seed: int, folder: Path) -> Prepared:
    places = {"results_dir": str(folder), "cache_dir": str(folder.parent / "cache")}
    return prepare(spec.model_copy(update={"seed": seed, **places}))


def _trained(ready: Prepared) -> Trained:
    """Open and train a run, in its lane where it has one; nothing of it is scored or recorded."""
    with member_of_sweep(
        "", silent=True
    ):  # once more: a lane is a thread, which begins with a voice of its own
        session = current().open(ready, None)
        fit = Fit(session, Scorer(session))
        reset_peak_memory(session.accelerator.device)
        fit.run(Fanout([]))
        peak = peak_memory_bytes(session.accelerator.device)
        return Trained(fit.clock.median() or 0.0, peak, session.together)


def _step_ms(trained: Sequence[Trained]) -> float:
    """One step of every run in milliseconds."""
    return 1000 * sum(one.seconds for one in trained)
