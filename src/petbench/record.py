"""The run record: what one run was, what it scored and what it cost; written last and atomically. Answers beside it."""

import ast
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from petbench.console import warn
from petbench.errors import UserError
from petbench.files import replacing, write_json

SCHEMA_VERSION = 1
RECORD_FILE = "record.json"
ANSWERS_FILE = "answers.npz"
Status = Literal["done", "failed", "diverged", "skipped", "interrupted"]


def _finite(values: Any) -> Any:
    """Plain values without NaN and infinity, at any depth: they are no JSON, and no number to compare by."""
    inside = (
        values.values() if isinstance(values, Mapping) else values if isinstance(values, list | tuple) else ()
    )
    for value in inside:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"holds {value}, which is no finite number")
        _finite(value)
    return values


Score = Annotated[float, Field(ge=-1 - 1e-6, le=1 + 1e-6)]  # a correlation may be off by a rounding
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]  # seconds, rates, percent
Values = Annotated[dict[str, Any], AfterValidator(_finite)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Headline(_Part):
    """The one number of the run: the task's headline metric on the report rows."""

    name: str
    value: Score
    split: str
    n: Count


class Metrics(_Part):
    """Every metric, by split; values in [-1, 1], never NaN."""

    selection: dict[str, Score] = {}
    report: dict[str, dict[str, Score]] = {}  # split -> metric -> value
    unparsable: dict[str, Count] = {}  # split -> generated answers that were no label
    warnings: tuple[str, ...] = ()


class Params(_Part):
    """Counts, in parameters. `tuned` = adapter + norm + other, what the method trains; `trainable` = tuned + head."""

    tuned: Count
    adapter: Count  # what the method adds
    norm: Count
    other: Count
    head: Count
    trainable: Count
    backbone: Count
    tuned_percent: Amount  # 100 * tuned / backbone
    trainable_percent: Amount  # 100 * trainable / backbone

    @model_validator(mode="before")
    @classmethod
    def _of_older_records(cls, values: Any) -> Any:
        """Records once named the percent after the adapter, though norms and other parts were in it."""
        if isinstance(values, dict) and "adapter_percent" in values:
            rest = {key: value for key, value in values.items() if key != "adapter_percent"}
            tuned = rest["adapter"] + rest["norm"] + rest["other"]
            return {"tuned": tuned, "tuned_percent": values["adapter_percent"], **rest}
        return values


class Cost(_Part):
    """What the run cost; seconds and bytes; null where it was not measured.

    Of a run that did not end, `train_seconds` is the whole time that it took: a failed trial has its price, too.
    """

    step_seconds_median: Amount | None = None
    train_seconds: Amount | None = None
    eval_seconds: Amount | None = None
    load_seconds: Amount | None = None
    examples_per_second: Amount | None = None
    tokens_per_second: Amount | None = None
    padding_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    peak_memory_bytes: Count | None = None
    adapter_bytes: Count | None = None
    lanes: Annotated[int, Field(ge=1)] = 1
    time_to_best_seconds: Amount | None = None
    latency_unmerged_ms: Amount | None = None
    latency_merged_ms: Amount | None = None


class Best(_Part):
    """Where the reported checkpoint was taken."""

    step: Count
    epoch: Amount


class Merge(_Part):
    """What merging changes: measured on the selection rows, null where it was not."""

    mergeable: bool
    max_abs_logit_change: Amount | None = None
    labels_flipped: Count | None = None


class Record(_Part):
    """`results/runs/<run_id>/record.json`."""

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    run_id: str
    status: Status
    reason: str | None = None  # why, when the status is not `done`
    task: str
    model: str  # label
    adapter: str  # label: the YAML's name, such as `krona` or `peft/lora`
    seed: int
    config: Values
    protocol: str
    metrics: Metrics = Metrics()
    headline: Headline | None = None
    params: Params | None = None
    cost: Cost = Cost()
    best: Best | None = None
    merge: Merge | None = None
    curve: tuple[dict[str, float], ...] = ()  # one entry an evaluation: step, epoch, seconds, loss, score
    provenance: Values = {}
    wandb: Values = {}


@dataclass(frozen=True)
class Answers:
    """What a run answered on one report split, row by row; m rows."""

    ids: NDArray[np.int64]  # (m,) the rows' `idx`
    labels: NDArray[np.float32]  # (m,) class codes, or the numbers of a regression
    answers: NDArray[np.float32]  # (m,) the same; -1 for a written answer that is no label
    logits: NDArray[np.float16] | None = None  # (m, classes), of a head or of the label strings


def run_folder(results_dir: str | Path, run_id: str) -> Path:
    """`<results_dir>/runs/<run_id>`."""
    return Path(results_dir) / "runs" / run_id


def write_record(record: Record, results_dir: str | Path) -> Path:
    """Write the record; the file's existence with status `done` is the definition of done."""
    path = run_folder(results_dir, record.run_id) / RECORD_FILE
    write_json(path, record.model_dump(mode="json"))
    return path


def read_record(folder: Path) -> Record | None:
    """The record in a run's folder, or None when there is none.

    Raises UserError on a broken one: no JSON, a value that cannot be, a number that is not finite, or the record of
    a run whose folder is another one.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        record = Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        wrong = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise UserError(
            f"{path} is not a petbench record (schema {SCHEMA_VERSION}): {wrong}. Move it away."
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    if record.run_id != folder.resolve().name:
        raise UserError(f"{path} is the record of run {record.run_id}, not of this folder. Move it away.")
    return record


def read_records(results_dir: str | Path) -> Iterator[Record]:
    """All records of a results folder, by run id. A broken one is reported on standard error and left out."""
    for path in sorted(Path(results_dir).glob(f"runs/*/{RECORD_FILE}")):
        try:
            record = read_record(path.parent)
        except UserError as error:
            warn(f"left out: {error}")
            continue
        if record is not None:
            yield record


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


def read_answers(folder: Path, split: str, logits: bool = True) -> Answers | None:
    """The answers that a run kept on a split; None where it kept none. Raises UserError on a broken file.

    logits: whether they are wanted, too; without them a file is read in half the time.
    """
    path = folder / ANSWERS_FILE
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as arrays:
            there = set(arrays.namelist())
            if f"{split}/ids.npy" not in there:
                return None
            ids, labels, answers = (
                _array(arrays.read(f"{split}/{n}.npy")) for n in ("ids", "labels", "answers")
            )
            odds = f"{split}/logits.npy"
            kept = _array(arrays.read(odds)) if logits and odds in there else None
    except (OSError, ValueError, KeyError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is not a file of answers: {error}. Move it away.") from error
    counts = {"ids": len(ids), "labels": len(labels), "answers": len(answers)}
    counts |= {} if kept is None else {"rows of logits": len(kept)}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"{path}: {found}. Move it away.")
    return Answers(ids, labels, answers, kept)


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
