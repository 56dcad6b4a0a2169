"""`petbench reproduce`: run what is missing of a published table, then print ours beside theirs."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from petbench.commands.arguments import Arguments, folder
from petbench.compose.expand import Member, expand, recompose
from petbench.compose.hydra import forgiving, search_path_override
from petbench.compose.overrides import require_once
from petbench.compose.recipe import AXES, START, Table, cell_of, table_of
from petbench.config.tree import key_of, options
from petbench.console import Grid, print_table, say
from petbench.errors import UserError, unknown
from petbench.report.published.numbers import recipes
from petbench.sweep.members import Cell, validated
from petbench.training.prepare import start_id
from petbench.tuned.checkpoint import adapter_folder


def reproduce_main(argv: list[str]) -> int:
    """`petbench reproduce recipe=NAME [--only adapter=krona,task=rte] [OVERRIDES…]`.

    Exit 0 when every run that was asked for is done, 1 when one failed, 2 for a mistake. With plan=true nothing
    runs: the cells are planned on the meta device and our finished runs are shown beside the table.
    """
    from petbench.record import read_records
    from petbench.report.published.beside import reproduction
    from petbench.report.write import answers_in

    flags = _flags(argv)
    require_once(flags.overrides)
    table = _table(flags.overrides, flags.config_dir)
    asked = _asked(table, flags.overrides, flags.only)
    members = expand(asked, flags.config_dir, start_id)
    specs = validated(members)
    results_dir = specs[0].spec.results_dir
    if any(cell.spec.plan for cell in specs):
        _show(members, specs, table)
        status = 0
    else:
        status = _run(specs, table, asked, flags.config_dir)
    if table.recipe in recipes():
        say("")
        say(
            reproduction(
                table.recipe, list(read_records(results_dir)), answers_in(Path(results_dir))
            ).rstrip()
        )
    return status


def _flags(argv: Sequence[str]) -> argparse.Namespace:
    parser = Arguments(
        prog="petbench reproduce",
        allow_abbrev=False,
        description="Run what is missing of a published table, then print ours beside theirs. Other overrides "
        "as in train: plan=true, data.dir=DIR, seed=0,1,2, hydra/launcher=joblib.",
    )
    parser.add_argument("overrides", nargs="*", help="recipe=NAME, and what else all runs share")
    parser.add_argument("--only", action="append", default=[], help="such as adapter=krona,lora,task=rte")
    parser.add_argument("--config-dir", "-cd", type=folder, help="a folder with more config groups")
    return parser.parse_intermixed_args(list(argv))


def _table(overrides: Sequence[str], config_dir: str | None) -> Table:
    """The recipe's table. Raises UserError when no recipe, or one that has no table, is named."""
    legal = options("recipe", config_dir)
    name = next((o.partition("=")[2] for o in overrides if o.startswith("recipe=")), None)
    if name is None:
        raise UserError(f"name a recipe: petbench reproduce recipe=NAME. Legal: {', '.join(legal)}.")
    if name not in legal:
        raise unknown("recipe", name, legal)
    extra = search_path_override([], config_dir)
    table = table_of(recompose([[f"recipe={name}", *extra]], config_dir)[0].values)
    if table is None:
        raise UserError(f"recipe {name} has no table. Legal: {', '.join(legal)}.")
    return table


def _asked(table: Table, overrides: Sequence[str], only: Sequence[str]) -> list[str]:
    """Overrides whose product is the table's cells, less what `--only` or a plain choice leaves out."""
    given = set(map(key_of, overrides))
    wanted = _narrowed(only)
    out = []
    for axis, all_of in (*((axis, getattr(table, axis)) for axis in AXES), ("seed", table.seed)):
        chosen = wanted.get(axis, [str(value) for value in all_of])
        if axis in wanted and axis in given:
            raise UserError(f"{axis} is given twice: in --only and as {axis}=…; leave one out.")
        if axis in given or not chosen:
            continue
        wrong = [value for value in chosen if axis != "seed" and value not in all_of]
        if wrong:
            raise unknown(f"--only {axis} of recipe {table.recipe}", wrong[0], all_of)
        out.append(f"{axis}={','.join(chosen)}")
    return [*out, *overrides]


def _narrowed(only: Sequence[str]) -> dict[str, list[str]]:
    """`adapter=krona,lora,task=rte` -> {adapter: [krona, lora], task: [rte]}. Raises UserError on another form."""
    wanted: dict[str, list[str]] = {}
    axis = ""
    for text in ",".join(only).split(",") if only else []:
        key, equals, value = text.rpartition("=")
        axis = key if equals else axis
        if axis not in (*AXES, "seed") or not value:
            raise UserError(f"--only: cannot read '{text}'. Legal: {', '.join(AXES)} or seed, =, values.")
        wanted.setdefault(axis, []).append(value)
    return wanted


def _run(specs: Sequence[Cell], table: Table, asked: Sequence[str], config_dir: str | None) -> int:
    """Run the cells; those that start from another cell come after it. Returns the exit status."""
    from petbench.commands.sweep import starter
    from petbench.sweep.sweep import sweep
    from petbench.sweep.tables import exit_status

    start = starter(asked, config_dir)
    afresh = [cell.member for cell in specs if not cell.spec.init_from]
    cells = sweep(afresh, start) if afresh else []
    ready, left_out = [], 0
    for cell in specs:
        if not cell.spec.init_from:
            continue
        try:
            adapter_folder(cell.spec.init_from, cell.spec.results_dir)
            ready.append(cell.member)
        except UserError:
            left_out += 1
            say(f"left out: {cell.label}: {_wanted_start(cell, table)}")
    if ready:
        cells += sweep(ready, start)
    return 1 if left_out else exit_status(cells)


def _wanted_start(cell: Cell, table: Table) -> str:
    """Which run a cell starts from, and what to do while it is not there."""
    place = cell_of(cell.member.overrides, {})
    task = table.values(place).get(START)
    which = f"the {task} run {cell.spec.init_from}" if task else f"run {cell.spec.init_from}"
    return (
        f"it starts from {which}, which is not done in {cell.spec.results_dir}. "
        "Run that first, or begin afresh with init_from=null."
    )


def _show(members: Sequence[Member], specs: Sequence[Cell], table: Table) -> None:
    """The cells as they would run; without rows in reach what can be known without them."""
    from petbench.sweep.members import cells_of
    from petbench.sweep.tables import show_plan
    from petbench.tasks.rows.load import ENV_DIR
    from petbench.training.prepare import rows_of

    reason = None
    tasks = {cell.spec.task.name: cell for cell in reversed(specs)}
    for cell in reversed(tasks.values()):
        try:
            rows_of(cell.spec)
            show_plan(cells_of(members), whole=True)  # tasks whose rows are missing are shown as skipped
            return
        except UserError as error:
            reason = reason or error
            if not (cell.spec.data.dir or os.environ.get(ENV_DIR)):
                break  # a hub that is not in reach for one task is not for the next
    _show_without_rows(specs, table)
    say(f"Run ids, steps and times need the rows: {reason}")


def _show_without_rows(specs: Sequence[Cell], table: Table) -> None:
    """One line a cell: settings that differ and parameters, counted on the meta device."""
    from petbench.training.plan import plan

    lines = Grid()
    for name in ("adapter", "task", "model", "seeds", "setting"):
        lines.add_column(name)
    for name in ("tuned params", "trainable"):
        lines.add_column(name, justify="right")
    cells: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in specs:
        spec = cell.spec
        place = (spec.adapter.label, spec.task.name, spec.model.label, _setting(cell, table))
        cells.setdefault(place, []).append(cell)
    for (adapter, task, model, setting), some in cells.items():
        seeds = ",".join(str(cell.spec.seed) for cell in some)
        try:
            params = plan(some[0].spec).params
            counts = (f"{params.tuned:,}", f"{params.trainable:,}")
        except UserError as error:
            setting, counts = f"not possible: {error}", ("", "")
        lines.add_row(adapter, task, model, seeds, setting, *counts)
    say(f"Plan: {len(specs)} runs of {table.recipe}")
    print_table(lines)


def _setting(cell: Cell, table: Table) -> str:
    """What the recipe's table sets in a cell, shortly: `lr=0.001 factor_shape=[32,24]`."""
    keys = {key for row in table.settings for key in row} - set(AXES)
    own = (text.lstrip("+") for text in forgiving(cell.member.overrides))
    return " ".join(text.split(".", 1)[-1] for text in own if key_of(text) in {*keys, "init_from"})
