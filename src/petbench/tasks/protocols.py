"""Protocols: which rows are trained on, which choose the checkpoint and which are reported; equal for every method."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from petbench.config.sections import DataSpec, ProtocolSpec, TaskSpec
from petbench.config.task import Task
from petbench.errors import UserError
from petbench.tasks.glue import require_trainable
from petbench.tasks.own_cut import Parts, cut_off, own_cut, selection_size, strata_of
from petbench.tasks.sampling import paper_permutation, stratified_order
from petbench.tasks.splits import Split, Splits

SMALL_TRAIN = 10_000  # the Compacter protocol halves the validation set of tasks with fewer train rows
COMPACTER_SELECTION = 1000  # rows that the Compacter code takes from the train split of large tasks


@dataclass(frozen=True)
class Cut:
    """Rows by use. `report` maps official splits to rows; the run's headline score is that of the first.

    `ids` are GLUE's row numbers of every part: `train`, `selection`, `report/<split>`, `predict/<name>`;
    `origin` says which official split a part's rows come from. `marks` are what a table must say about the scores;
    `warnings` are those marks that are also printed before training.
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
        """The rows of every part, by the names that `ids` uses."""
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

    petbench: selection = rows cut from train (seeded, stratified, equal texts on the same side), report = validation.
    compacter: with fewer than 10,000 train rows, a seeded permutation halves validation into selection and report;
    otherwise selection = 1,000 train rows; for MNLI, selection = mismatched and report = matched.
    glue_dev: selection = report = validation, with a mark that says so.
    glue_test: as petbench, and test rows are predicted (`companions`: test rows of other tasks, such as ax for mnli).
    For rows that are not GLUE's, see `petbench.tasks.own_cut`.
    Finally `task.train_examples` and `data.max_train_examples` shorten train. Raises UserError on a missing
    split, a sample larger than train, and a part without rows.
    """
    require_trainable(task)
    use = _CUTS[protocol.name] if task.glue is not None else own_cut
    train, selection, report, marks = use(task, splits, protocol)
    predict: dict[str, Split] = {}
    if protocol.name == "glue_test":
        predict = _to_predict(task, splits) | dict(companions or {})
        also = task.glue.also if task.glue is not None else ()
        marks += [f"no {name} rows to predict" for name in also if name not in predict]
    train, more = _shortened(train, protocol, task, data)
    marks += more
    if splits.source == "toy":
        marks.append("toy rows")
    marks += [
        f"partial data: {name} has {len(splits.parts[name])} of {task.rows[name]} rows"
        for name in splits.partial
    ]
    warnings: list[str] = []
    for name, part in {"train": train, "selection": selection, **report}.items():
        _require_rows(name, part, task, splits, protocol)
        warnings += _one_label(name, part, task)
    marks += warnings
    return Cut(protocol.name, task.name, train, selection, report, predict, tuple(marks), tuple(warnings))


def _require_rows(name: str, part: Split, task: Task, splits: Splits, protocol: ProtocolSpec) -> None:
    """Raise UserError for a part without rows: nothing could be trained, chosen or reported on it."""
    if len(part):
        return
    whole = splits.part(part.name)
    different = len(set(whole.rows()))
    raise UserError(
        f"task={task.name} protocol={protocol.name}: the {name} part would be empty. Its split, {part.name}, has "
        f"{len(whole)} rows, {different} of them different (equal ones stay together). Give more rows, or another "
        "protocol."
    )


def _one_label(name: str, part: Split, task: Task) -> list[str]:
    """A warning for a part whose rows all have the same label: nothing can be learnt or measured on it."""
    labels = set(part.labels or ())
    if len(labels) != 1:
        return []
    (label,) = labels
    return [
        f"all {len(part)} {name} rows have one label ({task.labels[int(label)] if task.labels else label})"
    ]


def _to_predict(task: Task, splits: Splits) -> dict[str, Split]:
    """Test rows without labels: of a GLUE task all test splits, which must exist; of others, those that exist."""
    if task.glue is not None:
        return {name: splits.part(name) for name in task.test}
    there = {name: splits.parts[name] for name in task.test if name in splits.parts}
    return {name: split for name, split in there.items() if split.labels is None}


def _petbench(task: Task, splits: Splits, protocol: ProtocolSpec) -> Parts:
    whole = splits.part("train")
    kept, taken = cut_off(task, whole, selection_size(whole, protocol), protocol)
    report, marks = _validation(task, splits)
    return kept, taken, report, marks


def _glue_dev(task: Task, splits: Splits, protocol: ProtocolSpec) -> Parts:
    report, marks = _validation(task, splits)
    marks.append("selected and reported on the same rows")
    return splits.part("train"), next(iter(report.values())), report, marks


def _compacter(task: Task, splits: Splits, protocol: ProtocolSpec) -> Parts:
    whole = splits.part("train")
    if len(task.validation) == 2:  # MNLI
        matched, mismatched = (splits.part(name) for name in task.validation)
        return whole, mismatched, {matched.name: matched}, []
    official = splits.part(task.validation[0])
    if task.rows["train"] < SMALL_TRAIN:
        order = paper_permutation(len(official), protocol.split_seed)
        half = len(official) // 2
        return whole, official.take(order[:half]), {official.name: official.take(order[half:])}, []
    order = paper_permutation(len(whole), protocol.split_seed)
    # Toy and partial splits can be too short for 1,000 rows.
    size = min(COMPACTER_SELECTION, max(1, len(whole) // 10))
    return whole.take(order[size:]), whole.take(order[:size]), {official.name: official}, []


_CUTS = {"petbench": _petbench, "glue_test": _petbench, "glue_dev": _glue_dev, "compacter": _compacter}


def _validation(task: Task, splits: Splits) -> tuple[dict[str, Split], list[str]]:
    """The official validation splits. The first must exist; a mark says which of the others is missing."""
    first, *others = task.validation
    report, marks = {first: splits.part(first)}, []
    for name in others:
        if name in splits.parts:
            report[name] = splits.parts[name]
        else:
            marks.append(f"{name} is not in {splits.location}")
    return report, marks


def _shortened(
    train: Split, protocol: ProtocolSpec, task: TaskSpec, data: DataSpec
) -> tuple[Split, list[str]]:
    """Train, shortened by `task.train_examples` and `data.max_train_examples`, and marks that say so."""
    marks = []
    wanted = task.train_examples
    if wanted is not None:
        if wanted > len(train):
            raise UserError(
                f"task.train_examples={wanted}: {task.name} has {len(train)} train rows under "
                f"protocol={protocol.name}. Legal: 1 to {len(train)}."
            )
        train = train.take(stratified_order(strata_of(task, train), task.sample_seed)[:wanted])
        marks.append(f"{wanted} train examples")
    limit = data.max_train_examples
    if limit is not None and limit < len(train):
        train = train.take(stratified_order(strata_of(task, train), protocol.split_seed)[:limit])
        marks.append(f"at most {limit} train rows")
    return train, marks
