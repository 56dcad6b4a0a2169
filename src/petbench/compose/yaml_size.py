"""How many values a YAML file holds once its anchors are written out, without writing them out."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml


@cache
def expanded_size(path: Path, changed: int) -> int:
    """Values in a file whose time of change is `changed`; 0 for one that is not YAML, which others report."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.CSafeLoader) if "&" in text else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return 0
    return 0 if node is None else _size(node, {})


def _size(node: Any, known: dict[int, int]) -> int:
    """Values below a node. One that holds itself counts as nothing: it is refused where it is read."""
    if id(node) not in known:
        known[id(node)] = 0
        below = node.value if isinstance(node.value, list) else []
        inside = (part for entry in below for part in (entry if isinstance(entry, tuple) else (entry,)))
        known[id(node)] = 1 + sum(_size(part, known) for part in inside)
    return known[id(node)]
