"""`petbench status`: the state of every run of a results folder, from any machine that sees the folder."""

import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from petbench.commands.arguments import Arguments, folder, whole
from petbench.console import out, say, shown
from petbench.sweep.bar import bar, running_table
from petbench.sweep.ledger import Sweep, clock, sweeps
from petbench.sweep.status import RunState, Status, Watch, owners

MOST_LINES = 8  # of failed, stopped and waiting runs each


def status_main(argv: list[str]) -> int:
    """`petbench status [RESULTS_DIR] [--watch]`; exit 0. Raises UserError for a missing folder."""
    parser = Arguments(
        prog="petbench status",
        description="Show running, waiting, done and failed runs of a results folder, where they run, and the time "
        "left. It reads the folder alone, so it works from another shell, on a login node, and for every launcher.",
        epilog="example: petbench status results --watch",
    )
    parser.add_argument(
        "results_dir",
        nargs="?",
        default="results",
        metavar="RESULTS_DIR",
        type=folder,
        help="default: results",
    )
    parser.add_argument("--watch", action="store_true", help="look again until nothing runs; Ctrl-C ends it")
    parser.add_argument(
        "--every", type=whole(1, 3600), default=2, metavar="SECONDS", help="of --watch, between looks (2)"
    )
    options = parser.parse_args(argv)
    view = View(Path(options.results_dir))
    if not options.watch:
        _print(view.look())
        return 0
    if not out.is_terminal:
        return _watch_plainly(view, options.every)
    with Live(view.look(), console=out, auto_refresh=False) as live:
        while view.active:
            time.sleep(options.every)
            live.update(view.look(), refresh=True)
    return 0


def _watch_plainly(view: "View", every: int) -> int:
    """Watch where the output is not a terminal: print one line of counts whenever they change."""
    before = ""
    while True:
        shown_now = view.look()
        line = f"{time.strftime('%H:%M:%S')} {view.counts}"
        if view.counts != before:
            say(line)
            before = view.counts
        if not view.active:
            _print(shown_now)
            return 0
        time.sleep(every)


def _print(what: RenderableType) -> None:
    """Print at the natural width where the output is not a terminal."""
    (out if out.is_terminal else Console(width=200, highlight=False, markup=False, emoji=False)).print(what)


class View:
    """The state of a results folder, read anew by every `look`."""

    def __init__(self, results_dir: Path) -> None:
        self._folder, self._watch = results_dir, Watch(results_dir)
        self.active = False
        self.counts = ""

    def look(self) -> Group:
        """Each unfinished sweep, then the runs outside of sweeps, then failed and stopped runs with their reasons."""
        noted = [(sweep, _as_it_is(sweep, self._watch)) for sweep in sweeps(self._folder)]
        looks = [(sweep, status) for sweep, status in noted if status.ended < len(status.runs)]
        known = self._watch.all_runs()
        alone = {
            run: label for run, label in known.items() if not any(run in sweep.runs for sweep, _ in looks)
        }
        rest = self._watch.look(alone)
        everything = Status((*rest.runs, *(run for _, status in looks for run in status.runs)))
        self.active = bool(everything.of("running")) or any(
            sweep.alive and status.of("waiting") for sweep, status in looks
        )
        self.counts = everything.counts or "no runs"
        head = f"{self._folder}: {self.counts}"
        if running := owners(everything.of("running")):
            head += f" (running on {running})"
        parts: list[RenderableType] = [Text(shown(head), style="bold")]
        for sweep, status in looks:
            parts += _sweep_lines(sweep, status)
        if rest.of("running"):
            parts += [Text("runs outside of sweeps"), running_table(rest.of("running"), with_owner=True)]
        parts += [*_list("failed", everything.of("failed")), *_list("stopped", rest.of("stopped"))]
        return Group(*parts)


def _as_it_is(sweep: Sweep, watch: Watch) -> Status:
    """The sweep's runs; those that wait for a sweep that has ended are stopped, since nothing will start them."""
    status = watch.look(sweep.runs, sweep.since)
    if sweep.alive is not False or status.of("running"):
        return status
    return Status(
        tuple(replace(run, state="stopped") if run.state == "waiting" else run for run in status.runs)
    )


def _sweep_lines(sweep: Sweep, status: Status) -> list[RenderableType]:
    """The sweep's command and process, its progress bar, and the waiting runs."""
    owner = f"({sweep.host}, process {sweep.pid}, started {clock(sweep.since)})"
    waiting, left = status.of("waiting"), len(status.runs) - status.ended
    if len(status.of("stopped")) == left:
        words = f"stopped: {sweep.command} {owner}"
        return [
            Text(shown(words)),
            Text(f"  {status.counts}; the same command goes on with the {left} that are left"),
        ]
    lines: list[RenderableType] = [Text(shown(f"sweep: {sweep.command} {owner}"))]
    lines.append(bar(status, sweep.since, with_owner=True))
    if waiting:
        names = ", ".join(run.label for run in waiting[:3]) + (", …" if len(waiting) > 3 else "")
        lines.append(Text(shown(f"  {len(waiting)} waiting: {names}")))
    return lines


def _list(state: str, runs: tuple[RunState, ...]) -> list[Text]:
    """One line for each run with its reason, and a count of those past the first few."""
    lines = [
        f"{state}: {run.label or run.run_id} ({run.run_id}){f': {run.said}' if run.said else ''}"
        for run in runs
    ]
    more = [f"… and {len(lines) - MOST_LINES} more {state}"] if len(lines) > MOST_LINES else []
    return [Text(shown(line)) for line in (*lines[:MOST_LINES], *more)]
