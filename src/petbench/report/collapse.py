"""A sentence on a finished run that learnt nothing, from its stored answers and its majority class."""

from pathlib import Path

import numpy as np

from petbench.errors import UserError
from petbench.record import Record, read_answers
from petbench.record.metrics.by_row import NO_LABEL
from petbench.record.units import score
from petbench.tasks.glue import TASKS


def nothing_learnt(record: Record, folder: Path) -> str | None:
    """`collapsed: all 128 answers are 'entailment'; the majority class alone scores 52.3`, or that the accuracy is
    below the majority class; None for a run that learnt something. folder: the run's."""
    if record.status != "done" or record.headline is None:
        return None
    share = majority(record)
    if record.collapsed:
        beside = "" if share is None else f"; the majority class alone scores {score(share)}"
        return f"collapsed: {one_answer(record, folder) or 'the answers do not depend on the rows'}{beside}"
    accuracy = record.metrics.report.get(record.headline.split, {}).get("accuracy")
    if share is None or accuracy is None or accuracy >= share:
        return None
    return f"accuracy {score(accuracy)} is below the majority class, {score(share)}: little was learnt"


def learnt(record: Record) -> bool:
    """Whether a finished run does better than one answer for all rows, as far as its report rows tell."""
    share = majority(record)
    if record.headline is None or record.collapsed:
        return False
    accuracy = record.metrics.report.get(record.headline.split, {}).get("accuracy")
    return share is None or accuracy is None or accuracy > share


def majority(record: Record) -> float | None:
    """The share of the most frequent label among the report rows; None for a regression."""
    if record.headline is None:
        return None
    return record.provenance.data.majority.get(record.headline.split)


def one_answer(record: Record, folder: Path) -> str | None:
    """`all 128 answers are 'entailment'`; None when the answers differ or were not stored."""
    if record.headline is None:
        return None
    try:
        kept = read_answers(folder, record.headline.split, logits=False)
    except UserError:  # the report says what is wrong with the file
        return None
    if kept is None or len(np.unique(kept.answers)) != 1:
        return None
    answer = float(kept.answers[0])
    labels = record.config.get("task", {}).get("labels") or (
        TASKS[record.task].labels if record.task in TASKS else ()
    )
    name = f"{answer:g}"
    if answer == NO_LABEL and labels:
        name = "no label"
    elif labels:
        name = f"'{labels[int(answer)]}'"
    return f"all {len(kept.answers):,} answers are {name}"
