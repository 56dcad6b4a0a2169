"""Parts of a record: scores, parameters, costs, the learning curve, and where W&B has the run."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Score = Annotated[float, Field(ge=-1 - 1e-6, le=1 + 1e-6)]  # a correlation may be off by a rounding
Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # SHA-256
Amount = Annotated[float, Field(ge=0)]  # seconds, rates, percent
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A value that never changes; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Headline(Part):
    """The one number of the run: the task's headline metric on the report rows."""

    name: str
    value: Score
    split: str
    n: Count


class Metrics(Part):
    """Every metric, by split; values in [-1, 1], never NaN."""

    selection: dict[str, Score] = {}
    report: dict[str, dict[str, Score]] = {}  # split -> metric -> value
    unparsable: dict[str, Count] = {}  # split -> generated answers that were no label
    constant: tuple[str, ...] = ()  # splits on which every row got one and the same answer
    warnings: tuple[str, ...] = ()


class Params(Part):
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
        """Older records name the percent after the adapter, though norms and other parts were in it."""
        if isinstance(values, dict) and "adapter_percent" in values:
            rest = {key: value for key, value in values.items() if key != "adapter_percent"}
            tuned = rest["adapter"] + rest["norm"] + rest["other"]
            return {"tuned": tuned, "tuned_percent": values["adapter_percent"], **rest}
        return values


class Cost(Part):
    """What the run cost; seconds and bytes; null where it was not measured.

    Of a run that did not end, `train_seconds` is the whole time that it took: a failed trial has its price, too.
    """

    step_seconds_median: Amount | None = None
    train_seconds: Amount | None = None
    eval_seconds: Amount | None = None
    load_seconds: Amount | None = None
    examples_per_second: Amount | None = None
    tokens_per_second: Amount | None = None
    padding_fraction: Share | None = None
    peak_memory_bytes: Count | None = None
    adapter_bytes: Count | None = None
    lanes: Annotated[int, Field(ge=1)] = 1  # runs in one pass; above 1 all seconds are this run's share
    lanes_padding: Share | None = None  # of the passes' tokens: what lanes padded to lie side by side
    time_to_best_seconds: Amount | None = None
    latency_unmerged_ms: Amount | None = None
    latency_merged_ms: Amount | None = None

    @property
    def pass_seconds_median(self) -> float | None:
        """A whole step of all lanes; `step_seconds_median` is one lane's share of it."""
        return None if self.step_seconds_median is None else self.step_seconds_median * self.lanes

    @property
    def seconds(self) -> float:
        """Training and evaluation together; what was not measured counts as 0."""
        return (self.train_seconds or 0.0) + (self.eval_seconds or 0.0)


class Best(Part):
    """Where the reported checkpoint was taken."""

    step: Count
    epoch: Amount


class Merge(Part):
    """What merging changes: measured on the selection rows, null where it was not."""

    mergeable: bool
    max_abs_logit_change: Amount | None = None
    labels_flipped: Count | None = None


class Point(Part):
    """One evaluation during training."""

    step: Count  # optimiser steps done
    epoch: Amount  # epochs done
    seconds: Amount  # of training so far, without evaluations
    loss: float  # of the last step
    score: Score  # the headline metric on the selection rows


class WandbRun(Part):
    """Where W&B has the run."""

    mode: str  # online, offline or disabled
    path: str | None = None  # entity/project/run id, as far as known
    url: str | None = None  # of an online run
    folder: str | None = None  # inside the run's folder
