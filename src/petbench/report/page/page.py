"""The report as one HTML file that loads nothing else, with sortable tables and interactive plots."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from petbench import __version__
from petbench.files import write_text
from petbench.record import Record
from petbench.report.citations import bibtex, family_of
from petbench.report.in_short import in_short
from petbench.report.layout import Report
from petbench.report.page.answers import TextsOf, kept_answers
from petbench.report.page.lines import majorities, printed
from petbench.report.page.runs import drawers
from petbench.report.sides import Read, no_answers
from petbench.report.views import payload

HERE = Path(__file__).parent
SCRIPTS = (
    "numbers",
    "state",
    "tables",
    "chart",
    "series",
    "views",
    "pick",
    "rows",
    "copy",
    "drawer",
    "main",
)  # in this order
TITLE = "petbench report"
LEDE = (
    "Which tuning method is best, at which size, and whether the differences are real. Every number is derived from "
    "the run records: means over seeds with their spread, and the size, time and memory of each method."
)
GLOSSARY: tuple[tuple[str, str], ...] = (
    ("Score", "The task's headline metric on the reported rows, times 100, as a mean over seeds; ± is the standard "
     "deviation (n − 1), n the number of seeds."),
    ("Bold, letters", "Bold: the top group of its column, the highest row and all that are not significantly below it "
     "when all pairs are tested together. Rows that share a letter do not differ significantly. In a column without "
     "bold, no two rows do."),
    ("95% interval", "Student's t over the seeds; the spread is shrunk toward that of the table if it has ten cells. "
     "With few seeds the interval is wide, as it should be."),
    ("Collapsed", "A finished run that gives every row the same answer. It counts in the mean and is marked."),
    ("Failed, diverged", "Runs without a score. They are counted and marked, but not in the mean."),
    ("Protocol", "Which rows choose the checkpoint and which are reported. petbench: selection rows are cut from "
     "train, validation is reported. compacter: the papers' split of train and validation. glue_dev: the reported "
     "rows also choose the checkpoint, so scores are optimistic. glue_test: predictions for the GLUE server."),
    ("Parameters", "Tuned: adapter, norms and other trained weights, without the head; in percent of the backbone. "
     "Trainable: with the head."),
    ("Tuning budget", "Expected best selection score of k trials, drawn from those on disk (Dodge et al. 2019). A "
     "failed trial gets the worst score, and its time counts."),
    ("Pareto front", "Methods that no other method beats in both the score and the cost, by means."),
    ("Time to a score", "Training time, without evaluation, until the selection score first reaches the target."),
)  # fmt: skip


def write_page(
    report: Report,
    records: Sequence[Record],
    path: Path,
    read: Read = no_answers,
    texts_of: TextsOf | None = None,
) -> None:
    """Write the page. Equal input gives an equal file. Raises UserError when the file cannot be written."""
    write_text(path, render(report, records, read, texts_of), instead="--out")


def render(
    report: Report, records: Sequence[Record], read: Read = no_answers, texts_of: TextsOf | None = None
) -> str:
    """The page's HTML: template, style, scripts and data in one text. read: run -> its stored answers. texts_of: finds
    the texts of rows; None when they were not asked for."""
    drawn, more = payload(report, records), drawers(report, records)
    data = drawn | more | {
        "runs": drawn["runs"] | more["runs"],
        "answer": [[vars(short) for short in in_short(table)] for table in report.tables],
        "majority": majorities(report),
        "printed": printed(report),
        "kept": kept_answers(report, read, texts_of),
        "families": {method: family_of(method) for method in drawn["methods"]},
        "cite": {method: bibtex((method,), ()) for method in drawn["methods"]},
        "lede": LEDE, "glossary": GLOSSARY, "foot": f"petbench {__version__}",
    }  # fmt: skip
    parts = {
        "TITLE": html.escape(TITLE),
        "STYLE": _asset("style.css"),
        "SCRIPT": "\n".join(_asset(f"{name}.js") for name in SCRIPTS),
        "DATA": embedded(data),
    }
    # In one pass, so that nothing in the data can be mistaken for a placeholder of the template.
    return re.sub(r"@@([A-Z]+)@@", lambda match: parts[match[1]], _asset("template.html"))


def embedded(data: Mapping[str, Any]) -> str:
    """JSON for a script element: it has no `<`, so neither `</script>` nor a comment can begin in it.

    Raises ValueError on NaN, which JSON does not have.
    """
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace(
        "<", "\\u003c"
    )


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
