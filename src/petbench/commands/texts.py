"""The texts of a run's report rows by row id, if those rows can be read on this machine."""

from collections.abc import Sequence

from pydantic import ValidationError

from petbench.config.sections import DataSpec
from petbench.config.task import task_in
from petbench.errors import UserError
from petbench.record import Record
from petbench.report.disagreement import Texts
from petbench.tasks.rows.load import load_splits


def label_names(record: Record) -> tuple[str, ...]:
    """The names of a task's classes in the order of their codes; empty for a task that is unknown here."""
    return task_in(record.config, record.task).labels


def texts_of(record: Record, ids: Sequence[int]) -> tuple[Texts, str]:
    """The texts of these rows of the run's headline split; if they are not available, an empty dict and the reason.

    The rows are sought where the run found them, then where PETBENCH_GLUE points; their digest must be the run's.
    """
    assert record.headline is not None
    task = task_in(record.config, record.task)
    split = record.headline.split
    reason = "the record does not say which rows it used"
    for more in ({}, {"dir": None}):
        try:
            data = DataSpec.model_validate({**record.config.get("data", {}), **more})
            found = load_splits(task, data)
            # Report rows that were cut from the user's own train rows keep the row ids of train.
            split = split if split in record.provenance.data.splits or task.glue is not None else "train"
            part = found.part(split)
        except UserError as error:
            reason = str(error).splitlines()[0]
            continue
        except ValidationError:
            continue
        if part.digest != record.provenance.data.splits.get(split):
            reason = f"the {split} rows of {found.location} differ from those of the run"
            continue
        wanted = set(ids)
        return {
            idx: dict(zip(part.texts, row, strict=True))
            for idx, row in zip(part.idx, part.rows(), strict=True)
            if idx in wanted
        }, ""
    return {}, reason
