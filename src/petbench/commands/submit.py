"""`petbench submit`: gather finished runs into the GLUE zip, or check a zip."""

from petbench.commands.arguments import Arguments, file, new_file, path
from petbench.console import say
from petbench.errors import UserError
from petbench.tasks.submission.check import check_submission
from petbench.tasks.submission.write import gather, write_submission


def submit_main(argv: list[str]) -> int:
    """`petbench submit RUNS… --out glue.zip` or `petbench submit --check glue.zip [RUNS…]`.

    Exit 0; 1 when --check finds a fault. Raises UserError.
    """
    parser = Arguments(
        prog="petbench submit",
        description="Gather the test predictions of runs with protocol=glue_test into the zip that the GLUE "
        "server takes: eleven files, checked. AX comes from the mnli run; WNLI is the majority class when no "
        "run is named for it.",
        epilog="example: petbench submit $(ls results/runs) --out glue.zip",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", type=path, help="run ids or folders, one a task")
    parser.add_argument("--out", metavar="FILE", type=new_file, default="glue.zip", help="default: glue.zip")
    parser.add_argument(
        "--results-dir", metavar="DIR", type=path, default="results", help="results folder (default: results)"
    )
    parser.add_argument(
        "--check",
        metavar="ZIP",
        type=file,
        help="only check this zip; runs, if named, say how many rows each file must have",
    )
    asked = parser.parse_args(argv)

    if not asked.runs and not asked.check:
        raise UserError(
            "submit: no runs named. Give ids or folders of runs with protocol=glue_test, or --check ZIP."
        )
    submission = gather(asked.runs, asked.results_dir) if asked.runs else None
    if asked.check:
        problems = check_submission(asked.check, submission.counts if submission else None)
        say("\n".join(problems) if problems else f"{asked.check}: a valid GLUE submission.")
        return 1 if problems else 0
    assert submission is not None
    zipped = write_submission(submission, asked.out)
    for part in submission.parts:
        say(f"{part.stem + '.tsv':<11} {len(part.answers):>7} rows  {part.origin}")
    for note in submission.notes:
        say(note)
    say(f"wrote {zipped}, checked")
    return 0
