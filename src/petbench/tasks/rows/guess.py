"""Guesses, each of them said: which columns of a file are texts, which is the label, and what kind of label it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from petbench.config.sections import DataSpec
from petbench.errors import UserError, nearest
from petbench.tasks.rows.checks import name_of, number_of
from petbench.tasks.rows.columns import columns_of
from petbench.tasks.rows.raw import Raw

# Names of columns, in lower case, the likelier first.
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
)  # what numbers rows, says nothing
MOST_CLASSES = 20  # of labels that are all whole numbers; more are a number
NAMES_SHARE = 0.5  # different names among the rows; more, and it is not a class
Kind = Literal["classes", "number"]


@dataclass(frozen=True)
class Columns:
    """Which columns a task is made of; `guessed`: whether anything of it is a guess."""

    texts: tuple[str, ...]
    label: str
    guessed: bool


def columns_in(sample: Raw, data: DataSpec) -> Columns:
    """The columns that the user named, and guesses for the rest from the first rows of a file.

    Raises UserError where a named column is not there, and where a guess would be no better than chance.
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
    why = f"{_list(few)} may be it" if few else "no column looks like one"
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
    why = f"{_list(prose)} may be it" if prose else "no column holds text"
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
    """Whether a column's values are short and come again and again, or are numbers."""
    values = [name_of(value) for value in column if value is not None]
    different = set(values)
    if len(different) < 2 or any(len(value.split()) > 4 for value in different):
        return False
    return 2 * len(different) <= len(values) or all(number_of(value) is not None for value in column)


def kind_of(values: Sequence[Any], place: str, column: str) -> Kind:
    """Whether labels are classes or a number: numbers with a fraction, or more than 20 different ones, are a number.

    Raises UserError for names of which most stand there once: they are no classes.
    """
    numbers = [None if isinstance(value, bool) else number_of(value) for value in values]
    different = {name_of(value) for value in values}
    if None not in numbers:
        whole = all(float(number or 0).is_integer() for number in numbers)
        return "classes" if whole and len(different) <= MOST_CLASSES else "number"
    if len(different) > max(2, NAMES_SHARE * len(values)):
        raise UserError(
            f"{place}: the label column '{column}' has {len(different):,} different values in {len(values):,} rows, "
            "so it holds no classes. Name another with data.label=COLUMN."
        )
    return "classes"


def class_names(values: Sequence[Any]) -> tuple[str, ...]:
    """The names of the classes in code order: numbers by size, other names as sorted."""
    names = {name_of(value) for value in values}
    if all(number_of(name) is not None for name in names):
        return tuple(sorted(names, key=float))
    return tuple(sorted(names))


def same_columns(columns: Mapping[str, Sequence[Any]], texts: Sequence[str]) -> str | None:
    """A line where the two text columns hold the same in every row."""
    names = columns_of(texts, {})
    if len(names) == 2 and columns[names[0]] == columns[names[1]]:
        return f"the columns {names[0]} and {names[1]} hold the same in every row"
    return None


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" if name.strip() != name or not name else name for name in names) or "nothing"
