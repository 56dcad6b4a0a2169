"""What `petbench reproduce … plan=true` shows: a recipe's settings, what is left to run, and what is impossible."""

import os
from collections.abc import Sequence

from petbench.compose.expand import Composed
from petbench.compose.hydra import forgiving
from petbench.compose.recipe import AXES, Table
from petbench.config.tree import key_of
from petbench.console import Grid, print_table, say
from petbench.errors import UserError
from petbench.sweep.members import Member, members_of
from petbench.sweep.tables import say_what_is_left_out, what_is_left
from petbench.tasks.rows.load import ENV_DIR
from petbench.training.plan import plan
from petbench.training.prepare import rows_of


def show_recipe(members: Sequence[Composed], specs: Sequence[Member], table: Table) -> str:
    """Print a line for each method and setting, and what is left to run. Returns how long that takes, if known."""
    say(f"Plan: {len(specs)} runs of {table.recipe}")
    _show_settings(specs, table)
    return _show_left(members, specs)


def _show_left(members: Sequence[Composed], specs: Sequence[Member]) -> str:
    """Print what is left to run. Ids, steps and times need the rows; if these cannot be read, the reason is printed."""
    reason = None
    tasks = {cell.spec.task.name: cell for cell in reversed(specs)}
    for cell in reversed(tasks.values()):
        try:
            rows_of(cell.spec)
            cells = members_of(members)  # tasks whose rows are missing are skipped
            say_what_is_left_out(cells)
            line = what_is_left(cells)
            say(line)
            return line.partition("; ")[2].rstrip(".")
        except UserError as error:
            reason = reason or error
            if not (cell.spec.data.dir or os.environ.get(ENV_DIR)):
                break  # a hub that cannot be reached for one task cannot be for the next
    say(f"Run ids, steps and times need the rows: {reason}")
    return ""


def _show_settings(specs: Sequence[Member], table: Table) -> None:
    """Print one line for the tasks that share a method's setting; parameters are counted on the meta device."""
    lines = Grid()
    for name in ("adapter", "model", "tasks", "seeds", "setting"):
        lines.add_column(name)
    for name in ("tuned params", "trainable"):
        lines.add_column(name, justify="right")
    cells: dict[tuple[str, str, str], list[Member]] = {}
    for cell in specs:
        spec = cell.spec
        cells.setdefault((spec.adapter.label, spec.model.label, _setting(cell, table)), []).append(cell)
    impossible: dict[str, int] = {}
    for (adapter, model, setting), some in cells.items():
        tasks = ", ".join(dict.fromkeys(cell.spec.task.name for cell in some))
        seeds = ",".join(str(seed) for seed in sorted({cell.spec.seed for cell in some}))
        try:
            params = plan(some[0].spec).params
        except UserError as error:
            impossible[str(error)] = impossible.get(str(error), 0) + len(some)
            continue
        lines.add_row(adapter, model, tasks, seeds, setting, f"{params.tuned:,}", f"{params.trainable:,}")
    print_table(lines)
    for why, count in impossible.items():
        say(f"not possible, {count} runs: {why}")


def _setting(member: Member, table: Table) -> str:
    """What the recipe's table sets for a member, in short: `lr=0.001 factor_shape=[32,24]`."""
    keys = {key for row in table.settings for key in row} - set(AXES)
    own = (text.lstrip("+") for text in forgiving(member.composed.overrides))
    return " ".join(text.split(".", 1)[-1] for text in own if key_of(text) in {*keys, "init_from"})
