"""The user's own rows: the task that they define, their splits, and warnings about them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from petbench.config.sections import DataSpec
from petbench.config.task import Task
from petbench.errors import UserError
from petbench.record.metrics.table import FOR_CLASSES, FOR_NUMBERS
from petbench.tasks.rows.checks import checked_split, empty_text_notes, name_of, number_of
from petbench.tasks.rows.columns import texts_of
from petbench.tasks.rows.guess import class_names, columns_in, kind_of, same_columns
from petbench.tasks.rows.raw import Raw
from petbench.tasks.splits import Split, Splits

UNEVEN = 0.75  # share of the most frequent class above which a warning says to read macro-F1 beside accuracy
NAMED = 6  # number of classes that a line names

Say = Callable[[str], None]


def own_task(
    name: str, data: DataSpec, sample: Raw, read: Callable[[Task], Mapping[str, Raw]], say: Say
) -> Task:
    """The task that rows define: columns and kind as named or guessed, labels as found.

    sample: the first rows with all columns. read: the function that reads all rows of a task's columns. `say` is called
    with a line that says what was found. Raises UserError when a label is missing, when all labels are equal, and when
    a class has a single row.
    """
    columns = columns_in(sample, data)
    task = Task(name=name, text_fields=columns.texts, label=columns.label, label_range=(0.0, 1.0))
    raws = read(task)
    train = raws["train"]
    values = _known_labels(train, columns.label)
    kind = data.kind if data.kind != "auto" else kind_of(values, train.path, columns.label)
    say(
        f"{train.path}: text {' and '.join(columns.texts)}; label {columns.label}, "
        f"{_in_words(kind, values)}"
        + (
            " (guessed; data.text, data.label and data.kind fix it)"
            if columns.guessed or data.kind == "auto"
            else ""
        )
    )
    if twice := same_columns(train.columns, columns.texts):
        raise UserError(
            f"{train.path}: {twice}. Give one or two different ones as data.text=[COLUMN,COLUMN]."
        )
    if kind == "number":
        return _number_task(task, raws)
    names = train.names.get(columns.label) or class_names(values)
    _require_classes(train, columns.label, list(map(name_of, values)))
    return _with(task, labels=names, metrics=FOR_CLASSES)


def _with(task: Task, **fields: Any) -> Task:
    return Task.model_validate({**task.model_dump(), "headline": "", "label_range": None, **fields})


def _known_labels(raw: Raw, label: str) -> list[Any]:
    """The labels of train. Raises UserError for a row without a label."""
    values = raw.columns[label]
    for row, value in enumerate(values):
        if value is None or (isinstance(value, str) and not value.strip()):
            raise UserError(f"{raw.place(row)}: no label in '{label}'. Fill it in, or remove the row.")
        if isinstance(value, list | dict):
            raise UserError(
                f"{raw.place(row)}: the label in '{label}' is a {type(value).__name__}, not one value."
            )
    return values


def _in_words(kind: str, values: Sequence[Any]) -> str:
    counts = Counter(map(name_of, values))
    if kind == "number":
        numbers = [number for value in values if (number := number_of(value)) is not None]
        low, high = (f"{end:g}" for end in (min(numbers, default=0.0), max(numbers, default=0.0)))
        return f"a number from {low} to {high}, {len(counts):,} different"
    shown = [
        f"{repr(name) if ',' in name else name} {count / len(values):.0%}"
        for name, count in counts.most_common(NAMED)
    ]
    more = f", {len(counts) - NAMED} more" if len(counts) > NAMED else ""
    return f"{len(counts)} classes: {', '.join(shown)}{more}"


def _number_task(task: Task, raws: Mapping[str, Raw]) -> Task:
    """The task of a number: its range is that of all labels, its scale the mean and standard deviation of train's."""
    numbers: dict[str, list[float]] = {}
    for split, raw in raws.items():
        numbers[split] = []
        values = raw.columns.get(task.label, ())
        for row, value in enumerate(() if split == "test" and _without_labels(values) else values):
            number = number_of(value)
            if number is None:
                raise UserError(
                    f"{raw.place(row)}: the label {value!r} in '{task.label}' is not a number. Correct it, or give "
                    "data.kind=classes."
                )
            numbers[split].append(number)
    every = [number for values in numbers.values() for number in values]
    if min(every) == max(every):
        raise UserError(
            f"{raws['train'].path}: all labels in '{task.label}' are {every[0]:g}: nothing to learn."
        )
    train = numbers["train"]
    mean = sum(train) / len(train)
    spread = (sum((value - mean) ** 2 for value in train) / len(train)) ** 0.5 or 1.0
    ends = (min(every), max(every))
    return _with(task, metrics=FOR_NUMBERS, label_range=ends, scale=(mean, spread))


def _require_classes(raw: Raw, label: str, names: Sequence[str]) -> None:
    counts = Counter(names)
    if len(counts) == 1:
        raise UserError(
            f"{raw.path}: all {len(names):,} rows have one label in '{label}' ({names[0]}): there is nothing to tell "
            "apart. Name another column with data.label=COLUMN, or add rows of other classes."
        )
    single = [name for name, count in counts.items() if count == 1]
    if single:
        row = names.index(single[0])
        more = f" (so have {len(single) - 1} more classes)" if len(single) > 1 else ""
        raise UserError(
            f"{raw.place(row)}: class '{single[0]}' has one row{more}, which cannot be both learnt and tested. Add "
            "rows of it, put it into another class, or remove the row."
        )


def own_splits(task: Task, data: DataSpec, raws: Mapping[str, Raw], source: str, location: str) -> Splits:
    """Raw columns as splits, with warnings about them.

    Raises UserError on a label that the task does not have, and on a number of rows other than the one in the task's
    YAML (unless `data.allow_partial`).
    """
    parts = {}
    partial = [name for name, raw in raws.items() if task.rows.get(name, len(raw)) != len(raw)]
    if partial and not data.allow_partial:
        name = partial[0]
        raise UserError(
            f"{location}: {task.name} {name} has {len(raws[name])} rows, officially {task.rows[name]}. Get the whole "
            "split, or give data.allow_partial=true (the record then says so)."
        )
    for name, raw in raws.items():
        columns: dict[str, Sequence[Any]] = dict(texts_of(raw.columns, task.text_fields, task.columns))
        columns["idx"] = range(len(raw))
        if task.label in raw.columns and not (name == "test" and _without_labels(raw.columns[task.label])):
            columns["label"] = raw.columns[task.label]
            _require_known(task, name, raw)
        parts[name] = checked_split(task, name, columns, raw.place)
    notes = tuple(notes_on(task, parts))
    return Splits("own rows", source, location, parts, tuple(partial), notes)


def _without_labels(values: Sequence[Any]) -> bool:
    """Whether the label column of a test split means that it has no labels: all are empty, or -1 as on the hub."""
    return {name_of(value) for value in values} <= {"", "None", "-1"}


def _require_known(task: Task, name: str, raw: Raw) -> None:
    """Raise UserError for labels that are not among the task's; if the classes were guessed, not among train's."""
    if task.regression:
        return
    strange = Counter(
        found for value in raw.columns[task.label] if (found := name_of(value)) not in task.labels
    )
    if strange:
        label, count = strange.most_common(1)[0]
        row = next(n for n, value in enumerate(raw.columns[task.label]) if name_of(value) == label)
        raise UserError(
            f"{raw.place(row)}: label '{label}' ({count} rows of {name}) is not among "
            f"{'the labels' if name == 'train' else 'those of train'}: {', '.join(task.labels[:20])}. "
            "Correct it, move rows of it to train, or remove them."
        )


def notes_on(task: Task, parts: Mapping[str, Split]) -> list[str]:
    """Warnings on empty texts, on train rows that occur in another split, and on classes of very different size."""
    notes = [note for split in parts.values() for note in empty_text_notes(split)]
    train = parts["train"]
    seen = set(train.rows())
    for name, split in parts.items():
        if name != "train" and (again := sum(row in seen for row in split.rows())):
            notes.append(
                f"{again} of {len(split)} {name} rows are also in train: scores on them are too high"
            )
    if not task.regression and train.labels:
        counts = Counter(map(int, train.labels))
        (most, count), (least, fewest) = counts.most_common()[0], counts.most_common()[-1]
        if most != least and count > UNEVEN * len(train):
            notes.append(
                f"uneven classes: {task.labels[most]} is {count / len(train):.0%} of train, {task.labels[least]} has "
                f"{fewest} rows. Read macro_f1 beside accuracy; task.headline=macro_f1 picks by it"
            )
    return notes
