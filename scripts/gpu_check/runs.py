"""Whole runs on the device: every method, a run that goes on after a stop, how busy the device is, whose peak it is."""

import contextlib
import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import torch
from findings import Findings
from safetensors.torch import load_file

from petbench.adapters.registry import methods as native
from petbench.cli import run_command
from petbench.compose.expand import choice
from petbench.config.tree import options
from petbench.inference.predict import predict
from petbench.record import Record, read_record
from petbench.training.fit import Fit
from petbench.training.prepare import rows_of
from petbench.tuned.load import load_run

MERGE_TOLERANCE = 1e-4  # of a logit, in float32
QUICK = ("krona", "compacter", "kernel_mix")


def train(
    findings: Findings, tag: str, *words: str, steps: int = 20, rows: int = 128
) -> tuple[int, Record | None, str]:
    """One run through the command line, in this process: exit status, record, what it said on standard error."""
    results = findings.work / tag
    command = [
        "train",
        "task=rte",
        "data=toy",
        f"data.toy_train={rows}",
        "data.toy_validation=32",
        "logger=none",
    ]
    command += [f"trainer.max_steps={steps}", f"trainer.device={findings.device}", "trainer.progress=off"]
    command += (
        [] if any(w.startswith("trainer.eval_every") for w in words) else [f"trainer.eval_every={steps // 2}"]
    )
    command += [] if any(w.startswith("trainer.batch_size") for w in words) else ["trainer.batch_size=16"]
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = run_command([*command, f"results_dir={results}", *words])
    folders = list(results.glob("runs/*"))
    return status, read_record(folders[0]) if folders else None, said.getvalue()


def names() -> list[str]:
    """Every method by one of its choices, and PEFT's."""
    found: dict[str, str] = {}
    for name in options("adapter"):
        if "/" not in name:
            found.setdefault(str(choice("adapter", name)["method"]), name)
    found = {method: name for method, name in found.items() if method in native()}
    return [*sorted(found.values()), "peft/lora", "peft/lokr", "peft/adalora"]


def methods(findings: Findings, model: str, precisions: tuple[str, ...]) -> None:
    """Each trains, merges within tolerance in fp32, and gives its answers again after loading."""
    for name in QUICK if findings.quick else names():
        for precision in precisions:
            title = f"{model} {name} {precision}"
            if findings.seconds_left < 60:
                findings.keep(title, "not run: no time left")
                return
            tag = f"methods/{title.replace('/', '_').replace(' ', '-')}"
            began = time.perf_counter()
            status, record, said = train(
                findings, tag, f"adapter={name}", f"model={model}", f"trainer.precision={precision}"
            )
            row: dict[str, Any] = {"exit": status, "seconds": round(time.perf_counter() - began, 1)}
            if status or record is None:
                refused = status == 2  # such as head_only on a model without a head
                findings.keep(title, row | {"said": said[-300:]}, bad=not refused)
                continue
            moved = record.merge.max_abs_logit_change if record.merge is not None else None
            same = _same_answers(findings, record, findings.work / tag)
            wrong = (precision == "fp32" and (moved or 0) > MERGE_TOLERANCE) or same < (
                1 if precision == "fp32" else 0.9
            )
            findings.keep(title, row | {"merging moves a logit by": moved, "same answers": same}, bad=wrong)


def _same_answers(findings: Findings, record: Record, results: Path) -> float:
    """The share of validation rows that the run, loaded again, answers as it did when it was trained."""
    loaded = load_run(record.run_id, results)
    _, rows = rows_of(loaded.spec)
    again = predict(loaded, rows.report["validation"], device=findings.device).answers
    text = (results / "runs" / record.run_id / "predictions/report-validation.jsonl").read_text()
    first = [json.loads(line)["prediction"] for line in text.splitlines()]
    return sum(a == b for a, b in zip(first, again, strict=True)) / len(first)


def resume(findings: Findings) -> None:
    """A repeat, and a run that was stopped after its first evaluation and went on, end with the same bits under
    strict determinism; without it the distance is told."""
    cases = [
        (findings.large, "krona", "bf16"),
        (findings.large, "lora", "fp32"),
        ("tiny_t5", "krona", "bf16"),
    ]
    for strict in ("true", "false"):
        for model, name, precision in cases[: 1 if findings.quick else None]:
            if findings.seconds_left < 60:
                return
            ends = []
            for turn in ("whole", "repeat", "stopped"):
                tag = f"resume/{strict}-{model}-{name}-{precision}-{turn}"
                words = [f"adapter={name}", f"model={model}", "model.weights=random", "model.tokenizer=built"]
                words += [f"trainer.precision={precision}", f"trainer.deterministic={strict}"]
                if turn == "stopped":
                    with _stopped_after_its_first_state():
                        train(findings, tag, *words)
                status, record, said = train(findings, tag, *words)
                if status or record is None:
                    raise RuntimeError(f"{tag}: {said[-300:]}")
                ends.append(
                    load_file(findings.work / tag / "runs" / record.run_id / "adapter/adapter.safetensors")
                )
            gaps = [max(float((ends[0][key] - end[key]).abs().max()) for key in end) for end in ends[1:]]
            title = f"resume {model} {name} {precision} {'strict' if strict == 'true' else 'as it is'}"
            row = {"a repeat differs by": gaps[0], "going on differs by": gaps[1]}
            findings.keep(title, row, bad=strict == "true" and max(gaps) > 0)


@contextlib.contextmanager
def _stopped_after_its_first_state() -> Any:
    plain = Fit._keep

    def stop(self: Fit, *arguments: Any) -> None:
        plain(self, *arguments)
        raise KeyboardInterrupt

    Fit._keep = stop  # type: ignore[method-assign]
    try:
        yield
    finally:
        Fit._keep = plain  # type: ignore[method-assign]


def one_run(findings: Findings) -> None:
    """What a real run's record says of its time, and how busy the device was meanwhile."""
    number, busy, over = 20 if findings.quick else 300, [], threading.Event()

    def watch() -> None:
        with contextlib.suppress(Exception):  # without NVML there is no figure
            while not over.wait(0.1):
                busy.append(torch.cuda.utilization())

    threading.Thread(target=watch, daemon=True).start()
    words = ["adapter=krona", f"model={findings.large}", "model.weights=random", "model.tokenizer=built"]
    words += ["trainer.precision=bf16", "trainer.batch_size=32", f"trainer.eval_every={number}"]
    began = time.perf_counter()
    status, record, said = train(findings, "one", *words, steps=number, rows=128 if findings.quick else 4096)
    over.set()
    if status or record is None:
        findings.keep("one run", {"exit": status, "said": said[-300:]}, bad=True)
        return
    cost = record.cost
    row = {"whole s": round(time.perf_counter() - began, 1), "loading s": cost.load_seconds}
    row |= {
        "steps s": cost.train_seconds,
        "evaluation s": cost.eval_seconds,
        "peak bytes": cost.peak_memory_bytes,
    }
    findings.keep("one run", row | {"busy % while it ran": round(sum(busy) / len(busy)) if busy else None})


def memory(findings: Findings) -> None:
    """The same run alone and after another one: its peak must be its own."""
    for name in ("lora", "peft/lora"):
        peaks = []
        for turn in ("first", "again"):
            words = [
                f"adapter={name}",
                f"model={findings.large}",
                "model.weights=random",
                "model.tokenizer=built",
            ]
            tag = f"memory/{name.replace('/', '_')}-{turn}"
            _, record, _ = train(findings, tag, *words, "trainer.precision=bf16", steps=8)
            peaks.append(record.cost.peak_memory_bytes if record is not None else None)
        first, again = peaks
        more = None if first is None or again is None else again / first
        on_device = findings.device == "cuda"  # of a CPU the whole process is measured
        findings.keep(f"peak of {name}", peaks, bad=more is None or (on_device and more > 1.02))


def graphs(findings: Findings) -> None:
    """The same runs with and without CUDA graphs: scores, seconds of a step, and what was said where there are none."""
    for name in ("krona", "compacter", "kernel_mix", "peft/lora"):
        if findings.seconds_left < 60:
            return
        row: dict[str, Any] = {}
        for way in ("off", "auto"):
            words = [
                f"adapter={name}",
                f"model={findings.large}",
                "model.weights=random",
                "model.tokenizer=built",
            ]
            words += [f"trainer.cuda_graph={way}", "trainer.precision=bf16"]
            tag = f"graphs/{name.replace('/', '_')}-{way}"
            status, record, said = train(findings, tag, *words, steps=60)
            if status or record is None or record.headline is None:
                row[way] = said[-300:]
                continue
            row[way] = {"score": record.headline.value, "ms": 1000 * (record.cost.step_seconds_median or 0.0)}
            if "without graphs" in said:
                row["why none"] = said[-300:]
        failed = any(isinstance(row[way], str) for way in ("off", "auto"))
        none = (
            "why none" in row and torch.backends.cuda.is_built()
        )  # a torch for the CPU alone has no graphs at all
        findings.keep(f"run with graphs {name}", row, bad=failed or none)
