"""Atomic files: a reader sees the old file or the new one, never half."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from petbench.errors import DiskError, UserError

# A place that cannot be written whatever is free on the disk: its name is the mistake.
_WRONG_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP),
}

_UMASK = os.umask(0)  # it can only be read by setting it
os.umask(_UMASK)


@contextmanager
def replacing(path: Path, instead: str = "results_dir") -> Iterator[Path]:
    """Give a hidden file beside `path` to write to; it takes the name when all went well, else it goes.

    The folder is made. instead: the option that names another place. Raises what `unwritable` makes of a refusal.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            yield Path(name)
            Path(name).chmod(0o666 & ~_UMASK)  # mkstemp's files, and safetensors', are for their owner alone
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error, instead) from error


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
