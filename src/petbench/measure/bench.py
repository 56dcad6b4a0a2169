"""Bench: step time, latency, activation memory and operations of several methods, interleaved in one process.

Every time is also given as a ratio to the bare frozen backbone in the same run, because a machine's speed drifts and
ratios hold. With one CPU thread the clock is that thread's own CPU time, which other programs hardly disturb.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from petbench.config.spec import RunSpec
from petbench.machine.clock import peak_memory_bytes, reset_peak_memory
from petbench.measure.latency import LENGTH, clock_of, latencies
from petbench.models.families import layout_of
from petbench.models.load import load, resolve_form
from petbench.models.made_up import made_up
from petbench.tuned.attach import Tuned
from petbench.tuned.load import load_and_attach

BARE = "backbone"  # nothing tuned; gradients flow through all activations
AGAIN = "backbone again"  # a second copy: the difference between the two is noise
PARTS = ("step", "latency", "memory")


@dataclass(frozen=True)
class Shape:
    """The inputs and rounds: `step` and `memory` use batch x length tokens, `latency` one row of `short` tokens."""

    batch: int = 32
    length: int = 64
    short: int = LENGTH
    rounds: int = 15
    warmup: int = 150  # latency only
    timed: int = 200


@dataclass(frozen=True)
class Candidate:
    """One line of the table."""

    name: str
    model: nn.Module
    merged: bool = False  # served, not trained: latency alone is measured


def candidates(specs: Sequence[RunSpec], merged: bool) -> list[Candidate]:
    """The bare backbone, every method, and the mergeable ones merged, and the bare backbone once more.

    Each has its own copy of the weights, so that none finds them in the processor's cache.
    """
    found = [Candidate(BARE, backbone(specs[0]))]
    for spec in specs:
        _, tuned = load_and_attach(spec, None)
        found.append(Candidate(spec.adapter.label, tuned.model))
        if merged and tuned.method.mergeable(tuned.spec, tuned.layout):
            found.append(
                Candidate(
                    f"{spec.adapter.label} merged", _served(load_and_attach(spec, None)[1]), merged=True
                )
            )
    return [*found, Candidate(AGAIN, backbone(specs[0]))]


def backbone(spec: RunSpec) -> nn.Module:
    """The frozen backbone of a run with a head for two classes."""
    model = load(spec.model, resolve_form(spec.model, spec.task.form), 2, False, 0).model
    model.requires_grad_(False)
    return model


def pass_gradients(model: Any) -> None:
    """Give the bare backbone a backward pass through every activation, as a method in layer 0 needs it.

    Every stack's own embedding is hooked: T5's `shared`, which `get_input_embeddings` gives, is never called.
    """
    for site in layout_of(model).sites("embedding"):
        model.get_submodule(site.module).register_forward_hook(_require_grad)


def _require_grad(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    return output.requires_grad_(True) if torch.is_grad_enabled() and not output.requires_grad else output


def _served(tuned: Tuned) -> nn.Module:
    """The model merged and without hooks, like the plain checkpoint that `petbench merge` writes."""
    tuned.merge()
    remove = getattr(tuned.installed, "remove", None)
    if remove is not None:
        remove()
    return tuned.model


def measure(
    specs: Sequence[RunSpec], shape: Shape, parts: Sequence[str], device: torch.device
) -> list[dict[str, Any]]:
    """One row a candidate: seconds, bytes and operations, and ratios to the bare backbone.

    step: forward and backward in training mode, no optimiser; the median over rounds of the ratio within a
    round. latency: forward in evaluation mode, median. memory: bytes that autograd keeps for the backward
    pass (each storage once, parameters left out) and, on CUDA, the peak of a step with this candidate alone
    on the device. operations: floating-point operations of forward and backward.
    """
    found = candidates(specs, merged="latency" in parts)
    for candidate in found:
        candidate.model.to(device)
    rows: list[dict[str, Any]] = [{"name": c.name} for c in found]
    if "latency" in parts:  # first: the backbone has no hook yet
        models = [c.model for c in found]
        _fill(rows, "latency", latencies(models, shape.short, shape.warmup, shape.timed, device))
    trained = [place for place, candidate in enumerate(found) if not candidate.merged]
    rows_trained, models = [rows[place] for place in trained], [found[place].model for place in trained]
    for row, model in zip(rows_trained, models, strict=True):
        row["trainable"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    for bare in (models[0], models[-1]):
        pass_gradients(bare)
    if "step" in parts:
        _fill(rows_trained, "step", _step_times(models, shape, device))
    if "memory" in parts:
        for candidate in found:
            candidate.model.to("cpu")
        for row, model in zip(rows_trained, models, strict=True):
            row |= _memory(model.to(device), shape, device)
            model.to("cpu")
        for row in rows_trained:
            row["saved_bytes_over_backbone"] = row["saved_bytes"] - rows[0]["saved_bytes"]
    return rows


def _fill(rows: list[dict[str, Any]], name: str, times: list[list[float]]) -> None:
    """The median time, and the median over rounds of its ratio to the mean of both bare backbones."""
    bare = [(first + second) / 2 for first, second in zip(times[0], times[-1], strict=True)]
    for row, own in zip(rows, times, strict=True):
        row[f"{name}_ms"] = 1000 * median(own)
        row[f"{name}_ratio"] = median(mine / base for mine, base in zip(own, bare, strict=True))


def _step_times(models: Sequence[nn.Module], shape: Shape, device: torch.device) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in models]
    inputs = [made_up(model, [shape.length] * shape.batch) for model in models]
    now = clock_of(device).read
    for round_number in range(shape.rounds + 2):  # the first two warm up
        for place, model in enumerate(models):
            model.train()
            model.zero_grad(set_to_none=True)
            started = now()
            model(**inputs[place]).loss.backward()
            spent = now() - started
            if round_number >= 2:
                times[place].append(spent)
    return times


def _memory(model: nn.Module, shape: Shape, device: torch.device) -> dict[str, int]:
    """Bytes kept for the backward pass, floating-point operations of one step and, on CUDA, its peak."""
    from torch.utils.flop_counter import FlopCounterMode  # torch takes seconds

    inputs = made_up(model, [shape.length] * shape.batch)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    model.zero_grad(set_to_none=True)
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
    ):
        loss = model(**inputs).loss
        saved = sum(kept.values())
        loss.backward()
    found = {"saved_bytes": saved, "operations": counter.get_total_flops()}
    if device.type == "cuda":
        del loss
        model.zero_grad(set_to_none=True)
        reset_peak_memory(device)
        model(**inputs).loss.backward()  # as it trains, without the counters above
        found["peak_bytes"] = peak_memory_bytes(device)
    model.zero_grad(set_to_none=True)
    return found
