"""The report as one HTML file that loads nothing: tables that sort and plots that answer the pointer."""

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
    "Which tuning method, at which size, and is the difference real. Every number here is derived from the run "
    "records: means over seeds with their spread, and the size, time and memory that they cost."
)
GLOSSARY: tuple[tuple[str, str], ...] = (
    ("Score", "The task's headline metric on the reported rows, times 100, as a mean over seeds; ± is the standard "
     "deviation (n − 1), n the number of seeds."),
    ("Bold, letters", "Bold: the top group of its column, the highest row and all that are not told from it when all "
     "pairs are looked at together. Rows that share a letter are not told apart. A column without bold tells none."),
    ("95% interval", "Student's t over the seeds, the spread drawn toward that of the table where it has ten cells. "
     "With few seeds it is wide, as it should be."),
    ("Collapsed", "A finished run that gives every row one answer. It counts in the mean and is shown."),
    ("Failed, diverged", "Runs without a score. They are counted and shown, never averaged."),
    ("Protocol", "Which rows pick the checkpoint and which are reported. petbench: selection rows are cut from train, "
     "validation is reported. compacter: the papers' split of train and validation. glue_dev: the checkpoint is "
     "picked on the rows that are reported, so scores are optimistic. glue_test: predictions for the GLUE server."),
    ("Parameters", "Tuned: adapter, norms and other trained weights, without the head; percent of the backbone. "
     "Trainable: the head as well."),
    ("Tuning budget", "Expected best selection score of k trials, drawn from those on disk (Dodge et al. 2019). A "
     "failed trial scores as the worst one, and its time counts."),
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
    """The page's HTML: template, style, scripts and data in one text. read: a run's kept answers; texts_of: how the
    texts of rows are found, where they were asked for."""
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
    # One pass, so that nothing in the data can be taken for a place in the template.
    return re.sub(r"@@([A-Z]+)@@", lambda match: parts[match[1]], _asset("template.html"))


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: no `<`, so neither `</script>` nor a comment can begin.

    Raises ValueError on NaN, which is no JSON.
    """
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace(
        "<", "\\u003c"
    )


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
