"""Answers beside a record: what a run said of every report row, as arrays."""

import ast
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from petbench.errors import UserError
from petbench.files import replacing

ANSWERS_FILE = "answers.npz"
ALWAYS = ("ids.npy", "labels.npy", "answers.npy")
LOGITS = "logits.npy"
# What a file with wrong bits makes zipfile raise, by where they are: sizes, flags (encrypted, compressed by another
# method), the compressed stream, names; and what the header of an array makes the parser of literals raise.
UNREADABLE = (
    OSError, ValueError, KeyError, SyntaxError, EOFError, NotImplementedError, RuntimeError, OverflowError,
    MemoryError, TypeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What a run answered on one report split, row by row; m rows."""

    ids: NDArray[np.int64]  # (m,) the rows' `idx`
    labels: NDArray[np.float32]  # (m,) class codes, or the numbers of a regression
    answers: NDArray[np.float32]  # (m,) the same; -1 for a written answer that is not a label
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


def read_answers(folder: Path, split: str, *, logits: bool = True) -> Answers | None:
    """The answers that a run kept on a split; None where it kept none. Raises UserError on a broken file.

    logits: also the logits, which are most of the file; without them `Answers.logits` is None.
    """
    path = folder / ANSWERS_FILE
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(BytesIO(path.read_bytes())) as arrays:  # one reading instead of a dozen
            if any(info.comment for info in arrays.infolist()):
                raise ValueError("an entry has taken the next for its comment")
            there = _by_split(arrays.namelist())
            if split not in there:
                return None
            ids, labels, answers = (_array(arrays.read(f"{split}/{name}")) for name in ALWAYS)
            kept = _array(arrays.read(f"{split}/{LOGITS}")) if logits and LOGITS in there[split] else None
    except UNREADABLE as error:
        raise UserError(
            f"{path} is not a file of answers: {error or 'it ends too early'}. Move it away."
        ) from error
    counts = {"ids": len(ids), "labels": len(labels), "answers": len(answers)}
    counts |= {} if kept is None else {"rows of logits": len(kept)}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"{path}: {found}. Move it away.")
    return Answers(ids, labels, answers, kept)


def _by_split(names: Iterable[str]) -> Mapping[str, set[str]]:
    """The arrays of every split. Raises ValueError where one lacks some or has another: a name with a wrong bit."""
    there: dict[str, set[str]] = {}
    for name in names:
        split, _, array = name.partition("/")
        there.setdefault(split, set()).add(array)
    for split, arrays in there.items():
        if not set(ALWAYS) <= arrays <= {*ALWAYS, LOGITS}:
            raise ValueError(f"of '{split}' it holds {', '.join(sorted(arrays))}")
    return there


def _array(file: bytes) -> NDArray[Any]:
    """The array of an .npy file as `numpy.savez` writes it (version 1.0): a report reads thousands, and NumPy's own
    reader takes most of its time to parse their few different headers again. Raises ValueError on another file."""
    if file[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("an array that NumPy did not write")
    start = 10 + int.from_bytes(file[8:10], "little")
    kind, shape, order = _header(file[10:start])
    return np.frombuffer(file, kind, offset=start).reshape(shape, order=order)


@lru_cache(maxsize=512)
def _header(text: bytes) -> tuple[np.dtype[Any], tuple[int, ...], Literal["C", "F"]]:
    found = ast.literal_eval(text.decode("latin1").strip())
    return np.dtype(found["descr"]), found["shape"], "F" if found["fortran_order"] else "C"
