"""What a person sees while a run goes on and when it ends: a bar or plain lines, then two tables."""

import os
import sys
import time
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from petbench.record import Record


def is_main_process() -> bool:
    """Whether this process prints and writes. A launcher of several processes (torchrun, accelerate) sets RANK."""
    return os.environ.get("RANK", "0") == "0"


def shown(text: str) -> str:
    """Text as a terminal may print it: signs that would steer it (escape sequences, carriage returns, a change of the
    direction of writing, half surrogate pairs) stand there by their escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign in "\n\t" or not _steers(sign) else _escaped(sign) for sign in text)


def _steers(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


class Output(Console):
    """Standard output. It may break (a closed pipe, a full disk): the rest then goes nowhere, and what printed goes
    on, be it a run of hours. `broken` is the error, for the exit status."""

    broken: ClassVar[OSError | None] = None

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, but it raises no OSError."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.lose(error)

    def on_broken_pipe(self) -> None:
        """Instead of rich's exit."""
        self.lose(BrokenPipeError())

    def lose(self, error: OSError) -> None:
        """Send the rest of standard output nowhere."""
        if Output.broken is None and not isinstance(error, BrokenPipeError):
            warn(f"standard output: {error.strerror or error}; nothing more is printed there.")
        Output.broken = Output.broken or error  # of all: they write to the same place
        self.quiet = True
        with suppress(OSError, ValueError):  # a stream that is no file has nothing to flush at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def end(self, error: OSError | None = None) -> OSError | None:
        """What broke it during a command, `error` at its end included; the next command starts afresh."""
        if error is not None:
            self.lose(error)
        lost, Output.broken, self.quiet = Output.broken, None, not is_main_process()
        return lost


# Names are text: rich's markup and emoji codes are not read in them.
out = Output(highlight=False, soft_wrap=True, markup=False, emoji=False, quiet=not is_main_process())


class Grid(Table):
    """A rich table whose heads and cells are text and nothing else."""

    def add_column(self, header: Any = "", *arguments: Any, **options: Any) -> None:
        """As rich's."""
        super().add_column(_plain(header), *arguments, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """As rich's."""
        super().add_row(*map(_plain, cells), **options)


def _plain(cell: Any) -> Any:
    return Text(shown(cell)) if isinstance(cell, str) else cell


class RunScreen:
    """Progress of one run: a rich bar on a terminal, a line now and then elsewhere."""

    LINE_EVERY_SECONDS = 15.0  # between plain lines, besides one an evaluation

    def __init__(self, title: str, steps: int, done: int, wanted: str) -> None:
        self.steps = steps
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if wanted == "auto" and sys.stdout.isatty() and is_main_process():
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}  score {task.fields[score]}"),
                TimeRemainingColumn(),
                console=out,
            )
            self._task = self._bar.add_task(shown(title), total=steps, completed=done, loss="–", score="–")
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
        out.print(shown(text))

    def close(self) -> None:
        """Stop the bar."""
        if self._bar is not None:
            self._bar.stop()


def say(text: str) -> None:
    """A plain line on standard output."""
    out.print(shown(text))


def warn(text: str) -> None:
    """A line on standard error, if that still takes one."""
    with suppress(OSError, ValueError):
        print(f"warning: {shown(text)}", file=sys.stderr)


def params_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Parameters by part, one row a method: what it tunes, in all, as percent of the backbone, and its parts.

    Keys: adapter, params (a record's `params`), and what is there of mergeable, bytes, paper_percent.
    """
    table = Grid(title=title, title_justify="left")
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


def scores_table(record: "Record") -> Table:
    """Selection and report scores of one run; the protocol is in the title."""
    title = f"Scores: {record.task}, protocol {record.protocol}"
    marks = record.provenance.get("marks") or []
    if marks:
        title += f" ({'; '.join(marks)})"
    table = Grid(title=title, title_justify="left")
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
    title, table.title = table.title, None  # rich would wrap it to the table's width
    if title is not None:
        out.print(shown(str(title)))
    out.print(table, width=None if out.is_terminal else 200)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
