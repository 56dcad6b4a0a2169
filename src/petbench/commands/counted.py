"""Rows of the parameter table that an earlier `petbench params` counted, kept so that a later one loads no torch.

A row is a function of its member's composed values, of the code that counts and of the libraries that build the model.
It is kept under all of them, in one file of the cache folder for each state of code and libraries.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import petbench
from petbench.config.spec import canonical_json
from petbench.config.values import Frozen
from petbench.errors import DiskError, UserError
from petbench.files import write_text
from petbench.record import Params
from petbench.tasks.encode.token_cache import cache_folder

COUNT_WITH = ("torch", "transformers", "peft")
MOST = 10_000  # rows in a file, about 400 bytes each; the oldest go first


class Counted(Frozen):
    """What the table says of one member; `bytes` of what trains, `notes` below the table."""

    model: str
    adapter: str
    method: str
    params: Params
    mergeable: bool
    bytes: int
    notes: tuple[str, ...]


class Memory:
    """The rows that are kept in a cache folder; None: the usual one."""

    def __init__(self, cache_dir: str | None) -> None:
        self._file = cache_folder(cache_dir) / "counts" / f"{_state()}.json"
        self._rows = _read(self._file)
        self._new = False

    def recall(self, values: Mapping[str, Any]) -> Counted | None:
        """The row of composed values; None where it was not counted yet, or depends on files that may have changed."""
        found = self._rows.get(_key(values)) if _alone_decide(values) else None
        try:
            return None if found is None else Counted.model_validate(found)
        except ValidationError:  # a broken cache is made anew
            return None

    def take(self, values: Mapping[str, Any], row: Counted, module: str) -> None:
        """Take a row in. module: where the method's code is; that of another package may change unseen."""
        if _alone_decide(values) and module.startswith("petbench."):
            self._rows[_key(values)] = row.model_dump(mode="json")
            self._new = True

    def keep(self) -> None:
        """Write what was taken in. A cache that cannot be written costs time, nothing else."""
        if not self._new:
            return
        with contextlib.suppress(UserError, DiskError):
            write_text(self._file, json.dumps(dict(list(self._rows.items())[-MOST:])))
            for other in self._file.parent.glob("*.json"):
                if other != self._file:  # of another petbench, or of other libraries
                    other.unlink(missing_ok=True)


def _alone_decide(values: Mapping[str, Any]) -> bool:
    """Whether the values alone decide the counts: the model's config and the task are in them, not in files."""
    model, data = values["model"], values["data"]
    known = model.get("known")
    return bool(known) and known["name"] == model["name"] and data["file"] is None and data["hub"] is None


def _key(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return rows if isinstance(rows, dict) else {}


@cache
def _state() -> str:
    """Digest of what counts: petbench's own files by size and time, the libraries, and the packages with methods."""
    package = Path(petbench.__file__).parent
    files = sorted(package.rglob("*.py"))
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    others = sorted(
        (point.name, point.value, point.dist.version if point.dist else "")
        for point in entry_points(group="petbench.adapters")
    )
    return hashlib.sha256(canonical_json([stamps, _versions(), others]).encode()).hexdigest()[:32]


def _versions() -> dict[str, str]:
    found = {}
    for name in COUNT_WITH:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
