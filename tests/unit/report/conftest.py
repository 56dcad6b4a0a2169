"""Hand-made records with known answers."""

from collections.abc import Callable
from typing import Any

import pytest

from petbench.record import Cost, Headline, Metrics, Params, Record

Make = Callable[..., Record]
METRICS = {"cola": "matthews_correlation", "stsb": "pearson_spearman", "mrpc": "accuracy_f1"}


def record(
    adapter: str = "krona",
    task: str = "rte",
    seed: int = 0,
    value: float | None = 0.7,
    *,
    model: str = "minilm",
    protocol: str = "petbench",
    status: str = "done",
    lr: float = 1e-3,
    adapter_config: dict[str, Any] | None = None,
    task_config: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    digest: str = "d1",
    precision: str = "fp32",
    versions: dict[str, str] | None = None,
    source: str = "local",
    step_seconds: float | None = None,
    params: int = 1000,
    provenance: dict[str, Any] | None = None,
    report: dict[str, dict[str, float]] | None = None,
    constant: tuple[str, ...] = (),
) -> Record:
    """One record; everything not given is the same in all."""
    settings: dict[str, Any] = {
        "model": {"name": f"hub/{model}", "label": model, "weights": "pretrained"},
        "adapter": {"method": adapter, **(adapter_config or {})},
        "task": {"name": task, "max_length": 128, "train_examples": None, **(task_config or {})},
        "data": {"source": "auto", "max_train_examples": None},
        "protocol": {"name": protocol},
        "trainer": {"epochs": 3.0, "precision": "auto", "device": "cpu", **(trainer or {})},
        "optim": {"lr": lr},
        "seed": seed,
        "recipe": None,
        "results_dir": "anywhere",
        **(config or {}),
    }
    metric = METRICS.get(task, "accuracy")
    done = status == "done"
    name = f"{adapter}-{task}-{seed}-{lr}-{model}-{protocol}-{digest}-{precision}-{adapter_config}-{status}"
    return Record(
        run_id=f"{abs(hash(name)):012x}"[:12],
        status=status,  # type: ignore[arg-type]
        reason=None if done else "made to",
        task=task, model=model, adapter=adapter, seed=seed, config=settings, protocol=protocol,
        metrics=Metrics(report=report or {"validation": {metric: value or 0.0}}, constant=constant)
        if done else Metrics(),
        headline=Headline(name=metric, value=value, split="validation", n=277) if done and value is not None else None,
        params=Params(tuned=params + 5, adapter=params, head=10, norm=5, other=0, trainable=params + 15,
                      backbone=100_000, tuned_percent=(params + 5) / 1000, trainable_percent=(params + 15) / 1000),
        cost=Cost(step_seconds_median=step_seconds, peak_memory_bytes=2**20, adapter_bytes=4096),
        provenance={
            "versions": versions or {"torch": "2.13.0"}, "precision": precision, "device": {"type": "cpu", "name": "x"},
            "data": {"source": source, "digest": digest}, **(provenance or {}),
        },
    )  # fmt: skip


@pytest.fixture
def make() -> Make:
    """The builder of records."""
    return record
