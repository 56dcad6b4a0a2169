"""Atomic files: a reader sees the old file or the new one, never half."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from petbench.errors import DiskError, UserError

# A place that cannot be written whatever is free on the disk: its name is the mistake.
_WRONG_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.ENOTEMPTY),
}

HALF = ".half-"  # in the hidden names of files and folders that are being written
_UMASK = os.umask(0)  # it can only be read by setting it
os.umask(_UMASK)


@contextmanager
def replacing(path: Path, instead: str = "results_dir") -> Iterator[Path]:
    """Give a hidden file beside `path` to write to; it takes the name when all went well, else it goes.

    The folder is made. instead: the option that names another place. Raises what `unwritable` makes of a refusal.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{HALF}")
        os.close(handle)
        try:
            yield Path(name)
            Path(name).chmod(0o666 & ~_UMASK)  # mkstemp's files, and safetensors', are for their owner alone
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error, instead) from error


@contextmanager
def replacing_folder(path: Path, instead: str) -> Iterator[Path]:
    """Give a hidden folder beside `path` to fill; it takes the name when it is whole, else it goes.

    `path` is new or an empty folder. What a killed call left of it goes, too. Raises as `replacing` does.
    """
    with _half_folder(path, path.parent, instead) as half:
        yield half
        _settle(half)
        half.rename(path)


@contextmanager
def filling(folder: Path, instead: str) -> Iterator[Path]:
    """Give a hidden folder inside `folder` to fill; its files take their places there together when all are whole,
    else they go. Raises as `replacing` does."""
    with _half_folder(folder, folder, instead) as half:
        yield half
        _settle(half)
        for file in sorted(path for path in half.rglob("*") if path.is_file()):
            place = folder / file.relative_to(half)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)


@contextmanager
def _half_folder(path: Path, beside: Path, instead: str) -> Iterator[Path]:
    prefix = f".{path.name}{HALF}"
    try:
        beside.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(dir=beside, prefix=prefix))
        try:
            yield half
        finally:
            for left in half_written(beside):
                if left.name.startswith(prefix):
                    shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise unwritable(path, error, instead) from error


def _settle(folder: Path) -> None:
    """Bring what was written to the disk, with the rights that the umask gives."""
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~_UMASK)
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def half_written(folder: Path) -> list[Path]:
    """What killed calls left in a folder: files and folders under the hidden names that this module gives."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.startswith(".") and HALF in path.name]


def unwritable(path: Path, error: OSError, instead: str = "results_dir") -> UserError | DiskError:
    """The error to raise for a refused write: UserError for a place that cannot be written, DiskError for a disk
    that is full or broken."""
    kind = UserError if error.errno in _WRONG_PLACE else DiskError
    return kind(f"cannot write {path}: {error.strerror or error}. Free space or give another {instead}.")


def write_text(path: Path, text: str, instead: str = "results_dir") -> None:
    """Write text that outlives a crash of the machine. Raises as `replacing` does."""
    with replacing(path, instead) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, as `write_text`. Raises ValueError on NaN, which is no JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
