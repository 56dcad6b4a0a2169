"""Texts as Markdown: docstrings, blocks of code, tables."""

import re
from collections.abc import Sequence
from textwrap import dedent


def prose(docstring: str) -> str:
    """A docstring: paragraphs that are indented by four are code; in the others no sign of Markdown but ` is read."""
    paragraphs = re.split(r"\n\n+", docstring.strip("\n"))
    return "\n\n".join(block(dedent(p), "text") if p.startswith("    ") else _plain(p) for p in paragraphs)


def _plain(text: str) -> str:
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<\[\]|])", r"\\\1", part) for part in parts)


def block(text: str, language: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> str:
    """A table whose last columns hold numbers."""
    marks = ["---"] * (len(heads) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, marks, *rows))
