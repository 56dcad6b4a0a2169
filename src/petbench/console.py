"""Standard output and error: lines, tables, and what holds when they break."""

import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text


def is_main_process() -> bool:
    """Whether this process prints and writes. A launcher of several processes (torchrun, accelerate) sets RANK."""
    return os.environ.get("RANK", "0") == "0"


# Names of variables whose value is for nobody's eyes.
_SECRET = re.compile(r"(^|_)([A-Z0-9]*KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
_SHORTEST_SECRET = 8  # shorter values stand in other words by chance


def names_a_secret(name: str) -> bool:
    """Whether a variable of the environment is called as keys and passwords are."""
    return _SECRET.search(name) is not None


def secret_in(text: str) -> str | None:
    """The variable of the environment whose secret value stands in a text; None where none does."""
    held = (n for n, value in os.environ.items() if len(value) >= _SHORTEST_SECRET and value in text)
    return next(filter(names_a_secret, held), None)


def without_secrets(value: Any) -> Any:
    """Text, or plain values at any depth, with the names of variables in place of their secret values."""
    if isinstance(value, str):
        while (name := secret_in(value)) is not None:
            value = value.replace(os.environ[name], f"<{name}>")
        return value
    if isinstance(value, dict):
        return {key: without_secrets(inside) for key, inside in value.items()}
    return [without_secrets(inside) for inside in value] if isinstance(value, list | tuple) else value


def shown(text: str) -> str:
    """Text as a terminal may print it: without secrets of the environment, and signs that would steer it (escape
    sequences, carriage returns, a change of the direction of writing, half surrogate pairs) by their escapes."""
    text = without_secrets(text)
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


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while something long goes on; call what it gives with every part done."""
    # not at the top: the first line of a command waits for this file
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not is_main_process()) as bar:
        task = bar.add_task(shown(what), total=total)
        done = 0

        def told(part: int) -> None:
            nonlocal done
            done += part
            if (
                done > total // 200
            ):  # two hundred steps: a call for every line would cost more than reading it
                bar.advance(task, done)
                done = 0

        yield told


class _Voice(NamedTuple):
    """How this process speaks: a label in front of its lines where several runs write at once; silent where another
    process shows on the same terminal how the run goes."""

    label: str = ""
    silent: bool = False


_PLAIN = _Voice()
_VOICE: ContextVar[_Voice] = ContextVar("voice", default=_PLAIN)  # of a thread: several runs may take turns


@contextmanager
def member_of_sweep(label: str, silent: bool) -> Iterator[None]:
    """Inside, one run among several speaks: every line carries its label, or none is printed."""
    before = _VOICE.set(_Voice(label, silent))
    try:
        yield
    finally:
        _VOICE.reset(before)


def is_member() -> bool:
    """Whether one run among several speaks: it draws no bar of its own and repeats nothing that holds for all."""
    return bool(_VOICE.get().label)


def say(text: str) -> None:
    """A plain line on standard output."""
    voice = _VOICE.get()
    if not voice.silent:
        out.print(shown(f"{voice.label} | {text}" if voice.label else text))


def tell(text: str) -> None:
    """A plain line on standard error, if that still takes one: what is no result of a command."""
    with suppress(OSError, ValueError):
        print(shown(text), file=sys.stderr)


def warn(text: str) -> None:
    """A line on standard error that begins with `warning:`. Of the processes of one run the main one says it."""
    if is_main_process():
        label = _VOICE.get().label
        tell(f"warning: {label}: {text}" if label else f"warning: {text}")


_spinner: Status | None = None


@contextmanager
def spinning() -> Iterator[None]:
    """Inside, `busy` shows on a terminal what takes seconds; elsewhere nothing is drawn."""
    global _spinner
    outer, wanted = _spinner, out.is_terminal and not out.quiet and not is_member()
    if outer is None and wanted:
        _spinner = Status("", console=out, spinner="dots")
    try:
        yield
    finally:
        if outer is None:
            idle()
            _spinner = None


def busy(text: str) -> None:
    """Say what takes seconds now, with a spinner, until `idle` or the next words."""
    if _spinner is not None:
        _spinner.update(Text(shown(text)))
        _spinner.start()


def idle() -> None:
    """Take the spinner away."""
    if _spinner is not None:
        _spinner.stop()


def print_table(table: Table) -> None:
    """Print a table at its natural width where the output is not a terminal; its title is a line above it."""
    title, table.title = table.title, None  # rich would wrap it to the table's width
    if title is not None:
        out.print(shown(str(title)))
    console = out if out.is_terminal else Output(width=200, highlight=False, quiet=not is_main_process())
    console.print(table)
