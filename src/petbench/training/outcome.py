"""Outcome: from what was measured of a run to its record, its predictions and the files beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from torch import Tensor

from petbench.config.task import Task
from petbench.files import write_text
from petbench.record import (
    Answers,
    Best,
    Cost,
    Headline,
    Merge,
    Metrics,
    Params,
    Point,
    Provenance,
    Record,
    WandbRun,
    write_answers,
)
from petbench.record.metrics.by_row import NO_LABEL
from petbench.tasks.metrics import as_scored
from petbench.training.prepare import Prepared
from petbench.training.resume import Progress
from petbench.training.scoring import Scored
from petbench.training.session import ALONE, Together


@dataclass(frozen=True)
class Outcome:
    """What is known of a run that was fitted and measured."""

    state: dict[str, Tensor]  # the trained values that the selection rows chose
    params: Params
    progress: Progress
    step_seconds: float | None  # median; None when no step was taken
    train_seconds: float
    scored: dict[str, Scored]  # `selection`, `report/<split>`, `predict/<name>`
    no_number: float | None  # see `metrics.score`
    merge: Merge
    latency_ms: tuple[float, float | None]  # with its adapters; merged, where it can be
    padding_fraction: float
    load_seconds: float
    peak_memory_bytes: int  # of training alone: merging copies the weights only later
    provenance: Provenance
    together: Together = ALONE


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
    outcome: Outcome,
    adapter: tuple[int, str | None],
    date: datetime,
    wandb: Mapping[str, str],
) -> Record:
    """The record of a finished run. adapter: bytes and SHA-256; wandb: the fields of `WandbRun`, empty without W&B."""
    spec, task, progress = prepared.spec, prepared.plan.task, outcome.progress
    metrics = metrics_of(outcome.scored)
    split = prepared.rows.headline_split
    seconds = outcome.train_seconds
    return Record(
        run_id=prepared.run_id,
        status="done",
        date=date,
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
        params=outcome.params,
        cost=Cost(
            step_seconds_median=outcome.step_seconds,
            train_seconds=seconds,
            eval_seconds=progress.eval_seconds,
            load_seconds=outcome.load_seconds,
            examples_per_second=progress.examples / seconds if seconds else None,
            tokens_per_second=progress.tokens / seconds if seconds else None,
            padding_fraction=outcome.padding_fraction,
            peak_memory_bytes=outcome.peak_memory_bytes,
            adapter_bytes=adapter[0],
            lanes=outcome.together.lanes,
            lanes_padding=outcome.together.padding,
            time_to_best_seconds=progress.seconds_to_best,
            latency_unmerged_ms=outcome.latency_ms[0],
            latency_merged_ms=outcome.latency_ms[1],
        ),
        best=Best(step=progress.best_step, epoch=progress.best_epoch),
        merge=outcome.merge,
        adapter_sha256=adapter[1],
        changes=tuple(progress.changes),
        curve=tuple(Point.model_validate(point) for point in progress.curve),
        provenance=outcome.provenance,
        wandb=WandbRun(**wandb) if wandb else None,
    )


def write_predictions(prepared: Prepared, outcome: Outcome) -> None:
    """Write `predictions/<part>.jsonl`, one answer a row; `answers.npz`, the answers that the statistics of report rows
    need; and `row_ids.json`, which rows were used for what."""
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
            kept[_split(name)] = _kept(prepared.plan.task, part, outcome.no_number)
    write_answers(prepared.folder, kept)
    ids = {"origin": prepared.rows.origin, "idx": prepared.rows.ids}
    write_text(prepared.folder / "row_ids.json", json.dumps(ids) + "\n")


def _kept(task: Task, part: Scored, no_number: float | None) -> Answers:
    """A part's answers as they were scored; -1 for a written answer that is not a class."""
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
