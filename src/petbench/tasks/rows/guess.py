"""Guess which columns of a file are texts, which is the label, and its kind. Every guess is printed to the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from petbench.config.sections import DataSpec
from petbench.errors import UserError, nearest
from petbench.tasks.rows.checks import name_of, number_of
from petbench.tasks.rows.columns import columns_of
from petbench.tasks.rows.raw import Raw

# Names of columns, in lower case, the likeliest first.
LABELS = (
    *(
        "label",
        "labels",
        "target",
        "class",
        "category",
        "gold_label",
        "gold",
        "y",
        "score",
        "rating",
        "stars",
    ),
    *("sentiment", "intent", "topic", "quality"),
)
PAIRS = (
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text1", "text2")),
    *(("question", "sentence"), ("question", "answer"), ("question", "passage"), ("query", "document")),
    *(("title", "body"), ("title", "text"), ("subject", "body"), ("text_a", "text_b"), ("s1", "s2")),
)
ALONE = ("text", "sentence", "review", "content", "comment", "body", "message", "document", "utterance")
NUMBERS = (
    "id",
    "idx",
    "index",
    "guid",
    "uid",
    "uuid",
    "row",
    "unnamed: 0",
    "",
)  # columns that number the rows, which are neither text nor label
MOST_CLASSES = (
    20  # labels that are all whole numbers are classes up to this many different ones, otherwise a number
)
NAMES_SHARE = 0.5  # different names per row; with more, the column does not hold classes
Kind = Literal["classes", "number"]


@dataclass(frozen=True)
class Columns:
    """The columns of a task; `guessed`: whether any of them was guessed."""

    texts: tuple[str, ...]
    label: str
    guessed: bool


def columns_in(sample: Raw, data: DataSpec) -> Columns:
    """The columns that the user named, and guesses for the others from the first rows of a file.

    Raises UserError for a named column that does not exist, and when there is no single best guess.
    """
    there = list(sample.columns)
    for key, names in (("text", data.text or ()), ("label", (data.label,) if data.label else ())):
        for name in names:
            if name not in there:
                hint = nearest(name, there)
                raise UserError(
                    f"data.{key}: {sample.path} has no column '{name}'.{hint} There: {_list(there)}."
                )
    if data.label is not None and data.label in (data.text or ()):
        raise UserError(f"data.label: got '{data.label}', which is in data.text. Give two different columns.")
    label = data.label or _label(sample, data.text or ())
    texts = data.text or _texts(sample, label)
    return Columns(tuple(texts), label, data.text is None or data.label is None)


def _label(sample: Raw, texts: Sequence[str]) -> str:
    rest = [name for name in sample.columns if name not in texts]
    by_name = {name.strip().lower(): name for name in rest}
    for name in LABELS:
        if name in by_name:
            return by_name[name]
    few = [
        name for name in rest if name.strip().lower() not in NUMBERS and _like_a_label(sample.columns[name])
    ]
    if len(few) == 1:
        return few[0]
    why = f"it may be {_list(few)}" if few else "no column looks like one"
    raise UserError(
        f"{sample.path}: which column is the label? {why}; there: {_list(list(sample.columns))}. "
        "Give it as data.label=COLUMN."
    )


def _texts(sample: Raw, label: str) -> tuple[str, ...]:
    rest = [name for name in sample.columns if name != label and name.strip().lower() not in NUMBERS]
    rest = [name for name in rest if _like_a_text(sample.columns[name])]
    by_name = {name.strip().lower(): name for name in rest}
    for pair in PAIRS:
        if all(name in by_name for name in pair):
            return tuple(by_name[name] for name in pair)
    if len(rest) > 1 and (alone := [by_name[name] for name in ALONE if name in by_name]):
        return (alone[0],)
    prose = [name for name in rest if not _like_a_label(sample.columns[name])] or rest
    if len(prose) in (1, 2):
        return tuple(prose)
    why = f"it may be {_list(prose)}" if prose else "no column holds text"
    raise UserError(
        f"{sample.path}: which columns are the text? {why}; there: {_list(list(sample.columns))}. "
        "Give one or two as data.text=[COLUMN,COLUMN]."
    )


def _like_a_text(column: Sequence[Any]) -> bool:
    values = [value for value in column if value is not None]
    return (
        bool(values)
        and all(isinstance(value, str) for value in values)
        and not all(number_of(value) is not None for value in values if value)
    )


def _like_a_label(column: Sequence[Any]) -> bool:
    """Whether the values of a column are short and each occurs twice or more on average, or all are numbers."""
    values = [name_of(value) for value in column if value is not None]
    different = set(values)
    if len(different) < 2 or any(len(value.split()) > 4 for value in different):
        return False
    return 2 * len(different) <= len(values) or all(number_of(value) is not None for value in column)


def kind_of(values: Sequence[Any], place: str, column: str) -> Kind:
    """Whether labels are classes or a number. Numbers with a fraction, or more than 20 different numbers, are a number.

    Raises UserError for names of which most occur once: they are not classes.
    """
    numbers = [None if isinstance(value, bool) else number_of(value) for value in values]
    different = {name_of(value) for value in values}
    if None not in numbers:
        whole = all(float(number or 0).is_integer() for number in numbers)
        return "classes" if whole and len(different) <= MOST_CLASSES else "number"
    if len(different) > max(2, NAMES_SHARE * len(values)):
        raise UserError(
            f"{place}: the label column '{column}' has {len(different):,} different values in {len(values):,} rows, "
            "so it does not hold classes. Name another column with data.label=COLUMN."
        )
    return "classes"


def class_names(values: Sequence[Any]) -> tuple[str, ...]:
    """The names of the classes in code order: numbers by size, other names in alphabetical order."""
    names = {name_of(value) for value in values}
    if all(number_of(name) is not None for name in names):
        return tuple(sorted(names, key=float))
    return tuple(sorted(names))


def same_columns(columns: Mapping[str, Sequence[Any]], texts: Sequence[str]) -> str | None:
    """A message if the two text columns are equal in every row; otherwise None."""
    names = columns_of(texts, {})
    if len(names) == 2 and columns[names[0]] == columns[names[1]]:
        return f"the columns {names[0]} and {names[1]} hold the same in every row"
    return None


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" if name.strip() != name or not name else name for name in names) or "nothing"
