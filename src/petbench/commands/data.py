"""`petbench data`: store GLUE in a folder, or verify such a folder."""

from petbench.commands.arguments import Arguments, path
from petbench.console import say
from petbench.tasks.rows.fetch import check, fetch


def data_main(argv: list[str]) -> int:
    """`petbench data fetch DIR` or `petbench data check DIR`. Exit 1 when a split is bad. Raises UserError."""
    parser = Arguments(
        prog="petbench data",
        description="fetch: store all ten tasks from the hub as parquet with checksums, for machines without "
        "network (there: data.dir=DIR or PETBENCH_GLUE=DIR). check: verify checksums, row counts and rows.",
    )
    parser.add_argument("action", choices=("fetch", "check"))
    parser.add_argument("dir", metavar="DIR", type=path)
    asked = parser.parse_args(argv)

    if asked.action == "fetch":
        say(f"GLUE is in {fetch(asked.dir, say)}")
        return 0
    report = check(asked.dir)
    for finding in report.findings:
        rows = "" if finding.rows is None else f"{finding.rows:>7,} rows"
        say(
            f"{finding.task:<5} {finding.split:<21} {finding.status:<8} {rows:>12}  {finding.detail}".rstrip()
        )
    bad, missing = len(report.bad), len(report.missing)
    say(f"{report.folder}: {len(report.findings) - bad - missing} splits right, {bad} bad, {missing} missing")
    return 1 if bad else 0
