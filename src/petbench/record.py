"""The run record: what one run was, what it scored and what it cost; written last and atomically."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from petbench.atomic import write_json
from petbench.errors import UserError

SCHEMA_VERSION = 1
RECORD_FILE = "record.json"
Status = Literal["done", "failed", "diverged", "skipped", "interrupted"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Headline(_Part):
    """The one number of the run: the task's headline metric on the report rows."""

    name: str
    value: float
    split: str
    n: int


class Metrics(_Part):
    """Every metric, by split; values in [-1, 1], never NaN."""

    selection: dict[str, float] = {}
    report: dict[str, dict[str, float]] = {}  # split -> metric -> value
    unparsable: dict[str, int] = {}  # split -> generated answers that were no label
    warnings: tuple[str, ...] = ()


class Params(_Part):
    """Counts, in parameters. `tuned` = adapter + norm + other, what the method trains; `trainable` = tuned + head."""

    tuned: int
    adapter: int  # what the method adds
    norm: int
    other: int
    head: int
    trainable: int
    backbone: int
    tuned_percent: float  # 100 * tuned / backbone
    trainable_percent: float  # 100 * trainable / backbone

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
    """What the run cost; seconds and bytes; null where it was not measured."""

    step_seconds_median: float | None = None
    train_seconds: float | None = None
    eval_seconds: float | None = None
    load_seconds: float | None = None
    examples_per_second: float | None = None
    tokens_per_second: float | None = None
    padding_fraction: float | None = None
    peak_memory_bytes: int | None = None
    adapter_bytes: int | None = None
    lanes: int = 1
    time_to_best_seconds: float | None = None
    latency_unmerged_ms: float | None = None
    latency_merged_ms: float | None = None


class Best(_Part):
    """Where the reported checkpoint was taken."""

    step: int
    epoch: float


class Merge(_Part):
    """What merging changes: measured on the selection rows, null where it was not."""

    mergeable: bool
    max_abs_logit_change: float | None = None
    labels_flipped: int | None = None


class Record(_Part):
    """`results/runs/<run_id>/record.json`."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    status: Status
    reason: str | None = None  # why, when the status is not `done`
    task: str
    model: str  # label
    adapter: str  # label: the YAML's name, such as `krona` or `peft/lora`
    seed: int
    config: dict[str, Any]
    protocol: str
    metrics: Metrics = Metrics()
    headline: Headline | None = None
    params: Params | None = None
    cost: Cost = Cost()
    best: Best | None = None
    merge: Merge | None = None
    curve: tuple[dict[str, float], ...] = ()  # one entry an evaluation: step, epoch, seconds, loss, score
    provenance: dict[str, Any] = {}
    wandb: dict[str, Any] = {}


def run_folder(results_dir: str | Path, run_id: str) -> Path:
    """`<results_dir>/runs/<run_id>`."""
    return Path(results_dir) / "runs" / run_id


def write_record(record: Record, results_dir: str | Path) -> Path:
    """Write the record; the file's existence with status `done` is the definition of done."""
    path = run_folder(results_dir, record.run_id) / RECORD_FILE
    write_json(path, record.model_dump(mode="json"))
    return path


def read_record(folder: Path) -> Record | None:
    """The record in a run's folder, or None when there is none. Raises UserError on a broken one."""
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"{path} is not a petbench record (schema {SCHEMA_VERSION}): {first}. Move it away."
        ) from error


def read_records(results_dir: str | Path) -> Iterator[Record]:
    """All records of a results folder, by run id."""
    for path in sorted(Path(results_dir).glob("runs/*/record.json")):
        record = read_record(path.parent)
        if record is not None:
            yield record
