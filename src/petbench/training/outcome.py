"""Outcome: from what a session measured to the record, the predictions and the files beside them."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from petbench.files import write_text
from petbench.machine.clock import StepClock
from petbench.machine.devices import uses_tf32
from petbench.machine.provenance import device_name, git_state, versions
from petbench.models.load import Backbone
from petbench.record import (
    Answers,
    BackboneFacts,
    Best,
    Cost,
    DataFacts,
    GitState,
    Headline,
    Merge,
    Metrics,
    Point,
    Provenance,
    Record,
    WandbRun,
    write_answers,
)
from petbench.report.statistics.influence import NO_LABEL
from petbench.tasks.glue import Task
from petbench.tasks.metrics import as_scored
from petbench.tracking.log import Tracker
from petbench.training.draws import draws
from petbench.training.prepare import Prepared
from petbench.training.resume import Progress
from petbench.training.scoring import Scored
from petbench.tuned.attach import Tuned
from petbench.tuned.params import count_params


@dataclass(frozen=True)
class Outcome:
    """What a finished session knows."""

    progress: Progress
    clock: StepClock
    scored: dict[str, Scored]  # `selection`, `report/<split>`, `predict/<name>`
    merge: Merge
    latency_ms: tuple[float, float | None]  # as it trains; merged, where it can be
    padding_fraction: float
    load_seconds: float
    peak_memory_bytes: int  # up to the end of training: merging a copy of the weights is no part of it
    precision: str
    adapter_bytes: int
    adapter_sha256: str | None  # None in every process but the main one
    cut_rows: dict[str, int]  # part -> rows that were longer than `task.max_length`


def metrics_of(scored: dict[str, Scored]) -> Metrics:
    """The record's metrics from all scored parts."""
    return Metrics(
        selection=scored["selection"].metrics,
        report={_split(name): part.metrics for name, part in scored.items() if name.startswith("report/")},
        unparsable={_split(name): part.unparsable for name, part in scored.items() if part.unparsable},
        constant=tuple(_split(name) for name, part in scored.items() if part.constant),
        warnings=tuple(f"{name}: {line}" for name, part in scored.items() for line in part.warnings),
    )


def _split(name: str) -> str:
    return name.split("/", 1)[-1]


def finished_record(
    prepared: Prepared,
    backbone: Backbone,
    tuned: Tuned,
    outcome: Outcome,
    device: torch.device,
    tracker: Tracker,
) -> Record:
    """The record of a run that came to its end; also tells the tracker the same numbers."""
    spec, task, progress = prepared.spec, prepared.plan.task, outcome.progress
    metrics = metrics_of(outcome.scored)
    split = prepared.rows.headline_split
    seconds = outcome.clock.total
    params = count_params(tuned)
    record = Record(
        run_id=prepared.run_id,
        status="done",
        date=datetime.now(UTC).replace(microsecond=0),
        task=task.name,
        model=spec.model.label,
        adapter=spec.adapter.label,
        seed=spec.seed,
        config=spec.canonical(),
        protocol=spec.protocol.name,
        metrics=metrics,
        headline=Headline(
            name=task.headline,
            value=metrics.report[split][task.headline],
            split=split,
            n=len(prepared.rows.report[split]),
        ),
        params=params,
        cost=Cost(
            step_seconds_median=outcome.clock.median(),
            train_seconds=seconds,
            eval_seconds=progress.eval_seconds,
            load_seconds=outcome.load_seconds,
            examples_per_second=progress.examples / seconds if seconds else None,
            tokens_per_second=progress.tokens / seconds if seconds else None,
            padding_fraction=outcome.padding_fraction,
            peak_memory_bytes=outcome.peak_memory_bytes,
            adapter_bytes=outcome.adapter_bytes,
            time_to_best_seconds=progress.seconds_to_best,
            latency_unmerged_ms=outcome.latency_ms[0],
            latency_merged_ms=outcome.latency_ms[1],
        ),
        best=Best(step=progress.best_step, epoch=progress.best_epoch),
        merge=outcome.merge,
        adapter_sha256=outcome.adapter_sha256,
        changes=tuple(progress.changes),
        curve=tuple(Point.model_validate(point) for point in progress.curve),
        provenance=_provenance(prepared, backbone, outcome, device),
        wandb=WandbRun(**reference) if (reference := tracker.reference()) else None,
    )
    tell(tracker, record)
    return record


def _provenance(prepared: Prepared, backbone: Backbone, outcome: Outcome, device: torch.device) -> Provenance:
    splits, rows = prepared.splits, prepared.rows
    git = git_state()
    return Provenance(
        git=GitState(**git) if git else None,
        versions=versions(),
        device=device_name(device),
        threads=torch.get_num_threads(),
        processes=int(os.environ.get("WORLD_SIZE", "1")),
        precision=outcome.precision,
        tf32=uses_tf32(),
        data=DataFacts(
            source=splits.source,
            location=splits.location,
            digest=splits.digest,
            splits=splits.split_digests,
            partial=tuple(splits.partial),
            majority=_majority(rows.report),
        ),
        model=BackboneFacts(source=backbone.source, digest=backbone.digest, head=backbone.head),
        content=prepared.content.facts,
        draws=draws(prepared.spec),
        tuning=prepared.spec.tuning,
        marks=tuple(rows.marks),
        notes=(*prepared.plan.notes, *backbone.notes),
        warnings=tuple(splits.warnings),
        rows={name: len(part) for name, part in rows.parts().items()},
        cut_rows=outcome.cut_rows,
    )


def _majority(report: dict[str, Any]) -> dict[str, float]:
    """The share of the most frequent label in every report split: the score of a collapsed classifier."""
    shares = {}
    for name, rows in report.items():
        if rows.labels and isinstance(rows.labels[0], int):
            shares[name] = max(rows.labels.count(code) for code in set(rows.labels)) / len(rows)
    return shares


def tell(tracker: Tracker, record: Record) -> None:
    """Tables and summary fields, the same numbers as in the record."""
    params, cost = record.params, record.cost
    assert params is not None and record.headline is not None
    counts = params.model_dump()
    tracker.table("parameters", list(counts), [list(counts.values())])
    rows = [["selection", name, value] for name, value in record.metrics.selection.items()]
    rows += [
        [f"report/{s}", name, v] for s, values in record.metrics.report.items() for name, v in values.items()
    ]
    tracker.table("scores", ["rows", "metric", "value"], rows)
    tracker.summary(
        {
            "score": record.headline.value,
            "score_name": record.headline.name,
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


def write_predictions(prepared: Prepared, outcome: Outcome, no_number: float | None) -> None:
    """`predictions/<part>.jsonl`, one answer a row; `answers.npz`, what the report rows' statistics need of them; and
    `row_ids.json`: which rows were used for what. no_number: see `metrics.score`."""
    kept = {}
    for name, part in outcome.scored.items():
        labels = part.rows.labels if part.rows.labels is not None else [None] * len(part.rows)
        lines = (
            json.dumps({"idx": idx, "prediction": answer, "label": label})
            for idx, answer, label in zip(part.rows.idx, part.answers, labels, strict=True)
        )
        write_text(
            prepared.folder / "predictions" / f"{name.replace('/', '-')}.jsonl", "\n".join(lines) + "\n"
        )
        if name.startswith("report/") and part.rows.labels is not None:
            kept[_split(name)] = _kept(prepared.plan.task, part, no_number)
    write_answers(prepared.folder, kept)
    ids = {"origin": prepared.rows.origin, "idx": prepared.rows.ids}
    write_text(prepared.folder / "row_ids.json", json.dumps(ids) + "\n")


def _kept(task: Task, part: Scored, no_number: float | None) -> Answers:
    """A part's answers as they were scored; -1 for a written answer that is no class."""
    assert part.rows.labels is not None
    if task.regression:
        said = as_scored(task, part.answers, part.rows.labels, no_number)
    else:
        said = [NO_LABEL if answer is None else answer for answer in part.answers]
    odds = [reply.odds for reply in part.replies]
    return Answers(
        ids=np.array(part.rows.idx, dtype=np.int64),
        labels=np.array(part.rows.labels, dtype=np.float32),
        answers=np.array(said, dtype=np.float32),
        logits=np.array(odds, dtype=np.float16) if odds and odds[0] else None,
    )
