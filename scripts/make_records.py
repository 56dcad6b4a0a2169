"""Writes made-up run records for tests and speed checks: never results, and marked as made.

python scripts/make_records.py FOLDER --count 2000
"""

import argparse
import hashlib
import math
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path
from random import Random
from typing import Any

from petbench.config.sections import (
    AdapterSpec,
    DataSpec,
    EvalSpec,
    LoggerSpec,
    ModelSpec,
    OptimSpec,
    ProtocolSpec,
    TaskSpec,
    TrainerSpec,
)
from petbench.config.spec import RunSpec, canonical_json
from petbench.record import Best, Cost, Headline, Merge, Metrics, Params, Point, Record, write_record

# task: (metric, level of a good method, spread over seeds, report rows, majority share)
TASKS: dict[str, tuple[str, float, float, int, float]] = {
    "cola": ("matthews_correlation", 0.58, 0.012, 1043, 0.0),
    "sst2": ("accuracy", 0.935, 0.004, 872, 0.509),
    "mrpc": ("accuracy_f1", 0.88, 0.008, 408, 0.684),
    "stsb": ("pearson_spearman", 0.89, 0.003, 1500, 0.0),
    "qqp": ("accuracy_f1", 0.89, 0.002, 40430, 0.632),
    "mnli": ("accuracy", 0.84, 0.003, 9815, 0.354),
    "qnli": ("accuracy", 0.91, 0.003, 5463, 0.505),
    "rte": ("accuracy", 0.72, 0.018, 277, 0.527),
}
# method: (settings, share of the backbone, gain over the level, step time against LoRA)
METHODS: dict[str, tuple[dict[str, Any], float, float, float]] = {
    "full": ({}, 1.0, 0.004, 1.35),
    "lora": ({"rank": 8, "alpha": 16.0, "targets": ["query", "value"]}, 0.0027, 0.0, 1.0),
    "krona": ({"factor_shape": [32, 24], "scale": 1.0}, 0.0004, 0.002, 1.02),
    "compacter": ({"phm_dim": 4, "bottleneck_dim": 24}, 0.0005, -0.006, 1.12),
    "hadamard": ({"layers": "all"}, 0.0003, -0.012, 0.96),
    "kernel_mix": ({"query_rank": 1, "value_rank": 2}, 0.0049, 0.001, 1.08),
    "bitfit": ({}, 0.0009, -0.010, 0.9),
    "head_only": ({}, 0.0, -0.09, 0.6),
}
MERGEABLE = ("lora", "krona", "hadamard", "kernel_mix")
MODELS = {"minilm": 22_713_216, "bert_base": 109_482_240, "roberta_base": 124_645_632}
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
CUTS = (100, 500, 1000, 2000)
SEEDS = 5
Member = tuple[str, str, str, int, dict[str, Any]]


def members() -> Iterator[Member]:
    """Model, task, method, seed, changes; endless: the grid, learning rates, low resource, more seeds."""
    for wave in count():
        for model in MODELS:
            seeds = range(wave * SEEDS, (wave + 1) * SEEDS)
            yield from (
                (model, task, method, seed, {}) for method, task, seed in product(METHODS, TASKS, seeds)
            )
            if wave == 0:
                for method, rate, seed in product(("lora", "krona", "bitfit"), RATES, range(3)):
                    yield model, "rte", method, seed, {"lr": rate}
                for method, cut, seed in product(("full", "lora", "krona"), CUTS, range(3)):
                    yield model, "sst2", method, seed, {"train_examples": cut}


def make(member: Member) -> Record:
    """One record that depends on the member only."""
    model, task, method, seed, changes = member
    settings, share, gain, pace = METHODS[method]
    metric, level, spread, rows, majority = TASKS[task]
    cut, rate = changes.get("train_examples"), changes.get("lr", 5e-4)
    random = Random(canonical_json([model, task, method, seed, changes]))
    backbone = MODELS[model]
    spec = RunSpec(
        model=ModelSpec(name=f"made/{model}"),
        adapter=AdapterSpec(method=method),
        task=TaskSpec(name=task, train_examples=cut),
        data=DataSpec(), protocol=ProtocolSpec(), trainer=TrainerSpec(), optim=OptimSpec(lr=rate),
        eval=EvalSpec(), logger=LoggerSpec(), seed=seed,
    )  # fmt: skip
    config = spec.canonical()
    config["adapter"] |= settings
    digest = hashlib.sha256(f"made {task}".encode()).hexdigest()
    run_id = hashlib.sha256(canonical_json(config).encode()).hexdigest()[:12]
    provenance = {
        "git": {"commit": "0" * 40, "dirty": False},
        "versions": {"petbench": "0.0.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "device": "made", "threads": 2, "precision": "fp32",
        "data": {"source": "made", "digest": digest, "majority": {"validation": majority}},
        "model": {"source": "made", "digest": "0" * 64},
    }  # fmt: skip
    head, adapter = 768 * 2 + 2, round(backbone * share)
    params = Params(
        tuned=adapter, adapter=adapter, head=head, norm=0, other=0, trainable=adapter + head, backbone=backbone,
        tuned_percent=100 * adapter / backbone, trainable_percent=100 * (adapter + head) / backbone,
    )  # fmt: skip
    common: dict[str, Any] = {
        "run_id": run_id, "task": task, "model": model, "adapter": method, "seed": seed, "config": config,
        "protocol": spec.protocol.name, "provenance": provenance, "params": params,
    }  # fmt: skip
    fate = random.random()
    if fate < 0.01:
        status = "diverged" if fate < 0.006 else "failed"
        reason = "loss is NaN at step 212" if status == "diverged" else "made to fail"
        return Record(status=status, reason=reason, **common)
    penalty = 0.05 * abs(math.log10(rate / 5e-4)) + (0.06 * math.log10(4000 / cut) if cut else 0.0)
    size = {"minilm": -0.03, "bert_base": 0.0, "roberta_base": 0.025}[model]
    score = level + gain + size - penalty + random.gauss(0, spread)
    fallen = task in ("cola", "rte") and random.random() < 0.02
    score = majority if fallen else min(round(score * rows) / rows, 0.99)
    step = pace * backbone * 1.1e-9 * random.uniform(0.97, 1.03)
    curve = tuple(_curve(score, step, random))
    values = {metric: score} | ({"accuracy": majority} if fallen and metric == "accuracy" else {})
    return Record(
        status="done",
        metrics=Metrics(selection={metric: score + random.gauss(0, 0.005)}, report={"validation": values}),
        headline=Headline(name=metric, value=score, split="validation", n=rows),
        cost=Cost(
            step_seconds_median=step, train_seconds=step * 1000, eval_seconds=4.0, load_seconds=1.5,
            examples_per_second=32 / step, tokens_per_second=32 * 40 / step, padding_fraction=0.06,
            peak_memory_bytes=round(backbone * (16 if method == "full" else 7)),
            adapter_bytes=4 * (adapter + head),
            time_to_best_seconds=step * 800, latency_unmerged_ms=9.0 * pace,
            latency_merged_ms=9.0 if method in MERGEABLE else None,
        ),
        best=Best(step=800, epoch=8.0),
        merge=Merge(mergeable=method in MERGEABLE, max_abs_logit_change=3e-6),
        curve=curve, **common,
    )  # fmt: skip


def _curve(score: float, step: float, random: Random) -> Iterator[Point]:
    """Ten evaluations that rise to the score."""
    for epoch in range(1, 11):
        reached = score * (1 - 0.35 * math.exp(-epoch / 2)) + random.gauss(0, 0.003)
        yield Point(
            step=epoch * 100, epoch=epoch, seconds=round(epoch * 100 * step, 3),
            loss=round(0.7 * math.exp(-epoch / 5), 4), score=round(reached, 4),
        )  # fmt: skip


def write(folder: Path, number: int) -> int:
    """Write this many records into `folder`/runs; how many differ."""
    seen = set()
    for member, _ in zip(members(), range(number), strict=False):
        record = make(member)
        seen.add(record.run_id)
        write_record(record, folder)
    return len(seen)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    options = parser.parse_args()
    print(f"{write(options.folder, options.count)} made records in {options.folder / 'runs'}")


if __name__ == "__main__":
    main()
