"""`petbench compare A B`: whether the difference between two methods is real, in a sentence and in numbers."""

import json
from collections.abc import Sequence
from pathlib import Path

from petbench.commands.arguments import Arguments, path, whole
from petbench.commands.texts import label_names, texts_of
from petbench.console import say, shown
from petbench.errors import UserError
from petbench.report.cells import Cell, group
from petbench.report.disagreement import Disagreement, Texts, as_values, disagreement, in_words
from petbench.report.labels import column_labels
from petbench.report.sentences import names, verdict
from petbench.report.settings import parse_where, select
from petbench.report.sides import Read
from petbench.report.verdicts import as_table, judge, pairs, pick
from petbench.report.write import answers_in, load

MOST_ROWS = 20  # shown by `--rows` without a number


def compare_main(argv: list[str]) -> int:
    """Print the verdict; exit 0. Raises UserError."""
    parser = Arguments(
        prog="petbench compare",
        description="Say which of two methods is better, whether they are equal within a margin, or that the runs "
        "cannot tell; with the difference and its interval.",
        epilog="example: petbench compare adapter=krona adapter=lora --where task=rte --margin 0.5",
    )
    parser.add_argument(
        "a", metavar="A", help="a clause such as adapter=krona,task=rte, or run ids with commas"
    )
    parser.add_argument("b", metavar="B", help="what A is compared with, given as A is")
    parser.add_argument(
        "--results-dir", default="results", metavar="DIR", type=path, help="results folder (default: results)"
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE,…", help="use only these runs for A and B"
    )
    parser.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="a smaller difference counts as none (0.5; below 1,000 rows 1.0)",
    )
    parser.add_argument(
        "--rows",
        nargs="?",
        const=MOST_ROWS,
        type=whole(1),
        metavar="N",
        help=f"also show the N rows ({MOST_ROWS}) on which A and B differ most, and a confusion matrix of each",
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
    read = answers_in(folder)
    judged = judge(first, second, group(everything), read, margin)
    apart = [] if options.rows is None else _apart(first, second, read)
    if options.json:
        rows = as_table(judged)
        for row, (found, texts, _) in zip(
            rows[: len(apart)], apart, strict=True
        ):  # the mean over tasks comes last
            row["disagreement"] = as_values(found, texts)
        say(json.dumps(rows, indent=2))
        return 0
    say(verdict(judged, first, second))
    for found, texts, note in apart:
        run = next(cell.done[0] for cell in first if cell.task == found.task)
        told = in_words(found, names(first, second), label_names(run), texts, options.rows)
        say(shown(f"\n{told}\n{note}".rstrip()))
    return 0


def _apart(
    first: Sequence[Cell], second: Sequence[Cell], read: Read
) -> list[tuple[Disagreement, Texts, str]]:
    """For each task: the rows on which the sides disagree, their texts, and a note if the texts are not available."""
    both = pairs(first, second)
    labels = column_labels([a for a, _ in both])
    told = []
    for a, b in both:
        found = disagreement(labels[a.column_key], a, b, read)
        texts, reason = texts_of(a.done[0], [row.id for row in found.rows])
        told.append((found, texts, f"No texts: {reason}" if reason else ""))
    return told
