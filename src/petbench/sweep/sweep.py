"""Run a sweep: validate and plan all members, run those that are missing, and show how each one ended."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from petbench.compose.expand import Composed
from petbench.console import busy, idle, say, spinning, warn
from petbench.errors import RunError
from petbench.sweep import ledger
from petbench.sweep.bar import sweep_bar
from petbench.sweep.members import Member, members_of
from petbench.sweep.outcome import show_outcome
from petbench.sweep.status import ENDED, Watch
from petbench.sweep.tables import say_what_is_left_out, show_plan
from petbench.tasks.toy import NOTE

POLL_SECONDS = 0.5  # between two looks at runs that other processes are training


Start = Callable[[Sequence[Member], float], None]  # gets members, and when their sweep began


def sweep(composed: Sequence[Composed], start: Start) -> list[Member]:
    """Plan all members and run those that have not ended; with plan=true only show them. Returns all members."""
    began = time.time()  # taken before the records are read: whatever ends after it has ended in this sweep
    with spinning():
        busy(f"planning {len(composed)} runs")
        members = members_of(composed)
        idle()
    if len(members) < len(composed):
        say(
            f"{len(composed) - len(members)} of {len(composed)} members are the same run as another: run once."
        )
    if any(member.spec.plan for member in members):
        show_plan(members, whole=True)
        return members
    say_what_is_left_out(members)
    waiting = [member for member in members if member.waiting]
    if not waiting:
        say("Nothing to run.")
        return members
    show_plan(waiting, whole=False)
    if any(member.prepared is not None and member.prepared.splits.source == "toy" for member in waiting):
        say(NOTE)  # once, instead of in every run
    _run_noted(waiting, start, began)
    show_outcome(members)
    return members


def _run_noted(waiting: Sequence[Member], start: Start, began: float) -> None:
    """Run the members with a progress bar, and list them for `petbench status`. When stopped, say what is left."""
    folder = Path(waiting[0].spec.results_dir)
    runs = {member.run_id: member.label for member in waiting}
    _forget_old(folder, runs)
    ledger.note(folder, ledger.this_sweep(runs, began))
    drawn = all(member.spec.trainer.progress == "auto" for member in waiting)
    try:
        with sweep_bar(folder, runs, began, drawn):
            _run_all(waiting, start, began)
    except KeyboardInterrupt:
        status = Watch(folder).look(runs, began)
        left = len(runs) - status.ended
        say(
            f"stopped: {len(status.of('done'))} of {len(runs)} runs are done, {len(status.of('failed'))} failed, "
            f"{left} are left. The same command goes on with them."
        )
        raise
    _forget_old(folder, {}, also=runs)


def _forget_old(folder: Path, taken_over: Mapping[str, str], also: Mapping[str, str] | None = None) -> None:
    """Remove the files of other sweeps whose runs have all ended or are in `taken_over`, the runs of this sweep.

    also: the runs of this process's own sweep, once it has ended, so that its file is removed, too.
    """
    watch = Watch(folder)
    for sweep in ledger.sweeps(folder):
        if sweep.alive and sweep.runs != also:
            continue
        status = watch.look(sweep.runs, sweep.since)
        if all(run.state in ENDED or run.run_id in taken_over for run in status.runs):
            ledger.forget(folder, sweep)


def _run_all(waiting: Sequence[Member], start: Start, began: float) -> None:
    """Launch the members; then wait for those that other processes train, and take over those of processes that were
    killed or stopped.

    A member that twice does not end (its process was killed or stopped) is not launched again.
    """
    left, launches = [member for member in waiting if not member.ended_since(began)], 0
    while left and launches < 2:
        try:
            start(left, began)
        except RunError as error:
            warn(str(error))
            if not any(member.ended_since(began) for member in left):
                return  # the launcher started no run, so it would not the next time either
        launches += 1
        left = [member for member in left if not member.ended_since(began)]
        said = False
        while any(member.owner for member in left):
            if not said:
                say(f"waiting for {sum(bool(c.owner) for c in left)} runs that other processes are training.")
                said, launches = True, 0  # this sweep launches again what they leave unfinished
            time.sleep(POLL_SECONDS)
            left = [member for member in left if not member.ended_since(began)]
