"""The report as a W&B run of job type `report`: its table, its plots, and which records it covers."""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path

from petbench import __version__
from petbench.config.sections import LoggerSpec
from petbench.report.layout import Report
from petbench.report.settings import Where
from petbench.report.writers.spreadsheet import FIELDS, to_csv
from petbench.tracking.wandb import WandbTracker, wanted_mode

FOLDER = "reports"  # in the results folder; `petbench sync` looks here, too
TEXT = {
    "model", "protocol", "table", "method", "label", "task", "column", "metric", "seeds", "standing", "letters",
    "marks",
    "run_ids",
}  # fmt: skip


def send_report(
    report: Report, runs: int, plots: Sequence[Path], where: Where, results_dir: Path, project: str
) -> str:
    """Log the lines of `tables.csv` and the PNG files among `plots`; returns a line that says where they are.

    project: `PROJECT` or `ENTITY/PROJECT`. runs: how many records were read. Never raises because of W&B.
    """
    entity, _, name = project.rpartition("/")
    spec = LoggerSpec(name="wandb", project=name, entity=entity or None)
    if wanted_mode(spec) == "disabled":
        return "W&B: WANDB_MODE is disabled, so nothing was logged."
    run_id = f"report-{time.strftime('%Y%m%d-%H%M%S')}"
    config = {
        "where": {key: list(values) for key, values in where.items()},
        "models": sorted({table.model for table in report.tables}),
        "protocols": sorted({table.protocol for table in report.tables}),
        "petbench": __version__,
    }
    tracker = WandbTracker(
        spec, results_dir / FOLDER / run_id, run_id, config, job_type="report", name=run_id
    )
    tracker.table("comparison", FIELDS, _rows(report))
    for path in plots:
        if path.suffix == ".png":
            tracker.image(f"plots/{path.stem}", path)
    tracker.summary({"runs": runs, "tables": len(report.tables)})
    tracker.finish("done")
    reference = tracker.reference()
    return f"W&B: {reference.get('url') or reference.get('path') or 'not logged'} ({reference['mode']})"


def _rows(report: Report) -> list[list[float | str | None]]:
    """The lines of the CSV file, with numbers as numbers."""
    lines = csv.DictReader(io.StringIO(to_csv(report)))
    return [[_value(field, line[field]) for field in FIELDS] for line in lines]


def _value(field: str, text: str) -> float | str | None:
    """A value of the CSV as a number, or as text; the span `1..2` of a cost stays text."""
    if not text or field in TEXT:
        return text or None
    try:
        return float(text)
    except ValueError:
        return text
