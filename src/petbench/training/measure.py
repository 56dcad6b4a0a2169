"""Measure: what a fitted run scored and cost, and what it ran on."""

import os
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from petbench.machine.clock import peak_memory_bytes
from petbench.machine.devices import uses_tf32
from petbench.machine.provenance import device_name, git_state, versions
from petbench.measure.latency import tuned_latency
from petbench.measure.merge_effect import merge_effect
from petbench.record import BackboneFacts, DataFacts, GitState, Provenance
from petbench.tasks.splits import Split
from petbench.training.draws import draws
from petbench.training.fit import Fit
from petbench.training.outcome import Outcome
from petbench.training.scoring import Scorer
from petbench.training.session import Session
from petbench.tuned.params import count_params


def measure(
    session: Session, fit: Fit, scorer: Scorer, state: dict[str, Tensor], load_seconds: float
) -> Outcome:
    """Load the chosen values (`state`) and measure all that the record holds. Raises Diverged, with the step, when the
    model's answers are not finite."""
    accelerator, tuned, backbone = session.accelerator, session.tuned, session.backbone
    peak = peak_memory_bytes(
        accelerator.device
    )  # read now: what follows copies weights, which training does not
    tuned.load_state(state)
    # From here on autocast is on only where it is asked for.
    accelerator.unwrap_model(session.model, keep_fp32_wrapper=False)
    with fit.naming_the_step():  # nothing more is measured when answers are not finite
        scored = scorer.report(fit.chosen)
        selection = scorer.encoded(session.prepared.rows.selection)
        merge = merge_effect(tuned, backbone, selection, scorer.label_ids)
    with accelerator.autocast():
        latency_ms = tuned_latency(tuned)
    return Outcome(
        state=state,
        params=count_params(tuned),
        progress=fit.progress,
        step_seconds=fit.clock.median(),
        train_seconds=fit.clock.total,
        scored=scored,
        no_number=scorer.no_number,
        merge=merge,
        latency_ms=latency_ms,
        padding_fraction=scorer.padding_fraction,
        load_seconds=load_seconds,
        peak_memory_bytes=peak,
        provenance=_provenance(session, scorer.cut_rows),
        together=session.together,
    )


def _provenance(session: Session, cut_rows: dict[str, int]) -> Provenance:
    """What the run was made from and on."""
    prepared, backbone, git = session.prepared, session.backbone, git_state()
    splits, rows = prepared.splits, prepared.rows
    return Provenance(
        git=GitState(**git) if git else None,
        versions=versions(),
        device=device_name(session.accelerator.device),
        threads=torch.get_num_threads(),
        processes=int(os.environ.get("WORLD_SIZE", "1")),
        precision=session.precision,
        tf32=uses_tf32(),
        data=DataFacts(
            source=splits.source,
            location=splits.location,
            digest=splits.digest,
            splits=splits.split_digests,
            partial=splits.partial,
            majority=_majority(rows.report),
        ),
        model=BackboneFacts(source=backbone.source, digest=backbone.digest, head=backbone.head),
        content=prepared.content.facts,
        draws=draws(session.spec),
        tuning=session.spec.tuning,
        marks=tuple(rows.marks),
        notes=(*prepared.plan.notes, *backbone.notes),
        warnings=splits.warnings,
        rows={name: len(part) for name, part in rows.parts().items()},
        cut_rows=cut_rows,
    )


def _majority(report: Mapping[str, Split]) -> dict[str, float]:
    """The share of the most frequent label in every report split: the score of a collapsed classifier."""
    return {
        name: Counter(rows.labels).most_common(1)[0][1] / len(rows)
        for name, rows in report.items()
        if rows.labels and isinstance(rows.labels[0], int)
    }
