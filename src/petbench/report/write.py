"""Write the report of a results folder, and check that committed tables still equal what the records give."""

from collections.abc import Mapping, Sequence
from difflib import unified_diff
from pathlib import Path

from petbench.errors import UserError
from petbench.files import write_text
from petbench.record import Answers, Record, read_answers, read_records, run_folder
from petbench.report.citations import report_bibtex
from petbench.report.figures import files as figures
from petbench.report.layout import Report
from petbench.report.page import page
from petbench.report.page.answers import TextsOf
from petbench.report.settings import Where
from petbench.report.sides import Read
from petbench.report.tables import build
from petbench.report.writers.latex import to_latex
from petbench.report.writers.markdown import to_markdown
from petbench.report.writers.spreadsheet import budgets_csv, to_csv

PAGE = "index.html"
PLOTS = "plots"
CITATIONS = "citations.bib"
MOST_KEPT = 6_000_000  # rows of answers kept in memory, 16 bytes each


def load(results_dir: Path) -> list[Record]:
    """All records below `results_dir`/runs. Raises UserError when there are none."""
    records = list(read_records(results_dir))
    if not records:
        raise UserError(
            f"no records in {results_dir / 'runs'}. Run `petbench train adapter=krona task=rte data=toy`, "
            "or give the folder that holds runs/."
        )
    return records


def answers_in(results_dir: Path) -> Read:
    """A function that reads the answers of a folder's run on its headline split, without the logits, and keeps what it
    read until there are too many rows: the tables and the page ask for the same."""
    kept: dict[str, Answers | None] = {}
    rows = 0

    def read(record: Record) -> Answers | None:
        nonlocal rows
        if record.headline is None:
            return None
        if record.run_id in kept:
            return kept[record.run_id]
        found = read_answers(run_folder(results_dir, record.run_id), record.headline.split, logits=False)
        if rows < MOST_KEPT:
            kept[record.run_id] = found
            rows += 0 if found is None else len(found.ids)
        return found

    return read


def derive(
    results_dir: Path, where: Where, include_wnli: bool = False, read: Read | None = None
) -> tuple[Report, list[Record]]:
    """The report of a folder, and all its records. Raises UserError when `where` leaves no table.

    read: the folder's `answers_in`, of a caller that needs the answers, too.
    """
    records = load(results_dir)
    report = build(records, where, include_wnli, read or answers_in(results_dir))
    if not report.tables:
        asked = ", ".join(f"{key}={'|'.join(values)}" for key, values in where.items())
        raise UserError(f"none of the {len(records)} records in {results_dir} has {asked or 'a result'}.")
    return report, records


def table_texts(report: Report, cite: bool) -> dict[str, str]:
    """File name -> text, for every table that is derived from the records."""
    texts = {
        "tables.md": to_markdown(report),
        "tables.csv": to_csv(report),
        "tables.tex": to_latex(report),
    }
    if report.searched:
        texts["tuning.csv"] = budgets_csv(report)
    return texts | ({CITATIONS: report_bibtex(report)} if cite else {})


def write_tables(report: Report, out: Path, cite: bool = False) -> list[Path]:
    """Write the tables; returns their paths."""
    paths = []
    for name, text in table_texts(report, cite).items():
        write_text(out / name, text, instead="--out")
        paths.append(out / name)
    return paths


def write_page(
    report: Report, records: Sequence[Record], out: Path, read: Read, texts_of: TextsOf | None = None
) -> Path:
    """Write the self-contained page; returns its path. read: run -> its answers; texts_of: texts of rows, if asked."""
    page.write_page(report, list(records), out / PAGE, read, texts_of)
    return out / PAGE


def write_plots(report: Report, records: Sequence[Record], out: Path) -> list[Path]:
    """Write the plots as files; returns their paths, none without matplotlib."""
    return figures.write_plots(report, list(records), out / PLOTS)


def differences(report: Report, out: Path) -> list[str]:
    """How the tables in `out` differ from what the records give now: one text for each file; empty if they are equal.

    Raises UserError when `out` has no table.
    """
    derived: Mapping[str, str] = table_texts(report, cite=(out / CITATIONS).is_file())
    if not any((out / name).is_file() for name in derived):
        raise UserError(f"no tables in {out} to check. Write them first: the same command without --check.")
    found = []
    for name, text in derived.items():
        path = out / name
        if not path.is_file():
            found.append(f"{path} is missing")
            continue
        committed = path.read_text(encoding="utf-8")
        if committed != text:
            lines = list(
                unified_diff(
                    committed.splitlines(), text.splitlines(), str(path), "from the records", lineterm="", n=0
                )
            )
            more = [f"… {len(lines) - 12} lines more"] if len(lines) > 12 else []
            found.append("\n".join([*(line[:200] for line in lines[:12]), *more]))
    return found
