"""Rows that are not GLUE's, by use: what of train, validation and test is missing is cut from train."""

from collections.abc import Sequence

from petbench.config.sections import ProtocolSpec
from petbench.config.task import Task
from petbench.tasks.sampling import group_cut
from petbench.tasks.splits import Split, Splits

REPORT_FRACTION = 0.2  # of train, reported on where the files hold nothing else with labels
STRATA = 5  # parts of a number's range that every cut holds in their shares

Parts = tuple[Split, Split, dict[str, Split], list[str]]  # train, selection, report, marks


def own_cut(task: Task, splits: Splits, protocol: ProtocolSpec) -> Parts:
    """Train, selection and report rows under a protocol. Missing ones are cut from train: seeded, stratified, equal
    texts on one side. The marks say what was cut.

    petbench, glue_test: reported on test where it has labels, else on validation, else on a fifth of train; selected on
    validation where that is not reported, else on rows cut from train.
    compacter: reported on one half of the validation rows, selected on the other.
    glue_dev: selected and reported on validation.
    """
    train = splits.part("train")
    labelled = {name: part for name, part in splits.parts.items() if part.labels is not None}
    honest = protocol.name in ("petbench", "glue_test")
    name = next((n for n in ("test", "validation") if n in labelled and (honest or n != "test")), None)
    marks: list[str] = []
    if name is not None:
        report = labelled[name]
    else:
        name = "validation"
        train, report = cut_off(task, train, max(1, round(REPORT_FRACTION * len(train))), protocol)
        marks.append(f"{len(report)} rows to report on were cut from train")
    if protocol.name == "glue_dev":
        marks.append("selected and reported on the same rows")
        return train, report, {name: report}, marks
    if protocol.name == "compacter":
        report, selection = cut_off(task, report, len(report) // 2, protocol)
    elif name == "test" and "validation" in labelled:
        selection = labelled["validation"]
    else:
        train, selection = cut_off(task, train, selection_size(train, protocol), protocol)
    return train, selection, {name: report}, marks


def selection_size(train: Split, protocol: ProtocolSpec) -> int:
    """How many train rows pick the checkpoint."""
    return min(protocol.selection_max, max(1, round(protocol.selection_fraction * len(train))))


def cut_off(task: Task, whole: Split, size: int, protocol: ProtocolSpec) -> tuple[Split, Split]:
    """The rows that stay and `size` rows that are cut off: stratified, equal texts on one side."""
    kept, taken = group_cut(whole.rows(), strata_of(task, whole), size, protocol.split_seed)
    return whole.take(kept), whole.take(taken)


def strata_of(task: Task, rows: Split) -> Sequence[int] | Sequence[float]:
    """What a cut holds in its shares: the classes; of a number, parts of its range (STS-B's whole numbers)."""
    labels = rows.labels or []
    if not task.regression or task.glue is not None:
        return labels
    low, high = task.bounds
    return [min(STRATA - 1, int(STRATA * (label - low) / (high - low))) for label in labels]
