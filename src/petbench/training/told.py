"""What a run sends its tracker besides the log: its settings at the start, the record's numbers at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from petbench.config.spec import NOT_IDENTITY
from petbench.config.values import flat
from petbench.record import Record
from petbench.report.settings import show
from petbench.tracking.log import Tracker
from petbench.tracking.wandb import SELECTION, WandbTracker, in_a_sweep
from petbench.training.prepare import Prepared

_PLUMBING = tuple(".".join(path) for path in NOT_IDENTITY)


def settings_of(prepared: Prepared) -> dict[str, Any]:
    """A run's columns in W&B: short fields to group by, then every config value that is part of the run's identity.

    cell: the same for all seeds of a setting. setting: the method's own values as one string. Folders, loggers and
    devices are left out; the run's `config.yaml` has them.
    """
    spec = prepared.spec
    words = [
        f"{key}={show(value)}"
        for key, value in flat(spec.canonical()["adapter"]).items()
        if value is not None and key not in ("method", "name")
    ]
    whole = flat(spec.canonical())
    kept = {key: value for key, value in whole.items() if not _plumbing(key)}
    return {
        "method": spec.adapter.label, "task": spec.task.name, "model": spec.model.label,
        "protocol": spec.protocol.name, "lr": spec.optim.lr, "run_id": prepared.run_id,
        "cell": spec.cell_id(prepared.content.values()), "setting": " ".join(words),
        **{key.replace(".", "/"): value for key, value in kept.items() if key != "seed"}, "seed": spec.seed,
    }  # fmt: skip


def _plumbing(key: str) -> bool:
    return any(key == path or key.startswith(f"{path}.") for path in _PLUMBING)


def tell(tracker: Tracker, record: Record) -> None:
    """Send tables and summary fields, with the same numbers as in the record."""
    params, cost = record.params, record.cost
    assert params is not None and record.headline is not None
    counts = params.model_dump()
    tracker.table("parameters", list(counts), [list(counts.values())])
    rows = [["selection", name, value] for name, value in record.metrics.selection.items()]
    rows += [
        [f"report/{s}", name, v] for s, values in record.metrics.report.items() for name, v in values.items()
    ]
    tracker.table("scores", ["rows", "metric", "value"], rows)
    reported = {f"{part}/{name}": value for part, name, value in rows if part != "selection"}
    tracker.summary(
        {
            "score": record.headline.value,
            "score_name": record.headline.name,
            "selection_score": record.selection_score,
            **reported,
            "collapsed": record.collapsed,
            "majority": record.provenance.data.majority.get(record.headline.split),
            "precision": record.precision,
            "best_step": record.best.step if record.best else None,
            "time_to_best_seconds": cost.time_to_best_seconds,
            "tuned_params": params.tuned,
            "tuned_percent": params.tuned_percent,
            "trainable_params": params.trainable,
            "step_seconds": cost.step_seconds_median,
            "train_seconds": cost.train_seconds,
            "peak_memory_bytes": cost.peak_memory_bytes,
            "adapter_bytes": cost.adapter_bytes,
            "latency_unmerged_ms": cost.latency_unmerged_ms,
            "latency_merged_ms": cost.latency_merged_ms,
            "protocol": record.protocol,
            "status": record.status,
        }
    )


def send_adapter(tracker: Tracker, record: Record, settings: Mapping[str, Any], folder: Path) -> None:
    """Send the adapter as an artifact named by its cell; the alias names the seed."""
    facts = {
        "run_id": record.run_id, "seed": record.seed, "selection_score": record.selection_score,
        "score": record.headline.value if record.headline else None,
        "tuned_params": record.params.tuned if record.params else None,
        **{key: settings[key] for key in ("method", "task", "model", "protocol", "setting")},
    }  # fmt: skip
    name = f"{record.adapter}-{record.task}-{record.model}-{settings['cell']}"
    tracker.artifact(name, folder, facts, (f"seed-{record.seed}", record.run_id))


def tell_again(prepared: Prepared, record: Record) -> None:
    """Send the curve and numbers of a finished run to a W&B sweep that drew its setting again.

    Does nothing outside a W&B sweep. The run's own folder is not changed.
    """
    spec = prepared.spec
    if spec.logger.name != "wandb" or not in_a_sweep():
        return
    folder = Path(spec.results_dir) / "reports" / f"again-{record.run_id}"
    tracker = WandbTracker(
        spec.logger, folder, record.run_id, settings_of(prepared), tags=labels_of(record), job_type="trial",
        name=f"{record.adapter}-{record.task}-{record.model}-s{record.seed}",
    )  # fmt: skip
    for point in record.curve:
        tracker.log(point.step, {SELECTION: point.score, "loss": point.loss}, point.epoch, point.seconds)
    tell(tracker, record)
    tracker.finish(record.status)


def labels_of(record: Record) -> Sequence[str]:
    """Tags: method, task and model."""
    return record.adapter, record.task, record.model
