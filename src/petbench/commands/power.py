"""`petbench power`: the smallest difference that so many seeds can detect, and the cost of detecting a given one."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from petbench.commands.arguments import Arguments, path
from petbench.console import print_table, say
from petbench.errors import UserError
from petbench.record.units import fix, points, seconds
from petbench.report.cells import group
from petbench.report.planning import Plan, Spread, cost, plan, pooled
from petbench.report.write import answers_in, load

SEEDS = (3, 5, 10, 20)


def power_main(argv: list[str]) -> int:
    """Print the table; exit 0. Raises UserError."""
    options, settings = _options(argv)
    task = settings.pop("task", None)
    seeds = _seeds(settings.pop("seeds", None))
    if settings:
        raise UserError(
            f"petbench power does not know {', '.join(settings)}. Legal: task=NAME, seeds=3,5,10."
        )
    if options.seeds_std is not None:
        spreads = [_given(task or "given", options)]
    else:
        folder = Path(options.results_dir)
        spreads = pooled(group(load(folder)), answers_in(folder), task)
    plans = [plan(spread, n) for spread in spreads for n in seeds]
    wanted = None if options.difference is None else options.difference / 100
    costs = [cost(spread, wanted) for spread in spreads] if wanted is not None else []
    if options.json:
        say(json.dumps({"plans": [_plain(each) for each in plans], "costs": costs}, indent=2))
        return 0
    _show(spreads, plans, seeds)
    for spread, found in zip(spreads, costs, strict=False):
        say(_in_words(spread, options.difference, found))
    return 0


def _options(argv: list[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    parser = Arguments(
        prog="petbench power",
        description="Show the smallest true difference between two methods that a comparison detects with power 0.8, "
        "by task and number of seeds.",
        epilog="example: petbench power task=rte seeds=5 --difference 2",
    )
    parser.add_argument("settings", nargs="*", metavar="task=NAME seeds=3,5", help="a task, numbers of seeds")
    parser.add_argument(
        "--results-dir",
        default="results",
        metavar="DIR",
        type=path,
        help="the spreads are pooled from its runs",
    )
    parser.add_argument(
        "--difference", type=float, metavar="POINTS", help="also the cost of detecting this difference"
    )
    parser.add_argument(
        "--seeds-std",
        type=float,
        metavar="POINTS",
        help="standard deviation over seeds, if not from a folder",
    )
    parser.add_argument(
        "--rows-std",
        type=float,
        metavar="POINTS",
        help="standard deviation over rows of the difference (50: they differ on one row in four)",
    )
    parser.add_argument("--rows", type=int, metavar="N", help="report rows, with --seeds-std")
    parser.add_argument("--json", action="store_true", help="scores as fractions")
    options = parser.parse_args(argv)
    settings = {}
    for text in options.settings:
        key, sign, value = text.partition("=")
        if not sign or not value:
            raise UserError(f"'{text}' is not a setting. Legal: task=NAME, seeds=3,5,10.")
        settings[key] = value
    for name in ("difference", "seeds_std", "rows_std"):
        value = getattr(options, name)
        if value is not None and not 0 < value <= 100:
            raise UserError(f"--{name.replace('_', '-')}: got {value:g}. Legal: points above 0, up to 100.")
    return options, settings


def _seeds(text: str | None) -> tuple[int, ...]:
    if text is None:
        return SEEDS
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 2 or max(found) > 1000:
        raise UserError(f"seeds: got '{text}'. Legal: whole numbers from 2 to 1,000, such as seeds=3,5.")
    return found


def _given(task: str, options: argparse.Namespace) -> Spread:
    if options.rows is None or options.rows < 2:
        raise UserError("--seeds-std needs the number of report rows, at least 2: --rows N.")
    rows = None if options.rows_std is None else (options.rows_std / 100) ** 2
    return Spread(task, options.rows, (options.seeds_std / 100) ** 2, rows, None, 0)


def _show(spreads: list[Spread], plans: list[Plan], seeds: tuple[int, ...]) -> None:
    table = Table(
        title="Smallest true difference detected with power 0.8, in points: on these rows / on rows of their kind",
        title_justify="left",
    )
    for name in ("task", "rows", "std over seeds", *(f"{n} seeds" for n in seeds), "∞ seeds", "from"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for spread in spreads:
        mine = [each for each in plans if each.spread is spread]
        table.add_row(
            spread.task, f"{spread.rows:,}", fix(100 * spread.seeds_variance**0.5, 2),
            *(f"{points(each.on_these_rows)} / {points(each.at_all)}" for each in mine),
            points(mine[0].endless), f"{spread.cells} cells" if spread.cells else "given",
        )  # fmt: skip
    print_table(table)
    if any(spread.rows_variance is None for spread in spreads):
        say("–: the runs stored no answers by row, so what other rows would change is unknown.")


def _in_words(spread: Spread, wanted: float, found: Any) -> str:
    if found["seeds"] is None:
        return f"{spread.task}: no number of seeds shows {wanted:g} points on {spread.rows:,} rows."
    hours = "" if found["hours"] is None else f", {seconds(3600 * found['hours'])} of training here"
    return f"{spread.task}: {wanted:g} points need {found['seeds']} seeds of each method, {found['runs']} runs{hours}."


def _plain(each: Plan) -> dict[str, Any]:
    return {
        "task": each.spread.task, "rows": each.spread.rows, "seeds": each.seeds,
        "std_over_seeds": each.spread.seeds_variance**0.5, "least_on_these_rows": each.on_these_rows,
        "least_on_rows_of_the_kind": each.at_all, "least_with_endless_seeds": each.endless,
    }  # fmt: skip
