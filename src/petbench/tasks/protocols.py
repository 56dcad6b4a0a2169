"""Which rows train, which pick the checkpoint and which are reported: the same for every method."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from petbench.config.sections import DataSpec, ProtocolSpec, TaskSpec
from petbench.errors import UserError
from petbench.tasks.glue import Task, require_trainable, task_named
from petbench.tasks.sampling import group_cut, paper_permutation, stratified_order
from petbench.tasks.splits import Split, Splits

COMPACTER_SELECTION = 1000  # rows that the Compacter code takes from the train split of large tasks


@dataclass(frozen=True)
class Cut:
    """Rows by use. `report` is by official split; the headline is that of its first entry.

    `ids` are GLUE's row numbers of every part: `train`, `selection`, `report/<split>`, `predict/<name>`;
    `origin` says which official split a part's rows come from. `marks` is what a reader must know; `warnings`
    are those of them that a person should hear before training.
    """

    protocol: str
    task: str
    train: Split
    selection: Split
    report: dict[str, Split]
    predict: dict[str, Split] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def headline_split(self) -> str:
        """The report split whose score is the run's (MNLI: matched)."""
        return next(iter(self.report))

    def parts(self) -> dict[str, Split]:
        """Every part by its name in `ids`."""
        return {
            "train": self.train,
            "selection": self.selection,
            **{f"report/{name}": split for name, split in self.report.items()},
            **{f"predict/{name}": split for name, split in self.predict.items()},
        }

    @property
    def ids(self) -> dict[str, list[int]]:
        """GLUE's row numbers of every part."""
        return {name: split.idx for name, split in self.parts().items()}

    @property
    def origin(self) -> dict[str, str]:
        """The official split that each part's rows come from."""
        return {name: split.name for name, split in self.parts().items()}


def cut(
    splits: Splits,
    protocol: ProtocolSpec,
    task: TaskSpec,
    data: DataSpec,
    companions: Mapping[str, Split] | None = None,
) -> Cut:
    """Rows by use, under a protocol. Depends on rows and these specs only, so it is equal for every method.

    petbench: selection from train (seeded, stratified, equal texts on one side), report = validation.
    compacter: tasks under 10,000 train rows: a seeded permutation halves validation; larger ones: 1,000 train
    rows select; MNLI: selected on mismatched, reported on matched.
    glue_dev: selected and reported on validation, and marked so.
    glue_test: as petbench, and test rows are predicted (`companions`: rows of other tasks, mnli's ax).
    Then `task.train_examples` and `data.max_train_examples` shorten train. Raises UserError on a missing
    split, a sample larger than train, and a part without rows.
    """
    known = task_named(task.name)
    require_trainable(known)
    train, selection, report, marks = _CUTS[protocol.name](known, splits, protocol)
    predict: dict[str, Split] = {}
    if protocol.name == "glue_test":
        predict = {name: splits.part(name) for name in known.test} | dict(companions or {})
        marks += [f"no {name} rows to predict" for name in known.predict_also if name not in predict]
    train, more = _shortened(train, known, protocol, task, data)
    marks += more
    if splits.source == "toy":
        marks.append("toy rows")
    marks += [
        f"partial data: {name} has {len(splits.parts[name])} of {known.rows[name]} rows"
        for name in splits.partial
    ]
    warnings: list[str] = []
    for name, part in {"train": train, "selection": selection, **report}.items():
        _require_rows(name, part, known, splits, protocol)
        warnings += _one_label(name, part, known)
    marks += warnings
    return Cut(protocol.name, known.name, train, selection, report, predict, tuple(marks), tuple(warnings))


def _require_rows(name: str, part: Split, task: Task, splits: Splits, protocol: ProtocolSpec) -> None:
    """Raise UserError for a part without rows: nothing could be trained, chosen or reported on it."""
    if len(part):
        return
    whole = splits.part(part.name)
    different = len(set(whole.rows()))
    raise UserError(
        f"task={task.name} protocol={protocol.name}: the {name} part would be empty. Its split, {part.name}, has "
        f"{len(whole)} rows, {different} of them different (equal ones stay on one side). Give more rows, or another "
        "protocol."
    )


def _one_label(name: str, part: Split, task: Task) -> list[str]:
    """A line for a part whose rows all have one label: nothing can be learnt or told apart there."""
    labels = set(part.labels or ())
    if len(labels) != 1:
        return []
    (label,) = labels
    return [
        f"all {len(part)} {name} rows have one label ({task.labels[int(label)] if task.labels else label})"
    ]


_Parts = tuple[Split, Split, dict[str, Split], list[str]]


def _petbench(task: Task, splits: Splits, protocol: ProtocolSpec) -> _Parts:
    whole = splits.part("train")
    size = min(protocol.selection_max, max(1, round(protocol.selection_fraction * len(whole))))
    kept, taken = group_cut(whole.rows(), whole.labels or [], size, protocol.split_seed)
    report, marks = _validation(task, splits)
    return whole.take(kept), whole.take(taken), report, marks


def _glue_dev(task: Task, splits: Splits, protocol: ProtocolSpec) -> _Parts:
    report, marks = _validation(task, splits)
    marks.append("selected and reported on the same rows")
    return splits.part("train"), next(iter(report.values())), report, marks


def _compacter(task: Task, splits: Splits, protocol: ProtocolSpec) -> _Parts:
    whole = splits.part("train")
    if task.name == "mnli":
        matched, mismatched = (splits.part(name) for name in task.validation)
        return whole, mismatched, {matched.name: matched}, []
    official = splits.part(task.validation[0])
    if task.small:
        order = paper_permutation(len(official), protocol.split_seed)
        half = len(official) // 2
        return whole, official.take(order[:half]), {official.name: official.take(order[half:])}, []
    order = paper_permutation(len(whole), protocol.split_seed)
    # Toy and partial splits can be too short for 1,000 rows.
    size = min(COMPACTER_SELECTION, max(1, len(whole) // 10))
    return whole.take(order[size:]), whole.take(order[:size]), {official.name: official}, []


_CUTS = {"petbench": _petbench, "glue_test": _petbench, "glue_dev": _glue_dev, "compacter": _compacter}


def _validation(task: Task, splits: Splits) -> tuple[dict[str, Split], list[str]]:
    """The official validation splits. The first must be there; another that is not is marked."""
    first, *others = task.validation
    report, marks = {first: splits.part(first)}, []
    for name in others:
        if name in splits.parts:
            report[name] = splits.parts[name]
        else:
            marks.append(f"{name} is not in {splits.location}")
    return report, marks


def _shortened(
    train: Split, known: Task, protocol: ProtocolSpec, task: TaskSpec, data: DataSpec
) -> tuple[Split, list[str]]:
    """Train after the low-resource sample and the quick-look limit, and their marks."""
    marks = []
    wanted = task.train_examples
    if wanted is not None:
        if wanted > len(train):
            raise UserError(
                f"task.train_examples={wanted}: {known.name} has {len(train)} train rows under "
                f"protocol={protocol.name}. Legal: 1 to {len(train)}."
            )
        train = train.take(stratified_order(train.labels or [], task.sample_seed)[:wanted])
        marks.append(f"{wanted} train examples")
    limit = data.max_train_examples
    if limit is not None and limit < len(train):
        train = train.take(stratified_order(train.labels or [], protocol.split_seed)[:limit])
        marks.append(f"at most {limit} train rows")
    return train, marks
