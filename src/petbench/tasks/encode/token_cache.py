"""A cache of token ids on disk, keyed by content: shared by all runs, written atomically, ignored when broken."""

import contextlib
import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from petbench.errors import DiskError, UserError
from petbench.files import replacing

ENV_DIR = "PETBENCH_CACHE"
MOST_BYTES = 4 * 2**30  # size of the cache; the files that were unused for longest are deleted first
Arrays = dict[str, np.ndarray]

_digests: WeakKeyDictionary[Any, tuple[int, str]] = WeakKeyDictionary()  # half a second each


def cache_folder(given: str | Path | None) -> Path:
    """`given`, or PETBENCH_CACHE, or ~/.cache/petbench."""
    return Path(given or os.environ.get(ENV_DIR) or Path.home() / ".cache" / "petbench").expanduser()


def cache_key(**content: Any) -> str:
    """SHA-256 (hex) of everything that the token ids depend on."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's state, without the padding and truncation settings that its last call left."""
    size, digest = _digests.get(tokenizer, (0, ""))
    if size == len(tokenizer):
        return digest
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        state.pop("truncation", None)
        state.pop("padding", None)
    else:
        state = {"vocabulary": tokenizer.get_vocab()}
    state["petbench"] = [
        type(tokenizer).__name__,
        tokenizer.truncation_side,
        sorted(tokenizer.model_input_names),
        {role: str(token) for role, token in tokenizer.special_tokens_map.items()},
    ]
    digest = cache_key(state=state)
    _digests[tokenizer] = len(tokenizer), digest
    return digest


def read(folder: Path, key: str) -> Arrays | None:
    """The arrays stored under a key; None when there are none or the file is broken."""
    path = _path(folder, key)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    if not _whole(arrays):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # marks the file as used, since `bound` deletes unused ones
    return arrays


def write(folder: Path, key: str, arrays: Arrays) -> None:
    """Store arrays under a key. Parallel writers each rename a complete file into place."""
    try:
        with replacing(_path(folder, key)) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        bound(folder / "tokens")
    except (UserError, DiskError) as error:  # a run works without a cache
        reason = getattr(error.__cause__, "strerror", None) or error.__cause__
        warnings.warn(f"token cache {folder} cannot be written ({reason}); going on without", stacklevel=2)


def bound(folder: Path, most: int = MOST_BYTES) -> None:
    """Delete the files that were not used for longest until a folder of the cache holds at most so many bytes."""
    kept = 0
    for path, state in sorted(_states(folder), key=lambda found: -found[1].st_mtime_ns):
        kept += state.st_size
        if kept > most:
            path.unlink(missing_ok=True)


def _states(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.glob("*.npz"):
        with contextlib.suppress(OSError):  # another process may have deleted it
            yield path, path.stat()


def _path(folder: Path, key: str) -> Path:
    return folder / "tokens" / f"{key}.npz"


def _whole(arrays: Arrays) -> bool:
    """Whether all arrays are there and their lengths agree."""
    if not {"ids", "offsets"} <= set(arrays) or arrays["offsets"].ndim != 1 or not len(arrays["offsets"]):
        return False
    size = int(arrays["offsets"][-1])
    return len(arrays["ids"]) == size and len(arrays.get("types", arrays["ids"])) == size
