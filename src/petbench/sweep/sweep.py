"""A sweep: expand all members, validate and plan them all, run what is missing, say how each one ended."""

import time
from collections.abc import Callable, Sequence

from petbench.compose.expand import Member
from petbench.console import say, warn
from petbench.errors import RunError
from petbench.sweep.members import Cell, cells_of
from petbench.sweep.tables import _say_what_is_left_out, show_outcome, show_plan

POLL_SECONDS = 0.5  # between looks at runs that other processes are training


Start = Callable[[Sequence[Cell], float], None]  # cells, and when their sweep began


def sweep(members: Sequence[Member], start: Start) -> list[Cell]:
    """Plan all members and run those that are not over; with plan=true only show them."""
    began = time.time()  # before the records are read: what ends from here on ends in this round
    cells = cells_of(members)
    if len(cells) < len(members):
        say(f"{len(members) - len(cells)} of {len(members)} members are the same run as another: run once.")
    if any(cell.spec.plan for cell in cells):
        show_plan(cells, whole=True)
        return cells
    _say_what_is_left_out(cells)
    waiting = [cell for cell in cells if cell.waiting]
    if not waiting:
        say("Nothing to run.")
        return cells
    show_plan(waiting, whole=False)
    _run_all(waiting, start, began)
    show_outcome(cells)
    return cells


def _run_all(waiting: Sequence[Cell], start: Start, began: float) -> None:
    """Launch the cells; then wait for those that another process is training, and take over from dead ones.

    A cell that ends without any record twice (its process was killed from outside) is left.
    """
    left, launches = [cell for cell in waiting if not cell.ended_since(began)], 0
    while left and launches < 2:
        try:
            start(left, began)
        except RunError as error:
            warn(str(error))
            if not any(cell.ended_since(began) for cell in left):
                return  # it started nothing, so it would not the next time
        launches += 1
        left = [cell for cell in left if not cell.ended_since(began)]
        said = False
        while any(cell.owner for cell in left):
            if not said:
                say(f"waiting for {sum(bool(c.owner) for c in left)} runs that other processes are training.")
                said, launches = True, 0  # what they leave unfinished is ours to launch afresh
            time.sleep(POLL_SECONDS)
            left = [cell for cell in left if not cell.ended_since(began)]
