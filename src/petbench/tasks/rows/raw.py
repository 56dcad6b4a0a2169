"""Raw columns: the values of a file or data set before any check, with the place of every row for messages."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from petbench.errors import UserError

# No tokenizer accepts half of a surrogate pair; a NUL means that the file is not UTF-8 text.
_NO_TEXT = {"\0": "a NUL character", "\ud800-\udfff": "half of a surrogate pair"}


@dataclass
class Raw:
    """Columns as read. lines: the line on which each row starts, or the row's number in a Parquet file. names: column
    -> class names, if the file itself has them."""

    path: str
    columns: dict[str, list[Any]]
    lines: list[int] = field(default_factory=list)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """`file, line 12`."""
        what = "row" if self.path.endswith(".parquet") else "line"
        return f"{self.path}, {what} {self.lines[row]}" if row < len(self.lines) else self.path


def with_names(codes: list[Any], names: Sequence[str] | None) -> list[Any]:
    """Class codes replaced by their names, if there are names; -1, which means no label, stays."""
    return [names[code] if code is not None and code >= 0 else code for code in codes] if names else codes


def no_column(place: str, name: str, there: Sequence[str], needs: str) -> UserError:
    """The error for a missing column."""
    tail = f" {needs}." if needs else ""
    return UserError(f"{place}: no column '{name}'; there: {', '.join(there) or 'nothing'}.{tail}")


def require_texts(raw: Raw, name: str) -> None:
    """Raise UserError for the first row of a column that is not a text, or has characters that are not text."""
    for row, text in enumerate(raw.columns[name]):
        if not isinstance(text, str):
            raise UserError(f"{raw.place(row)}: '{name}' is {_shown(text)}. Give a text in quotes.")
    odd = re.compile(f"[{''.join(_NO_TEXT)}]")
    for row, text in enumerate(raw.columns[name]):
        if text.isascii() and "\0" not in text:
            continue
        if found := odd.search(text):
            raise UserError(f"{raw.place(row)}: '{name}' holds {_named(found)}. Remove it.")


def _named(found: re.Match[str]) -> str:
    what = next(name for signs, name in _NO_TEXT.items() if re.match(f"[{signs}]", found[0]))
    return f"{what} (\\u{ord(found[0]):04x}, character {found.start() + 1})"


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:40]
