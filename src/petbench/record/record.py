"""The record of one run: its settings, its scores and its costs."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, field_validator

from petbench.record.metrics.table import one_answer
from petbench.record.parts import Best, Cost, Digest, Headline, Merge, Metrics, Params, Part, Point, WandbRun
from petbench.record.provenance import Provenance

SCHEMA_VERSION = 1
Status = Literal["done", "failed", "diverged", "skipped", "interrupted", "paused"]


def _finite(values: Any) -> Any:
    """The values, if no number at any depth is NaN or infinite: JSON has no such numbers. Raises ValueError."""
    inside = (
        values.values() if isinstance(values, Mapping) else values if isinstance(values, list | tuple) else ()
    )
    for value in inside:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"holds {value}, which is not a finite number")
        _finite(value)
    return values


class Record(Part):
    """`results/runs/<run_id>/record.json`."""

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    run_id: str
    status: Status
    reason: str | None = None  # why, when the status is not `done`
    date: AwareDatetime | None = None  # when the run ended; null in older records
    task: str
    model: str  # label
    adapter: str  # label: the YAML's name, such as `krona` or `peft/lora`
    seed: int
    config: Annotated[dict[str, Any], AfterValidator(_finite)]
    protocol: str
    metrics: Metrics = Metrics()
    headline: Headline | None = None
    params: Params | None = None
    cost: Cost = Cost()
    best: Best | None = None
    merge: Merge | None = None
    adapter_sha256: Digest | None = None  # of `adapter/adapter.safetensors`
    changes: tuple[str, ...] = ()  # where the run departed from its config: one sentence each
    curve: tuple[Point, ...] = ()  # one entry for each evaluation
    provenance: Provenance = Provenance()
    wandb: WandbRun | None = None

    @field_validator("wandb", mode="before")
    @classmethod
    def _no_wandb_run(cls, value: Any) -> Any:
        """Older records hold an empty mapping."""
        return None if value == {} else value

    @property
    def is_trial(self) -> bool:
        """Whether the run was a trial of a tuning sweep, or a shortened run of `sweep=choose`: not a result."""
        tuning = self.provenance.tuning
        return tuning is not None and tuning.role != "final"

    @property
    def is_cut(self) -> bool:
        """Whether it was a shortened run of `sweep=choose`, which no tuning budget counts."""
        return self.is_trial and self.provenance.tuning is not None and self.provenance.tuning.role == "cut"

    @property
    def collapsed(self) -> bool:
        """Whether a finished run learnt nothing: it gives every row of a report split the same answer.

        `metrics.constant` says so. Older records lack that field; they are judged by a metric's value, as its
        `collapse` in the metric table says, such as a Matthews correlation of exactly 0.
        """
        if self.status != "done":
            return False
        for split, values in self.metrics.report.items():
            if split in self.metrics.constant:
                return True
            share = self.provenance.data.majority.get(split)
            if any(one_answer(name, value, share) for name, value in values.items()):
                return True
        return False

    @property
    def selection_score(self) -> float | None:
        """The headline metric on the selection rows, which chose the checkpoint; None when it was not measured."""
        return None if self.headline is None else self.metrics.selection.get(self.headline.name)

    @property
    def precision(self) -> str:
        """The precision that the run used, or, if the record lacks it, the one that the config asked for."""
        return self.provenance.precision or self._asked("trainer", "precision")

    @property
    def device(self) -> str:
        """The device's name; times of different devices are not comparable. Empty when unknown."""
        return self.provenance.device

    @property
    def data_source(self) -> str:
        """Where the rows came from: local, hub or toy; `made` in records that scripts/make_records.py wrote."""
        return self.provenance.data.source or self._asked("data", "source")

    @property
    def rows_kind(self) -> str:
        """`glue`, or `own` for a task that is not one of GLUE's."""
        task = self.config.get("task")
        return "own" if isinstance(task, Mapping) and task.get("glue", True) is None else "glue"

    @property
    def is_toy(self) -> bool:
        """Whether the rows were generated."""
        return self.data_source == "toy"

    def _asked(self, section: str, key: str) -> str:
        """A value of the config as text; empty when the config lacks it."""
        found = self.config.get(section)
        return str(found.get(key, "")) if isinstance(found, Mapping) else ""
