"""SHA-256 of files, each hashed once: remembered by path, size and times, in this process and in the cache folder."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from petbench.errors import UserError
from petbench.files import write_json
from petbench.tasks.encode.token_cache import cache_folder

SETTLED_NS = (
    2_000_000_000  # a file younger than this may change again within one tick of the file system's clock
)

_KNOWN: dict[tuple[str, ...], str] = {}


def remembered_sha256(path: Path, cache_dir: str | None = None) -> str:
    """SHA-256 (hex) of a file, remembered from an earlier call while path, size, times and inode are the same.

    Weights of one architecture all have one size, and a copy can keep its source's mtime: hence ctime and inode
    too. The memory is one small file for each path under `digests/` of the cache folder, replaced as a whole, so
    that any number of processes may share it. Raises OSError when the file cannot be read.
    """
    signature = _signature(path)
    if signature in _KNOWN:
        return _KNOWN[signature]
    memory = cache_folder(cache_dir) / "digests" / f"{_short(signature[0])}.json"
    found = _recalled(memory, signature)
    if found is None:
        found = file_sha256(path)
        if not _settled(signature) or _signature(path) != signature:
            return found
        with contextlib.suppress(UserError):  # a cache that cannot be written costs time, nothing else
            write_json(memory, {"file": signature, "sha256": found})
    _KNOWN[signature] = found
    return found


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signature(path: Path) -> tuple[str, ...]:
    """Path, size, mtime, ctime and inode, as text."""
    state = path.stat()
    numbers = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    return (str(path.absolute()), *map(str, numbers))


def _settled(signature: tuple[str, ...]) -> bool:
    changed = max(int(signature[2]), int(signature[3]))
    return time.time_ns() - changed > SETTLED_NS


def _recalled(memory: Path, signature: tuple[str, ...]) -> str | None:
    """The digest that was written down for exactly this file; None for another, or a broken note."""
    try:
        note: Any = json.loads(memory.read_text(encoding="utf-8"))
        digest = str(note["sha256"]) if tuple(note["file"]) == signature else ""
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return digest if len(digest) == 64 else None


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]
