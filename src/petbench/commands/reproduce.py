"""`petbench reproduce`: run what is missing of a published table, then print our numbers beside the paper's."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from petbench.adapters.registry import spec_of
from petbench.commands.arguments import Arguments, folder
from petbench.commands.reproduce_plan import show_recipe
from petbench.commands.sweep import starter
from petbench.compose.expand import Composed, expand, recompose
from petbench.compose.hydra import search_path_override
from petbench.compose.overrides import require_once
from petbench.compose.recipe import AXES, START, Table, cell_of, table_of
from petbench.config.tree import key_of, options
from petbench.console import say
from petbench.errors import UserError, unknown
from petbench.record import read_records
from petbench.report.published.beside import ours_beside_theirs, reasons
from petbench.report.published.costs import costs_text
from petbench.report.published.grid import grid_lines, verdict
from petbench.report.published.numbers import COSTS, recipes, target
from petbench.report.write import answers_in
from petbench.sweep.members import Member, validated
from petbench.sweep.outcome import exit_status
from petbench.sweep.sweep import sweep
from petbench.training.prepare import start_id
from petbench.tuned.checkpoint import adapter_folder


def reproduce_main(argv: list[str]) -> int:
    """`petbench reproduce recipe=NAME [--only adapter=krona,task=rte] [OVERRIDES…]`.

    Exit 0 when every run that was asked for is done, 1 when one failed, 2 for a mistake. With plan=true nothing
    runs: the cells are planned on the meta device and our finished runs are shown beside the table.
    """
    flags = _flags(argv)
    require_once(flags.overrides)
    table = _table(flags.overrides, flags.config_dir)
    asked = _asked(table, flags.overrides, flags.only)
    members = _where_it_fits(expand(asked, flags.config_dir, start_id), flags.overrides, flags.config_dir)
    specs = validated(members)
    left, status = "", 0
    if any(cell.spec.plan for cell in specs):
        left = show_recipe(members, specs, table)
    else:
        status = _run(specs, table, asked, flags.config_dir)
    if table.recipe in recipes():
        say("")
        _show_beside(table.recipe, specs, left)
    return status


def _show_beside(recipe: str, specs: Sequence[Member], left: str) -> None:
    """Print the asked part of the published table with our numbers, the reasons for a gap, and the verdict."""
    results_dir = Path(specs[0].spec.results_dir)
    records = list(read_records(results_dir))
    if target(recipe).table == COSTS:
        say(costs_text(recipe, records).rstrip())
        return
    whole = ours_beside_theirs(recipe, records, answers_in(results_dir))
    beside = whole.of({cell.spec.adapter.label for cell in specs}, {cell.spec.task.name for cell in specs})
    for line in grid_lines(beside):
        say(line)
    for reason in reasons(beside):
        say(f"- {reason}")
    say(verdict(beside, left))


def _where_it_fits(
    members: list[Composed], overrides: Sequence[str], config_dir: str | None
) -> list[Composed]:
    """The members, each without those `adapter.*` keys of the command line that its method lacks.

    `adapter.factor_shape=auto` is for methods that have a factor shape. A key that no method has stays: an error.
    """
    own = [key for key in map(key_of, overrides) if key.startswith("adapter.")]
    fields = {name: set(spec_of(name).model_fields) for name in {_method(member) for member in members}}
    known = [key for key in own if any(key.split(".")[1] in names for names in fields.values())]
    kept = [
        tuple(
            o
            for o in member.overrides
            if not (key_of(o) in known and _foreign(key_of(o), fields[_method(member)]))
        )
        for member in members
    ]
    if kept == [member.overrides for member in members]:
        return members
    return recompose(kept, config_dir)


def _method(member: Composed) -> str:
    return str(member.values["adapter"]["method"])


def _foreign(key: str, fields: Collection[str]) -> bool:
    return key.split(".")[1] not in fields


def _flags(argv: Sequence[str]) -> argparse.Namespace:
    parser = Arguments(
        prog="petbench reproduce",
        allow_abbrev=False,
        description="Run what is missing of a published table, then print our numbers beside the paper's. Overrides "
        "are those of train: plan=true, data.dir=DIR, seed=0,1,2, hydra/launcher=joblib.",
    )
    parser.add_argument("overrides", nargs="*", help="recipe=NAME, and overrides for all runs")
    parser.add_argument("--only", action="append", default=[], help="such as adapter=krona,lora,task=rte")
    parser.add_argument("--config-dir", "-cd", type=folder, help="a folder with more config groups")
    return parser.parse_intermixed_args(list(argv))


def _table(overrides: Sequence[str], config_dir: str | None) -> Table:
    """The recipe's table. Raises UserError if no recipe is named, or one without a table."""
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
    """Overrides whose product is the table's cells, without those that `--only` or a plain choice leaves out."""
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
            raise UserError(
                f"--only: cannot read '{text}'. Legal: KEY=VALUE,…, a KEY of {', '.join(AXES)}, seed."
            )
        wanted.setdefault(axis, []).append(value)
    return wanted


def _run(specs: Sequence[Member], table: Table, asked: Sequence[str], config_dir: str | None) -> int:
    """Run the members; one that starts from another run comes after it. Returns the exit status."""
    start = starter(asked, config_dir)
    afresh = [cell.composed for cell in specs if not cell.spec.init_from]
    cells = sweep(afresh, start) if afresh else []
    ready, left_out = [], 0
    for cell in specs:
        if not cell.spec.init_from:
            continue
        try:
            adapter_folder(cell.spec.init_from, cell.spec.results_dir)
            ready.append(cell.composed)
        except UserError:
            left_out += 1
            say(f"left out: {cell.label}: {_wanted_start(cell, table)}")
    if ready:
        cells += sweep(ready, start)
    return 1 if left_out else exit_status(cells)


def _wanted_start(member: Member, table: Table) -> str:
    """Which run a member starts from, and what to do when that run is missing."""
    place = cell_of(member.composed.overrides, {})
    task = table.values(place).get(START)
    which = f"the {task} run {member.spec.init_from}" if task else f"run {member.spec.init_from}"
    return (
        f"it starts from {which}, which is not done in {member.spec.results_dir}. "
        "Run that first, or leave it out: init_from=null."
    )
