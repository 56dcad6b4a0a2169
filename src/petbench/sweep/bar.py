"""The progress bar of a sweep on a terminal: one bar for all runs, and a line below it for each running one."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from petbench.console import Grid, out, shown
from petbench.record.units import seconds
from petbench.sweep.status import RunState, Status, Watch

LOOK_SECONDS = 1.0  # between two looks at the results folder
MOST_RUNNING = 12  # running runs that get a line


class SweepBar:
    """A bar that is drawn from the results folder, and so is the same for every launcher and machine."""

    def __init__(self, results_dir: Path, runs: Mapping[str, str], since: float) -> None:
        self._watch, self._runs, self._since = Watch(results_dir), runs, since
        self._looked = 0.0
        self._status = Status(())

    def __rich__(self) -> Group:
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._status = self._watch.look(self._runs, self._since)
            self._looked = time.monotonic()
        return bar(self._status, self._since)


def bar(status: Status, since: float, *, with_owner: bool = False) -> Group:
    """The bar with counts and the time left, the running runs, and the last failure. since: start of the sweep."""
    left = status.seconds_left(since)
    said = f"{status.ended} of {len(status.runs)} runs ({status.counts})"
    if left is not None:
        said += f", about {seconds(left, 0)} left"
    line = Table.grid(padding=(0, 1))
    line.add_row(ProgressBar(total=max(1, len(status.runs)), completed=status.moved, width=30), Text(said))
    failed = [
        Text(shown(f"failed: {run.label}: {run.said}"), style="red") for run in status.of("failed")[-1:]
    ]
    return Group(line, running_table(status.of("running"), with_owner=with_owner), *failed)


def running_table(runs: tuple[RunState, ...], *, with_owner: bool) -> Table:
    """One line for each running run: how far it is, since when it runs, and which process runs it."""
    grid = Grid.grid(padding=(0, 2))
    for _ in range(4 + with_owner):
        grid.add_column()
    for run in runs[:MOST_RUNNING]:
        for_ = "" if run.since is None else f"for {seconds(max(0.0, time.time() - run.since), 0)}"
        cells = (f"  {run.label or run.run_id}", f"{100 * run.part:3.0f} %", run.said, for_)
        grid.add_row(*cells, *([run.owner] if with_owner else []))
    if len(runs) > MOST_RUNNING:
        grid.add_row(f"  … and {len(runs) - MOST_RUNNING} more")
    return grid


@contextmanager
def sweep_bar(results_dir: Path, runs: Mapping[str, str], since: float, wanted: bool) -> Iterator[None]:
    """Inside, the bar is shown, if it is wanted and the output is a terminal."""
    if not (wanted and out.is_terminal and not out.quiet):
        yield
        return
    with Live(SweepBar(results_dir, runs, since), console=out, refresh_per_second=2, transient=True):
        yield
