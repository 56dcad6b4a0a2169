"""Answers beside a record: what a run said of every report row, as arrays."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from petbench.errors import UserError
from petbench.files import replacing

ANSWERS_FILE = "answers.npz"


@dataclass(frozen=True)
class Answers:
    """What a run answered on one report split, row by row; m rows."""

    ids: NDArray[np.int64]  # (m,) the rows' `idx`
    labels: NDArray[np.float32]  # (m,) class codes, or the numbers of a regression
    answers: NDArray[np.float32]  # (m,) the same; -1 for a written answer that is no label
    logits: NDArray[np.float16] | None = None  # (m, classes), of a head or of the label strings


def write_answers(folder: Path, splits: Mapping[str, Answers]) -> Path:
    """`answers.npz` in a run's folder: arrays `<split>/ids`, `/labels`, `/answers` and, where there are, `/logits`.

    A few kilobytes a run, readable with NumPy alone; kept with committed records.
    """
    arrays = {
        f"{split}/{name}": value
        for split, kept in splits.items()
        for name, value in vars(kept).items()
        if value is not None
    }
    path = folder / ANSWERS_FILE
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return path


def read_answers(folder: Path, split: str) -> Answers | None:
    """The answers that a run kept on a split; None where it kept none. Raises UserError on a broken file."""
    path = folder / ANSWERS_FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if f"{split}/ids" not in arrays:
                return None
            logits = arrays.get(f"{split}/logits")
            ids, labels, answers = (arrays[f"{split}/{name}"] for name in ("ids", "labels", "answers"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a file of answers: {error}. Move it away.") from error
    if not len(ids) == len(labels) == len(answers):
        raise UserError(
            f"{path}: {len(ids)} ids, {len(labels)} labels, {len(answers)} answers. Move it away."
        )
    return Answers(ids, labels, answers, logits)
