"""Arguments that all commands read alike: whole numbers within bounds, paths, and mistakes raised as UserError."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from petbench.config.paths import at_home
from petbench.errors import UserError


class Arguments(argparse.ArgumentParser):
    """An argument parser that raises UserError on a mistake, as the rest of petbench does."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError instead of printing and exiting."""
        raise UserError(f"{self.prog}: {message.rstrip('.')}. `{self.prog} --help` says more.")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """The type of an option that takes a whole number from `low` to `high`."""
    legal = f"a whole number from {low} {'up' if high is None else f'to {high}'}"

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"got {text!r}. Legal: {legal}")
        return number

    return read


def path(text: str) -> str:
    """The type of an option that names a file, a folder or a run: `~` is expanded."""
    try:
        return at_home(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def folder(text: str) -> str:
    """The type of an option that names an existing folder."""
    found = path(text)
    if not Path(found).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {found}")
    return found


def file(text: str) -> str:
    """The type of an option that names an existing file."""
    found = path(text)
    if not Path(found).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {found}")
    return found


def existing_folder(option: str, text: str) -> str:
    """The same check as `folder`, for an option that is not read by an `Arguments` parser. Raises UserError."""
    try:
        return folder(text)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"{option}: {error}.") from error


def new_folder(text: str) -> Path:
    """The type of `--out DIR`: a folder to create or to fill. Missing parents are created when it is written."""
    return _new(Path(path(text)), wanted="folder")


def new_file(text: str) -> Path:
    """The type of `--out FILE`: a file to write. A missing folder is created when it is written."""
    return _new(Path(path(text)), wanted="file")


def _new(place: Path, wanted: str) -> Path:
    """The path, after a check, before the work is done, that it can probably be written."""
    try:
        if place.exists() and place.is_dir() != (wanted == "folder"):
            raise argparse.ArgumentTypeError(
                f"{place} is a {'file' if wanted == 'folder' else 'folder'}. Give a {wanted}"
            )
        above = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {place}: {error.strerror or error}") from error
    if not above.is_dir() and above != place:
        raise argparse.ArgumentTypeError(f"cannot write {place}: {above} is a file, not a folder")
    if not os.access(above, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write {place}: {above} is read-only")
    return place
