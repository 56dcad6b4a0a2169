"""A task's texts from the columns of a file: one column by name, or several in a pattern, `{word}: {sentence1}`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NAMED = re.compile(r"\{([^{}]+)\}")


def columns_of(fields: Sequence[str], columns: Mapping[str, str]) -> list[str]:
    """The columns that the text fields are made of, each once. columns: field -> column or pattern."""
    named = [_NAMED.findall(columns.get(field, field)) or [columns.get(field, field)] for field in fields]
    return list(dict.fromkeys(name for names in named for name in names))


def texts_of(
    raw: Mapping[str, Sequence[Any]], fields: Sequence[str], columns: Mapping[str, str]
) -> dict[str, list[str]]:
    """Field -> its texts. columns: field -> column or pattern; a field that is not in it is its own column."""
    return {field: _texts(raw, columns.get(field, field)) for field in fields}


def _texts(raw: Mapping[str, Sequence[Any]], pattern: str) -> list[str]:
    names = _NAMED.findall(pattern)
    if not names:
        return list(raw[pattern])
    rows = zip(*(raw[name] for name in names), strict=True)
    shape = _NAMED.sub("{}", pattern)
    return [shape.format(*row) for row in rows]
