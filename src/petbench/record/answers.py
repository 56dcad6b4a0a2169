"""The answers file beside a record: what a run answered on every report row, as arrays."""

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
# What zipfile raises on a corrupt file, depending on which bits are wrong (sizes, flags, the compressed stream, names),
# and what `ast.literal_eval` raises on a corrupt array header.
UNREADABLE = (
    OSError, ValueError, KeyError, SyntaxError, EOFError, NotImplementedError, RuntimeError, OverflowError,
    MemoryError, TypeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What a run answered on the m rows of one report split."""

    ids: NDArray[np.int64]  # (m,) the rows' `idx`
    labels: NDArray[np.float32]  # (m,) class codes, or the numbers of a regression
    answers: NDArray[np.float32]  # (m,) as the labels; -1 for a generated answer that is not a label
    logits: NDArray[np.float16] | None = None  # (m, classes), from the head or from scoring the label strings


def write_answers(folder: Path, splits: Mapping[str, Answers]) -> Path:
    """Write `answers.npz` in a run's folder: arrays `<split>/ids`, `/labels`, `/answers` and, if any, `/logits`.

    The file takes a few kilobytes, can be read with NumPy alone, and is committed with the records.
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
    """The answers that a run stored for a split; None when it stored none. Raises UserError on a broken file.

    logits: whether to read the logits, too, which are most of the file; otherwise `Answers.logits` is None.
    """
    path = folder / ANSWERS_FILE
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(BytesIO(path.read_bytes())) as arrays:  # one read of the file instead of a dozen
            if any(info.comment for info in arrays.infolist()):
                raise ValueError("an entry of the zip file has a comment, which petbench never writes")
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
    """The arrays of every split. Raises ValueError when a split lacks an array or has one of an unknown name."""
    there: dict[str, set[str]] = {}
    for name in names:
        split, _, array = name.partition("/")
        there.setdefault(split, set()).add(array)
    for split, arrays in there.items():
        if not set(ALWAYS) <= arrays <= {*ALWAYS, LOGITS}:
            raise ValueError(f"for split '{split}' it holds the arrays {', '.join(sorted(arrays))}")
    return there


def _array(file: bytes) -> NDArray[Any]:
    """The array of an .npy file, version 1.0, as `numpy.savez` writes it. Raises ValueError on any other file.

    A report reads thousands of them: NumPy's own reader would spend most of its time on parsing the same few headers.
    """
    if file[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("an array in it is not in NumPy's .npy format, version 1.0")
    start = 10 + int.from_bytes(file[8:10], "little")
    kind, shape, order = _header(file[10:start])
    return np.frombuffer(file, kind, offset=start).reshape(shape, order=order)


@lru_cache(maxsize=512)
def _header(text: bytes) -> tuple[np.dtype[Any], tuple[int, ...], Literal["C", "F"]]:
    found = ast.literal_eval(text.decode("latin1").strip())
    return np.dtype(found["descr"]), found["shape"], "F" if found["fortran_order"] else "C"
