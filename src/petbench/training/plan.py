"""Plan: resolve sites, check shapes, solve the budget and count parameters, before weights or data are touched."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from petbench.adapters.hooks import HookedAdapters
from petbench.adapters.registry import method_named, spec_of
from petbench.config.sections import BudgetSpec
from petbench.config.spec import RunSpec, canonical_json, parse
from petbench.config.task import Task
from petbench.errors import UserError
from petbench.inference.label_tree import check_decodable
from petbench.models.checkpointing import no_checkpointing
from petbench.models.checks import Positions, check_length, positions_of
from petbench.models.content import config_digest
from petbench.models.load import Form, resolve_form, skeleton
from petbench.record import Params
from petbench.record.metrics.table import require_metrics
from petbench.tasks.task import settled
from petbench.training.budget import fit_budget
from petbench.tuned.attach import Tuned, attach
from petbench.tuned.params import count_params


@dataclass(frozen=True)
class Plan:
    """What a run will be. `spec` is the run's, with the size that the budget chose filled in."""

    spec: RunSpec
    task: Task
    form: Form
    params: Params
    sites: int  # places that carry an adapter
    mergeable: bool
    positions: Positions
    learned: int  # positions that the method's own vectors take up before a row
    notes: tuple[str, ...] = ()  # one line each, such as the size that a budget chose
    no_lanes: str = ""  # why it shares no passes with other runs; empty: it may
    no_checkpointing: str = ""  # why trainer.gradient_checkpointing is impossible; empty: it is possible


def spec_from(values: Mapping[str, Any]) -> RunSpec:
    """The run that composed values describe, its task completed. Raises UserError with every mistake in one message."""
    return settled(parse(values, spec_of))


@dataclass(frozen=True)
class Keyed:
    """A spec under a key, for caches: two are equal when their keys are, however their specs differ."""

    key: str
    spec: RunSpec = field(compare=False)


def plan(spec: RunSpec) -> Plan:
    """What the run will be. Raises UserError when any part of it is impossible.

    Members of a sweep that differ in seed, learning rate or length share one resolved plan.
    """
    config = spec.canonical()
    parts = {key: config[key] for key in ("model", "adapter", "budget")}
    place = {"task": spec.task.definition(), "form": spec.task.form, "config": config_digest(spec.model)}
    resolved = _resolve(Keyed(canonical_json(parts | place), spec))
    if spec.trainer.gradient_checkpointing and resolved.no_checkpointing:
        raise UserError(
            f"trainer.gradient_checkpointing: got true, but {resolved.no_checkpointing}. Legal here: false."
        )
    told = check_length(spec.model.name, spec.task.max_length, resolved.learned, resolved.positions)
    update = {"adapter": resolved.spec.adapter, "budget": BudgetSpec()}
    return replace(
        resolved, spec=spec.model_copy(update=update), task=spec.task, notes=(*resolved.notes, *told)
    )


@lru_cache(maxsize=256)
def _resolve(keyed: Keyed) -> Plan:
    spec, task = keyed.spec, keyed.spec.task
    require_metrics(task.metrics, task.headline, task.regression)
    form = resolve_form(spec.model, spec.task.form)
    method = method_named(spec.adapter.method)
    model, layout = skeleton(spec.model, form, task.num_labels, task.regression)
    check_decodable(model, form)
    adapter, notes = fit_budget(method, spec.adapter, layout, model, spec.budget)
    tuned = attach(model, method, adapter, layout)
    return Plan(
        spec=spec.model_copy(update={"adapter": adapter}),
        task=task,
        form=form,
        params=count_params(tuned),
        sites=len(getattr(tuned.installed, "attachments", ())),
        mergeable=method.mergeable(adapter, layout),
        positions=positions_of(model),
        learned=method.learned_positions(adapter),
        notes=notes,
        no_lanes=_no_lanes(tuned),
        no_checkpointing=no_checkpointing(model) or method.no_checkpointing(adapter),
    )


def _no_lanes(tuned: Tuned) -> str:
    """Why runs of a method cannot train in one pass over one backbone."""
    counted = count_params(tuned)
    if not isinstance(tuned.installed, HookedAdapters):
        return "the method is wired by another library"
    if counted.norm + counted.other > counted.backbone / 2:
        return "the method trains the backbone itself, so that there is none to share"
    return ""
