"""Train, selection and report rows of a task that is not GLUE's: missing parts are cut from its train rows."""

from collections.abc import Sequence

from petbench.config.sections import ProtocolSpec
from petbench.config.task import Task
from petbench.tasks.sampling import group_cut
from petbench.tasks.splits import Split, Splits

REPORT_FRACTION = 0.2  # share of train that is reported on if no other split has labels
STRATA = 5  # equal parts of a number's range; a cut holds rows of each in proportion

Parts = tuple[Split, Split, dict[str, Split], list[str]]  # train, selection, report, marks


def own_cut(task: Task, splits: Splits, protocol: ProtocolSpec) -> Parts:
    """Train, selection and report rows under a protocol, and marks that say what was cut.

    A missing part is cut from train: seeded, stratified, rows with equal texts all on the same side.
    petbench, glue_test: report = test if it has labels, else validation, else a fifth of train; selection = validation
    if that is not the report, else rows cut from train.
    compacter: report = one half of the validation rows, selection = the other half.
    glue_dev: selection = report = validation.
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
    """The number of train rows that are set aside to choose the checkpoint."""
    return min(protocol.selection_max, max(1, round(protocol.selection_fraction * len(train))))


def cut_off(task: Task, whole: Split, size: int, protocol: ProtocolSpec) -> tuple[Split, Split]:
    """The rows that stay, and `size` rows that are cut off: stratified, equal texts all on the same side."""
    kept, taken = group_cut(whole.rows(), strata_of(task, whole), size, protocol.split_seed)
    return whole.take(kept), whole.take(taken)


def strata_of(task: Task, rows: Split) -> Sequence[int] | Sequence[float]:
    """The strata that a cut holds in proportion: classes, or parts of a number's range (for STS-B, whole numbers)."""
    labels = rows.labels or []
    if not task.regression or task.glue is not None:
        return labels
    low, high = task.bounds
    return [min(STRATA - 1, int(STRATA * (label - low) / (high - low))) for label in labels]
