"""Bench: step time, latency, activation memory and operations of several methods, interleaved in one process.

Every figure is a ratio to the bare frozen backbone of the same run: machines drift, ratios hold. With one CPU
thread the clock is that thread's own CPU time, which other programs on the machine hardly disturb.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, thread_time
from typing import Any

import torch
from torch import Tensor, nn

from petbench.adapters.base import method_named
from petbench.attach import Tuned, attach
from petbench.config import RunSpec
from petbench.models.load import load, resolve_form

BARE = "backbone"  # nothing tuned; gradients flow through all activations
AGAIN = "backbone again"  # a second copy: what the two differ by is noise
PARTS = ("step", "latency", "memory")


@dataclass(frozen=True)
class Shape:
    """What is measured on: `step` and `memory` use batch x length, `latency` one row of `short` tokens."""

    batch: int = 32
    length: int = 64
    short: int = 10
    rounds: int = 15
    warmup: int = 150  # latency only
    timed: int = 200


@dataclass
class Candidate:
    """One line of the table."""

    name: str
    model: nn.Module
    tuned: Tuned | None


def candidates(specs: Sequence[RunSpec], merged: bool) -> list[Candidate]:
    """The bare backbone, every method, and the mergeable ones merged, and the bare backbone once more.

    Each has a copy of the weights of its own, so that none finds them in the cache.
    """
    found = [Candidate(BARE, _backbone(specs[0]).eval(), None)]
    for spec in specs:
        found.append(_candidate(spec, spec.adapter.label))
        tuned = found[-1].tuned
        if merged and tuned is not None and tuned.method.mergeable(tuned.spec, tuned.layout):
            again = _candidate(spec, f"{spec.adapter.label} merged")
            if again.tuned is not None:
                again.tuned.merge()
                _unhook(again)
            found.append(again)
    return [*found, Candidate(AGAIN, _backbone(specs[0]).eval(), None)]


def _backbone(spec: RunSpec) -> nn.Module:
    model = load(spec.model, resolve_form(spec.model, spec.task.form), 2, False, 0).model
    model.requires_grad_(False)
    return model


def _pass_gradients(model: Any) -> None:
    """The yardstick of a step: a backward pass through every activation, as a method in layer 0 needs it."""
    model.get_input_embeddings().register_forward_hook(_require_grad)


def _require_grad(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    return output.requires_grad_(True) if torch.is_grad_enabled() and not output.requires_grad else output


def _candidate(spec: RunSpec, name: str) -> Candidate:
    backbone = load(spec.model, resolve_form(spec.model, spec.task.form), 2, False, 0)
    tuned = attach(backbone.model, method_named(spec.adapter.method), spec.adapter, backbone.layout)
    return Candidate(name, tuned.model, tuned)


def _unhook(candidate: Candidate) -> None:
    """A merged model is served without hooks: as the plain checkpoint that `petbench merge` writes."""
    remove = getattr(candidate.tuned.installed, "remove", None) if candidate.tuned else None
    if remove is not None:
        remove()


def _inputs(model: Any, batch: int, length: int, device: torch.device) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, model.config.vocab_size - 10, (batch, length), generator=generator)
    inputs = {"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}
    if model.config.is_encoder_decoder:
        inputs["labels"] = ids[:, :2].contiguous().to(device)
    else:
        inputs["labels"] = (ids[:, 0] % 2).to(device)
    return inputs


def measure(
    specs: Sequence[RunSpec], shape: Shape, parts: Sequence[str], device: torch.device
) -> list[dict[str, Any]]:
    """One row a candidate: seconds, bytes and operations, and ratios to the bare backbone.

    step: forward and backward in training mode, no optimiser; the median over rounds of the ratio within a
    round. latency: forward in evaluation mode, median. memory: bytes that autograd keeps for the backward
    pass (each storage once, parameters left out) and, on CUDA, the peak. operations: floating-point
    operations of forward and backward.
    """
    found = candidates(specs, merged="latency" in parts)
    for candidate in found:
        candidate.model.to(device)
    rows: list[dict[str, Any]] = [{"name": c.name, "trainable": _trainable(c.model)} for c in found]
    clock = clock_of(device)
    if "latency" in parts:  # first: the backbone has no hook yet
        _fill(rows, "latency", _latencies(found, shape, device, clock.read))
    for bare in (found[0], found[-1]):
        _pass_gradients(bare.model)
    if "step" in parts:
        _fill(rows, "step", _step_times(found, shape, device, clock.read))
    if "memory" in parts:
        for row, candidate in zip(rows, found, strict=True):
            row |= _memory(candidate.model, shape, device)
        for row in rows:
            row["saved_bytes_over_backbone"] = row["saved_bytes"] - rows[0]["saved_bytes"]
    return rows


def _trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _fill(rows: list[dict[str, Any]], name: str, times: list[list[float]]) -> None:
    """The median time, and the median over rounds of its ratio to the mean of both bare backbones."""
    bare = [(first + second) / 2 for first, second in zip(times[0], times[-1], strict=True)]
    for row, own in zip(rows, times, strict=True):
        row[f"{name}_ms"] = 1000 * median(own)
        row[f"{name}_ratio"] = median(mine / base for mine, base in zip(own, bare, strict=True))


@dataclass(frozen=True)
class Clock:
    """Seconds that count, and what they are called."""

    name: str
    read: Callable[[], float]


def clock_of(device: torch.device) -> Clock:
    """CUDA: wall time once the device is done. One CPU thread: its CPU time. More threads: wall time."""
    if device.type == "cuda":
        return Clock("wall time", _wall_time_on_cuda)
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return Clock("CPU time of one thread", thread_time)
    return Clock("wall time", perf_counter)


def _wall_time_on_cuda() -> float:
    torch.cuda.synchronize()
    return perf_counter()


def _step_times(
    found: list[Candidate], shape: Shape, device: torch.device, now: Callable[[], float]
) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in found]
    inputs = [_inputs(_plain(c.model), shape.batch, shape.length, device) for c in found]
    for round_number in range(shape.rounds + 2):  # the first two warm up
        for place, candidate in enumerate(found):
            candidate.model.train()
            candidate.model.zero_grad(set_to_none=True)
            started = now()
            candidate.model(**inputs[place]).loss.backward()
            spent = now() - started
            if round_number >= 2:
                times[place].append(spent)
    return times


@torch.no_grad()
def _latencies(
    found: list[Candidate], shape: Shape, device: torch.device, now: Callable[[], float]
) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in found]
    inputs = [_inputs(_plain(c.model), 1, shape.short, device) for c in found]
    for candidate in found:
        candidate.model.eval()
    for round_number in range(shape.warmup + shape.timed):
        for place, candidate in enumerate(found):
            started = now()
            candidate.model(**inputs[place])
            spent = now() - started
            if round_number >= shape.warmup:
                times[place].append(spent)
    return times


def _memory(model: nn.Module, shape: Shape, device: torch.device) -> dict[str, int]:
    """Bytes kept for the backward pass, and floating-point operations of one step."""
    from torch.utils.flop_counter import FlopCounterMode

    inputs = _inputs(_plain(model), shape.batch, shape.length, device)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    model.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
    ):
        loss = model(**inputs).loss
        saved = sum(kept.values())
        loss.backward()
    found = {"saved_bytes": saved, "operations": counter.get_total_flops()}
    if device.type == "cuda":
        found["peak_bytes"] = int(torch.cuda.max_memory_allocated(device))
    return found


def _plain(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
