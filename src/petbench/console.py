"""Standard output and error: lines, tables, progress, hidden secrets, and how a command goes on without a terminal."""

import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text


def is_main_process() -> bool:
    """Whether this process prints and writes files. Launchers of several processes (torchrun, accelerate) set RANK."""
    return os.environ.get("RANK", "0") == "0"


# Names of environment variables whose values must not be shown.
_SECRET = re.compile(r"(^|_)([A-Z0-9]*KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
_SHORTEST_SECRET = 8  # a shorter value may be a part of an ordinary word


def names_a_secret(name: str) -> bool:
    """Whether the name of an environment variable is that of a key, a token or a password."""
    return _SECRET.search(name) is not None


def secret_in(text: str) -> str | None:
    """The environment variable whose secret value the text contains; None when it contains none."""
    return next((name for name, value in _secrets().items() if value in text), None)


def _secrets() -> dict[str, str]:
    """The secret values of the environment by their variables."""
    long = ((name, value) for name, value in os.environ.items() if len(value) >= _SHORTEST_SECRET)
    return {name: value for name, value in long if names_a_secret(name)}


def without_secrets(value: Any) -> Any:
    """A text, or plain values at any depth, with each secret value replaced by the name of its variable."""
    return _hidden(value, _secrets())  # read once: a record holds a hundred texts


def _hidden(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, secret in secrets.items():
            value = value.replace(secret, f"<{name}>")
        return value
    if isinstance(value, dict):
        return {key: _hidden(inside, secrets) for key, inside in value.items()}
    return [_hidden(inside, secrets) for inside in value] if isinstance(value, list | tuple) else value


def shown(text: str) -> str:
    """A text that is safe to print on a terminal: secrets of the environment are replaced by their names, and control
    characters (escape sequences, carriage returns, changes of writing direction, lone surrogates) by their escapes."""
    text = without_secrets(text)
    if text.isprintable():
        return text
    return "".join(sign if sign in "\n\t" or not _steers(sign) else _escaped(sign) for sign in text)


def _steers(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


class Output(Console):
    """Standard output. When it breaks (a closed pipe, a full disk), the rest of the output is dropped and the command
    goes on, since it may be a run of hours. `broken` is the error, for the exit status."""

    broken: ClassVar[OSError | None] = None

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, but raise no OSError."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.lose(error)

    def on_broken_pipe(self) -> None:
        """Go on, where rich would end the process."""
        self.lose(BrokenPipeError())

    def lose(self, error: OSError) -> None:
        """Drop the rest of standard output."""
        if Output.broken is None and not isinstance(error, BrokenPipeError):
            warn(f"standard output: {error.strerror or error}; nothing more is printed there.")
        Output.broken = Output.broken or error  # on the class: all of them write to the same place
        self.quiet = True
        with suppress(OSError, ValueError):  # a stream without a file descriptor has nothing to flush
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def end(self, error: OSError | None = None) -> OSError | None:
        """The error that broke standard output during a command (`error` is one at its end); resets the state for the
        next command."""
        if error is not None:
            self.lose(error)
        lost, Output.broken, self.quiet = Output.broken, None, not is_main_process()
        return lost


# rich's markup and emoji codes are off: a name may look like one.
out = Output(highlight=False, soft_wrap=True, markup=False, emoji=False, quiet=not is_main_process())


class Grid(Table):
    """A rich table whose column heads and cells are plain text, never markup."""

    def add_column(self, header: Any = "", *arguments: Any, **options: Any) -> None:
        """Add a column as rich does."""
        super().add_column(_plain(header), *arguments, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row as rich does."""
        super().add_row(*map(_plain, cells), **options)


def _plain(cell: Any) -> Any:
    return Text(shown(cell)) if isinstance(cell, str) else cell


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error. It yields a function: call it with the bytes done since the last call."""
    # imported here, since the first line of every command waits for this file
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
            ):  # drawn two hundred times: a call for every line would cost more than reading the line
                bar.advance(task, done)
                done = 0

        yield told


class _Voice(NamedTuple):
    """How this process prints its lines: with a label in front where several runs print at once, and not at all where
    another process shows the run's progress on the same terminal."""

    label: str = ""
    silent: bool = False


_PLAIN = _Voice()
_VOICE: ContextVar[_Voice] = ContextVar("voice", default=_PLAIN)  # of a thread: several runs may take turns


@contextmanager
def member_of_sweep(label: str, silent: bool) -> Iterator[None]:
    """Inside, the lines of one member of a sweep are printed: each with the member's label, or none if `silent`."""
    before = _VOICE.set(_Voice(label, silent))
    try:
        yield
    finally:
        _VOICE.reset(before)


def is_member() -> bool:
    """Whether a member of a sweep runs here: it draws no bar of its own and repeats nothing that holds for all."""
    return bool(_VOICE.get().label)


def say(text: str) -> None:
    """Print a plain line on standard output."""
    voice = _VOICE.get()
    if not voice.silent:
        out.print(shown(f"{voice.label} | {text}" if voice.label else text))


def tell(text: str) -> None:
    """Print a plain line on standard error, for what is not the command's result. Does nothing if that is closed."""
    with suppress(OSError, ValueError):
        print(shown(text), file=sys.stderr)


def warn(text: str) -> None:
    """Print a line on standard error that begins with `warning:`; of several processes of a run the main one does."""
    if is_main_process():
        label = _VOICE.get().label
        tell(f"warning: {label}: {text}" if label else f"warning: {text}")


_spinner: Status | None = None


@contextmanager
def spinning() -> Iterator[None]:
    """Inside, `busy` shows a spinner, if the output is a terminal."""
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
    """Show a spinner with `text` until `idle` or the next call; for what takes seconds."""
    if _spinner is not None:
        _spinner.update(Text(shown(text)))
        _spinner.start()


def idle() -> None:
    """Remove the spinner."""
    if _spinner is not None:
        _spinner.stop()


def print_table(table: Table) -> None:
    """Print a table at its natural width where the output is not a terminal; its title is a line above it."""
    title, table.title = table.title, None  # rich would wrap it to the table's width
    if title is not None:
        out.print(shown(str(title)))
    console = out if out.is_terminal else Output(width=200, highlight=False, quiet=not is_main_process())
    console.print(table)
