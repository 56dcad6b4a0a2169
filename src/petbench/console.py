"""What a person sees while a run goes on and when it ends: a bar or plain lines, then two tables."""

import os
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from petbench.record import Record


def is_main_process() -> bool:
    """Whether this process prints and writes. A launcher of several processes (torchrun, accelerate) sets RANK."""
    return os.environ.get("RANK", "0") == "0"


out = Console(highlight=False, soft_wrap=True, quiet=not is_main_process())


class RunScreen:
    """Progress of one run: a rich bar on a terminal, a line now and then elsewhere."""

    LINE_EVERY_SECONDS = 15.0  # between plain lines, besides one an evaluation

    def __init__(self, title: str, steps: int, done: int, wanted: str) -> None:
        self.steps = steps
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if wanted == "auto" and sys.stdout.isatty() and is_main_process():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}  score {task.fields[score]}"),
                TimeRemainingColumn(),
                console=out,
            )
            self._task = self._bar.add_task(title, total=steps, completed=done, loss="–", score="–")
            self._bar.start()

    def step(self, step: int, loss: float | None) -> None:
        """After every step; loss is None where nobody has asked the device for it."""
        if self._bar is not None:
            fields = {} if loss is None else {"loss": f"{loss:.4f}"}
            self._bar.update(self._task, completed=step, **fields)  # type: ignore[arg-type]
        elif loss is not None and time.monotonic() - self._last_line > self.LINE_EVERY_SECONDS:
            self.line(f"step {step}/{self.steps}  loss {loss:.4f}")

    def evaluated(self, step: int, epoch: float, loss: float, name: str, score: float, best: bool) -> None:
        """After every evaluation on the selection rows."""
        mark = "  best so far" if best else ""
        if self._bar is not None:
            self._bar.update(self._task, loss=f"{loss:.4f}", score=f"{score:.4f}")
        self.line(
            f"step {step}/{self.steps}  epoch {epoch:.2f}  loss {loss:.4f}  selection {name} {score:.4f}{mark}"
        )

    def line(self, text: str) -> None:
        """A plain line, above the bar where there is one."""
        self._last_line = time.monotonic()
        out.print(text, markup=False)

    def close(self) -> None:
        """Stop the bar."""
        if self._bar is not None:
            self._bar.stop()


def say(text: str) -> None:
    """A plain line on standard output."""
    out.print(text, markup=False)


def warn(text: str) -> None:
    """A line on standard error."""
    print(f"warning: {text}", file=sys.stderr)


def params_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Parameters by part, one row a method: what it tunes, in all, as percent of the backbone, and its parts.

    Keys: adapter, params (a record's `params`), and what is there of mergeable, bytes, paper_percent.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("adapter")
    for name in (
        "tuned params",
        "tuned %",
        "= adapter",
        "+ norms",
        "+ other",
        "head",
        "trainable",
        "backbone",
    ):
        table.add_column(name, justify="right")
    extra = [key for key in ("mergeable", "bytes", "paper_percent") if any(key in row for row in rows)]
    for key in extra:
        table.add_column({"paper_percent": "paper prints %"}.get(key, key), justify="right")
    for row in rows:
        p = row["params"]
        parts = [f"{p[k]:,}" for k in ("adapter", "norm", "other", "head", "trainable", "backbone")]
        cells = [f"{p['tuned']:,}", f"{p['tuned_percent']:.4f}", *parts]
        table.add_row(row["adapter"], *cells, *(_cell(row.get(key)) for key in extra))
    return table


def scores_table(record: Record) -> Table:
    """Selection and report scores of one run; the protocol is in the title."""
    title = f"Scores: {record.task}, protocol {record.protocol}"
    marks = record.provenance.get("marks") or []
    if marks:
        title += f" ({'; '.join(marks)})"
    table = Table(title=title, title_justify="left")
    table.add_column("rows")
    table.add_column("n", justify="right")
    names = list(record.metrics.selection) or [n for values in record.metrics.report.values() for n in values]
    for name in dict.fromkeys(names):
        table.add_column(name, justify="right")
    sizes = record.provenance.get("rows", {})
    parts = {"selection": record.metrics.selection} | {
        f"report: {split}": values for split, values in record.metrics.report.items()
    }
    for part, values in parts.items():
        count = sizes.get(part.replace("report: ", "report/"), "")
        table.add_row(
            part,
            str(count),
            *(f"{values[name]:.4f}" if name in values else "" for name in dict.fromkeys(names)),
        )
    return table


def print_table(table: Table) -> None:
    """Print a table at its natural width where the output is no terminal; its title is a line above it."""
    console = out if out.is_terminal else Console(width=200, highlight=False, quiet=not is_main_process())
    title, table.title = table.title, None  # rich would wrap it to the table's width
    if title is not None:
        out.print(title, markup=False)
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
