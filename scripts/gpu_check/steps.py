"""Milliseconds and launches of one training step, method by method beside the bare backbone; and as a CUDA graph."""

import gc
import time
from collections.abc import Callable
from typing import Any

import torch
from findings import Findings
from torch import nn

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.sections import OptimSpec
from petbench.config.spec import parse
from petbench.measure.bench import BARE, backbone, pass_gradients
from petbench.models.made_up import made_up
from petbench.training.optim import make_optimizer
from petbench.training.plan import plan
from petbench.tuned.held import hold_frozen
from petbench.tuned.load import load_and_attach

NAMES = (BARE, "krona", "krona_b", "lora", "compacter", "kernel_mix", "houlsby", "peft/lora", "peft/lokr")
WARM_UP = 8


def made(findings: Findings, name: str) -> tuple[nn.Module, dict[str, Any]]:
    """A model as a session trains it, with a method on it or bare, and a batch."""
    words = [
        f"model={findings.large}",
        "model.weights=random",
        "model.tokenizer=built",
        "task=rte",
        "data=toy",
    ]
    (member,) = expand([f"adapter={'krona' if name == BARE else name}", *words])
    spec = plan(parse(member.values, spec_of)).spec
    if name == BARE:
        model = backbone(spec)
        pass_gradients(model)
        model.get_submodule("classifier").requires_grad_(True)  # so that there is something to step
    else:
        model = load_and_attach(spec, None)[1].model
    model.to(findings.device).train()
    return model, made_up(model, [16] * 4 if findings.quick else [64] * 32)


def stepper(findings: Findings, model: Any, inputs: dict[str, Any], lower: bool) -> Callable[[], None]:
    """One step: forward, backward, clip, optimiser."""
    optimizer = make_optimizer(model.named_parameters(), OptimSpec(lr=1e-4))
    trained = [p for group in optimizer.param_groups for p in group["params"]]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(findings.device, torch.bfloat16, enabled=lower):
            loss = model(**inputs).loss
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    return step


def milliseconds(findings: Findings, step: Callable[[], None], number: int) -> float:
    """Of one of `number` steps in a row, the device waited for at both ends."""
    for _ in range(WARM_UP):
        step()
    _wait(findings)
    began = time.perf_counter()
    for _ in range(number):
        step()
    _wait(findings)
    return round(1000 * (time.perf_counter() - began) / number, 2)


def launches(findings: Findings, step: Callable[[], None]) -> tuple[int, float]:
    """How many kernels and copies one step launches, and their own milliseconds."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if findings.device == "cuda" else [])
    with profile(activities=activities) as seen:
        step()
        _wait(findings)
    events = [event for event in seen.events() if "cuda" in str(event.device_type).lower()]
    return len(events), round(sum(event.device_time for event in events) / 1000, 2)


def steps(findings: Findings) -> None:
    """A row a method and precision. Free less device is what launches cost."""
    number = 3 if findings.quick else 30
    for name in NAMES[:2] if findings.quick else NAMES:
        for lower in (True, False):
            if findings.seconds_left < 60:
                return
            model, inputs = made(findings, name)
            if lower:
                hold_frozen(model)
            step = stepper(findings, model, inputs, lower)
            row: dict[str, Any] = {"ms": milliseconds(findings, step, number)}
            row["launches"], row["ms of the device"] = launches(findings, step)
            if findings.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
                step()
                row["peak MB"] = torch.cuda.max_memory_allocated() >> 20
            findings.keep(f"step {name} {'bf16' if lower else 'fp32'}", row)
            del model, step, inputs
            gc.collect()


def graphs(findings: Findings) -> None:
    """Forward and backward captured once and replayed: how far launches are what a step costs."""
    for name in (BARE, "krona", "kernel_mix") if findings.device == "cuda" else ():
        model, inputs = made(findings, name)
        hold_frozen(model)
        findings.keep(f"graph {name}", {"ms forward and backward": _graphed(findings, model, inputs)})


def _graphed(findings: Findings, model: Any, inputs: dict[str, Any]) -> float | str:
    def work() -> None:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            model(**inputs).loss.backward()

    try:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        model.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return milliseconds(findings, graph.replay, 30)
    except Exception as error:  # a model that waits for the device in its forward pass cannot be captured
        return f"{type(error).__name__}: {error}"[:160]


def _wait(findings: Findings) -> None:
    if findings.device == "cuda":
        torch.cuda.synchronize()
