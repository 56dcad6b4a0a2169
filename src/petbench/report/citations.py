"""What a report reads from a method's YAML: BibTeX of its paper (`citation`), and its group (`family`)."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from petbench.config.tree import option_path, options, yaml_values
from petbench.errors import UserError
from petbench.report.layout import Report
from petbench.tasks.glue import bibtex_of

UNPUBLISHED = "unpublished"


@cache
def citation_of(adapter: str) -> tuple[str, ...] | None:
    """BibTeX entries of a choice of `adapter=`, or of the longest choice with which the name begins (`krona_b_half`
    counts as `krona_b`). Empty if the method is unpublished; None without such a choice or without its citation.

    Raises UserError for a `citation` that is neither BibTeX nor `unpublished` nor the name of a choice with one.
    """
    choice = _choice_of(adapter)
    return None if choice is None else _entries(choice, ())


@cache
def family_of(adapter: str) -> str:
    """The family of a method as in its YAML (`low-rank`, `prompts`, …); `other` if the YAML names none."""
    choice = _choice_of(adapter)
    return "other" if choice is None else str(_values(choice).get("family", "other"))


@cache
def _choice_of(adapter: str) -> str | None:
    known = [name for name in options("adapter") if adapter == name or adapter.startswith(f"{name}_")]
    return max(known, key=len) if known else None


@cache
def _values(choice: str) -> Mapping[str, Any]:
    return yaml_values(option_path("adapter", choice))


def _entries(choice: str, asked: tuple[str, ...]) -> tuple[str, ...] | None:
    """The entries of a choice. asked: the choices that refer to it, so that a circle is refused."""
    path = option_path("adapter", choice)
    given = _values(choice).get("citation")
    if given is None:
        return None
    found: list[str] = []
    for item in given if isinstance(given, list) else [given]:
        text = str(item).strip()
        if text.startswith("@"):
            found.append(text)
        elif text != UNPUBLISHED:
            there = text in options("adapter") and text not in (*asked, choice)
            others = _entries(text, (*asked, choice)) if there else None
            if others is None:
                raise UserError(
                    f"{path}: citation: got '{text}'. Legal: a BibTeX entry (@article{{…}}), {UNPUBLISHED}, or another "
                    "choice of adapter= with the same paper."
                )
            found += others
    return tuple(found)


def bibtex(methods: Iterable[str], tasks: Iterable[str]) -> str:
    """Every entry once, methods first; comments name methods without a paper and names without a known entry."""
    parts: list[str] = []
    unpublished, unknown = [], []
    for method in dict.fromkeys(methods):
        found = citation_of(method)
        if found is None:
            unknown.append(method)
        elif not found:
            unpublished.append(method)
        parts += found or ()
    for task in dict.fromkeys(tasks):
        if found_text := bibtex_of(task):
            parts += found_text.split("\n\n")
        else:
            unknown.append(task)
    if unpublished:
        parts.append(f"% Methods without a paper: {', '.join(unpublished)}")
    if unknown:
        parts.append(f"% No citation is known for: {', '.join(unknown)}")
    return "\n\n".join(dict.fromkeys(parts)) + "\n"


def report_bibtex(report: Report) -> str:
    """BibTeX of all methods and tasks in the report's tables."""
    methods = sorted({row.adapter for table in report.tables for row in table.rows})
    tasks = sorted({column.task for table in report.tables for column in table.columns})
    return bibtex(methods, tasks)
