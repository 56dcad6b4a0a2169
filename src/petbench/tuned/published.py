"""An adapter's config as it may be published: without paths of the machine that trained it."""

from collections.abc import Mapping
from typing import Any


def public_name(name: str) -> str:
    """A hub id unchanged; for a folder or a package the last part of its path."""
    is_hub = name.count("/") <= 1 and not name.startswith(("/", ".", "~", "package:")) and "\\" not in name
    return name if is_hub else name.rstrip("/\\").replace("\\", "/").rpartition("/")[2]


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config without the paths of its rows, results and cache, which say nothing of what was trained."""
    start = config["init_from"]
    return {
        **config,
        "data": {**config["data"], "dir": None, "file": None},
        "task": {**config["task"], "files": None},
        "init_from": None if start is None else public_name(start),
        "results_dir": "results",
        "cache_dir": None,
    }
