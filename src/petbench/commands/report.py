"""`petbench report`: read records; write tables, plots and one HTML page."""

import argparse
from pathlib import Path

from petbench.commands.arguments import Arguments, new_folder, path
from petbench.commands.texts import texts_of
from petbench.config.values import wandb_name
from petbench.console import Output, say
from petbench.files import filling
from petbench.report.settings import parse_where, select
from petbench.report.wandb import send_report
from petbench.report.write import answers_in, derive, differences, write_page, write_plots, write_tables
from petbench.report.writers.terminal import print_report

EXAMPLES, TABLES = Path("results/examples"), Path("results/tables")


def report_main(argv: list[str]) -> int:
    """`petbench report [RESULTS_DIR] …`; 0, or 1 when --check finds a difference. Raises UserError."""
    options = _report_parser().parse_args(argv)
    folder = Path(options.results_dir or (EXAMPLES if options.check and EXAMPLES.is_dir() else "results"))
    out = _out(options, folder)
    read = answers_in(folder)
    report, records = derive(folder, parse_where(options.where), options.include_wnli, read)
    if options.check:
        found = differences(report, out)
        say("\n".join(found) if found else f"{out}: the tables hold.")
        return 1 if found else 0
    shown = select(records, parse_where(options.where))
    with filling(out, "--out") as half:
        paths = write_tables(report, half, options.cite)
        if not options.tables_only:
            paths.append(write_page(report, shown, half, read, texts_of if options.texts else None))
            if options.plots or options.wandb:
                paths += write_plots(report, shown, half)
    paths = [out / path.relative_to(half) for path in paths]

    screen = Output(markup=False, emoji=False)
    print_report(report, screen if screen.is_terminal else Output(markup=False, emoji=False, width=200))
    if options.cite:
        say(f"\n{(out / 'citations.bib').read_text(encoding='utf-8').rstrip()}")
    say(f"\nwrote {', '.join(path.name for path in paths if path.parent == out)} to {out}")
    if options.wandb:
        say(send_report(report, len(shown), paths, parse_where(options.where), folder, options.wandb))
    return 0


def _out(options: argparse.Namespace, folder: Path) -> Path:
    """Where the report is written or checked; a check without --out also looks beside results/examples."""
    if options.out:
        return Path(options.out)
    beside = folder.parent / TABLES.name
    if (
        options.check
        and folder.name == EXAMPLES.name
        and not (folder / "report").is_dir()
        and beside.is_dir()
    ):
        return beside
    return folder / "report"


def _wandb_project(text: str) -> str:
    """`PROJECT` or `ENTITY/PROJECT`, in names that W&B takes."""
    try:
        for name in text.split("/", 1):
            wandb_name(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _report_parser() -> argparse.ArgumentParser:
    parser = Arguments(
        prog="petbench report",
        description="Write tables, plots and one HTML page from the run records.",
        epilog="example: petbench report results --where 'task=rte|mrpc,model=minilm' --cite",
    )
    parser.add_argument(
        "results_dir",
        nargs="?",
        metavar="RESULTS_DIR",
        type=path,
        help="folder with runs/ (default: results)",
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE,…", help="only these runs; | means or"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=new_folder, help="where to write (default: RESULTS_DIR/report)"
    )
    parser.add_argument("--cite", action="store_true", help="also BibTeX of the methods and tasks shown")
    parser.add_argument(
        "--check", action="store_true", help="compare written tables with the records; exit 1 if they differ"
    )
    parser.add_argument("--include-wnli", action="store_true", help="count WNLI in the average")
    parser.add_argument(
        "--texts", action="store_true", help="put the texts of rows on which methods disagree in the page"
    )
    parser.add_argument("--tables-only", action="store_true", help="no page, no plots")
    parser.add_argument(
        "--plots", action="store_true", help="also plots as PNG and SVG (takes seconds; the page has its own)"
    )
    parser.add_argument(
        "--wandb",
        metavar="[ENTITY/]PROJECT",
        type=_wandb_project,
        help="also a W&B run with the table and, as --plots, the plots",
    )
    return parser
