"""`petbench compare A B`: is the difference real? A sentence first, the numbers after."""

import json
from pathlib import Path

from petbench.commands.arguments import Arguments, path
from petbench.console import say
from petbench.errors import UserError
from petbench.report.cells import group
from petbench.report.sentences import verdict
from petbench.report.settings import parse_where, select
from petbench.report.verdicts import as_table, judge, pick
from petbench.report.write import answers_in, load


def compare_main(argv: list[str]) -> int:
    """Prints the verdict. Raises UserError."""
    parser = Arguments(
        prog="petbench compare",
        description="Which of two is ahead, equal within a margin, or open: by how much and how sure.",
        epilog="example: petbench compare adapter=krona adapter=lora --where task=rte --margin 0.5",
    )
    parser.add_argument(
        "a", metavar="A", help="a clause such as adapter=krona,task=rte, or run ids with commas"
    )
    parser.add_argument("b", metavar="B", help="the other side")
    parser.add_argument(
        "--results-dir", default="results", metavar="DIR", type=path, help="results folder (default: results)"
    )
    parser.add_argument("--where", action="append", default=[], metavar="KEY=VALUE,…", help="for both sides")
    parser.add_argument(
        "--margin", type=float, metavar="POINTS", help="what counts as nothing (0.5; below 1,000 rows 1.0)"
    )
    parser.add_argument("--json", action="store_true", help="the numbers as JSON, scores as fractions")
    options = parser.parse_args(argv)
    if options.margin is not None and not 0 < options.margin < 100:
        raise UserError(f"--margin: got {options.margin:g}. Legal: points above 0, below 100.")
    folder = Path(options.results_dir)
    everything = load(folder)
    records = select(everything, parse_where(options.where))
    first, second = pick(records, options.a), pick(records, options.b)
    margin = None if options.margin is None else options.margin / 100
    judged = judge(first, second, group(everything), answers_in(folder), margin)
    if options.json:
        say(json.dumps(as_table(judged), indent=2))
    else:
        say(verdict(judged, first, second))
    return 0
