"""Count the values of a YAML file as if its anchors were written out, without writing them out."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml


@cache
def expanded_size(path: Path, changed: int) -> int:
    """The number of values in a file; 0 for one that is not YAML, which is reported when it is read.

    changed: the file's time of change, so that the cached answer for an older version is not used.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.CSafeLoader) if "&" in text else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return 0
    return 0 if node is None else _size(node, {})


def _size(node: Any, known: dict[int, int]) -> int:
    """The number of values at and below a node. A node inside itself counts as 0: it is refused when it is read."""
    if id(node) not in known:
        known[id(node)] = 0
        below = node.value if isinstance(node.value, list) else []
        inside = (part for entry in below for part in (entry if isinstance(entry, tuple) else (entry,)))
        known[id(node)] = 1 + sum(_size(part, known) for part in inside)
    return known[id(node)]
