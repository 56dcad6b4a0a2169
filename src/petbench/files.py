"""Atomic files: a reader sees the old file or the new one, never a half-written one."""

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

# Errors of a path that cannot be written however much space is free: the user gave a wrong path.
_WRONG_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.ENOTEMPTY),
}

HALF = ".half-"  # part of the hidden name of a file or folder while it is being written
_UMASK = os.umask(0)  # the umask can only be read by setting it
os.umask(_UMASK)


@contextmanager
def replacing(path: Path, instead: str = "results_dir") -> Iterator[Path]:
    """Yield a hidden file beside `path`: renamed to `path` when the block succeeds, deleted when it fails.

    Missing folders are created. instead: the option that gives another path, for the error message. Raises the error
    of `unwritable` when the operating system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{HALF}")
        os.close(handle)
        try:
            yield Path(name)
            Path(name).chmod(0o666 & ~_UMASK)  # mkstemp and safetensors let only the owner read
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error, instead) from error


@contextmanager
def replacing_folder(path: Path, instead: str) -> Iterator[Path]:
    """Yield a hidden folder beside `path`: renamed to `path` when the block succeeds, deleted when it fails.

    `path` does not exist or is an empty folder. What an earlier, killed call left is deleted too. Raises as
    `replacing` does.
    """
    with _half_folder(path, path.parent, instead) as half:
        yield half
        _settle(half)
        half.rename(path)


@contextmanager
def filling(folder: Path, instead: str) -> Iterator[Path]:
    """Yield a hidden folder inside `folder`: its files are moved into `folder` when the block succeeds, deleted when
    it fails. Raises as `replacing` does."""
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
    """Flush every file to the disk and give files and folders the permissions that the umask allows."""
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~_UMASK)
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def half_written(folder: Path) -> list[Path]:
    """The files and folders that killed calls left in a folder, found by the hidden names that this module gives."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.startswith(".") and HALF in path.name]


def unwritable(path: Path, error: OSError, instead: str = "results_dir") -> UserError | DiskError:
    """The error to raise for a refused write: UserError for a place that cannot be written, DiskError for a disk
    that is full or broken."""
    kind = UserError if error.errno in _WRONG_PLACE else DiskError
    return kind(f"cannot write {path}: {error.strerror or error}. Free space or give another {instead}.")


def write_text(path: Path, text: str, instead: str = "results_dir") -> None:
    """Write text and flush it, so that it survives a crash of the machine. Raises as `replacing` does."""
    with replacing(path, instead) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, as `write_text` does. Raises ValueError on NaN, which JSON cannot hold."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
