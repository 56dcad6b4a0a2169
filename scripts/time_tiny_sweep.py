"""Time a sweep of 20 tiny runs in one process: what each run costs in training and outside it, and the start.

    python scripts/time_tiny_sweep.py [--model tiny_bert] [--methods krona,lora] [--seeds 5] [--steps 20]

Wall time and the process's own CPU time are printed side by side: on a machine that does other things, too, only the
second says what a run costs. The first run is left out of the averages: it imports what all of them need.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Moment = tuple[float, float]  # wall seconds, CPU seconds


def now() -> Moment:
    """This moment on both clocks."""
    return time.perf_counter(), time.process_time()


@dataclass
class Times:
    """When runs ended, and what the parts inside each of them took."""

    began: Moment = field(default_factory=now)
    ends: list[Moment] = field(default_factory=list)
    fits: list[Moment] = field(default_factory=list)
    loads: list[Moment] = field(default_factory=list)

    @contextmanager
    def into(self, spans: list[Moment]) -> Iterator[None]:
        """Append what the block takes."""
        wall, cpu = now()
        yield
        ended = now()
        spans.append((ended[0] - wall, ended[1] - cpu))


def watched(times: Times) -> None:
    """Let training, opening and the members of this process's sweeps note their times."""
    import petbench.sweep.member as member
    from petbench.training.fit import Fit
    from petbench.training.session import Solo

    def noting(plain: Callable[..., Any], spans: list[Moment]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with times.into(spans):
                return plain(*arguments, **options)

        return call

    job = member.member_job

    def counted(config: Any, since: float | None = None) -> float | None:
        if not times.ends:
            times.ends.append(now())  # the start ends where the first run begins
        score = job(config, since)
        times.ends.append(now())
        return score

    member.member_job = counted
    Fit.run = noting(Fit.run, times.fits)  # type: ignore[method-assign]
    Solo.open = noting(Solo.open, times.loads)  # type: ignore[method-assign]


def main() -> int:
    """The exit status of the sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="krona,lora,bitfit,compacter")
    parser.add_argument("--model", default="tiny_bert")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    times = Times()
    from petbench.cli import run_command  # what it imports is a part of the start

    watched(times)
    with tempfile.TemporaryDirectory(prefix="tiny_sweep_") as folder:
        status = run_command(
            ["train", "-m", f"adapter={given.methods}", f"seed=range({given.seeds})", "task=rte", "data=toy",
             f"model={given.model}", f"trainer.max_steps={given.steps}", "trainer.threads=1",
             f"results_dir={Path(folder) / 'results'}"]
        )  # fmt: skip
    show(times)
    return status


def show(times: Times) -> None:
    """Print seconds of the start and, of the runs after the first, the median of each part."""
    print(f"{len(times.fits)} runs; seconds                    wall   CPU")
    rows = {"start, until the first run begins": [difference(times.ends[0], times.began)]}
    whole = [difference(after, before) for before, after in zip(times.ends, times.ends[1:], strict=False)]
    rows["first run, whole"] = whole[:1]
    rows["a run: training and its evaluations"] = times.fits[1:]
    rows["a run: outside training"] = [
        difference(all_of_it, fit) for all_of_it, fit in zip(whole[1:], times.fits[1:], strict=True)
    ]
    rows["  of it opening the model"] = times.loads[1:]
    for name, spans in rows.items():
        wall, cpu = (median(span[place] for span in spans) for place in (0, 1))
        print(f"{name:<38} {wall:6.2f} {cpu:5.2f}")


def difference(after: Moment, before: Moment) -> Moment:
    """What passed between two moments, or a span without another."""
    return after[0] - before[0], after[1] - before[1]


if __name__ == "__main__":
    raise SystemExit(main())
