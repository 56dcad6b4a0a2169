"""What a run's figures hold: all of a step in its seconds, no loading, no merging in its peak; and no leftovers."""

import json
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from petbench.machine.clock import peak_memory_bytes
from petbench.record import Record
from petbench.training import feed, measure, session
from petbench.training import train as training
from toy_runs import train

STEPS = 6
FEW = [f"trainer.max_steps={STEPS}", "trainer.batch_size=8", "trainer.eval_every=3", "trainer.log_every=1"]
MIB = 2**20


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder with a token cache of its own; one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def slowed(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, seconds: float) -> None:
    """The same function, but each call takes some time more."""
    original = getattr(owner, name)

    def slow(*arguments: Any, **keywords: Any) -> Any:
        time.sleep(seconds)
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, slow)


def logged(record: Record) -> list[dict[str, Any]]:
    path = Path("results/runs", record.run_id, "metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_seconds_hold_all_of_a_step_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collation and a rank allocation of 0.1 s each are part of all six steps; slow loading, logging and
    evaluations are not."""
    from petbench.adapters.peft.method import PeftInstalled
    from petbench.training.scoring import Scorer

    slowed(monkeypatch, feed, "collate", 0.1)
    slowed(monkeypatch, PeftInstalled, "after_step", 0.1)
    slowed(monkeypatch, session, "load_and_attach", 1.5)
    slowed(monkeypatch, training, "open_tracker", 1.5)
    slowed(monkeypatch, Scorer, "selection", 1.5)
    record = train("adapter=peft/adalora", *FEW)
    cost = record.cost
    assert cost.train_seconds is not None
    assert 0.2 * STEPS <= cost.train_seconds < 0.2 * STEPS + 1.5
    assert cost.step_seconds_median is not None
    assert cost.step_seconds_median >= 0.2
    assert cost.examples_per_second == pytest.approx(8 * STEPS / cost.train_seconds)
    lines = logged(record)
    assert [line["step"] for line in lines] == [1, 2, 3, 3, 4, 5, 6, 6]  # losses, and two evaluations
    assert lines[0]["seconds"] < 1.5
    assert lines[-1]["seconds"] == pytest.approx(cost.train_seconds, abs=1e-3)
    assert [point.seconds for point in record.curve] == [
        pytest.approx(line["seconds"], abs=1e-3) for line in lines if "loss" not in line["values"]
    ]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_the_peak_is_that_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """What merging takes is no part of it; what a step takes is."""
    original = measure.merge_effect

    def large(*arguments: Any) -> Any:
        assert torch.ones(100 * MIB).sum() > 0  # 400 MiB
        return original(*arguments)

    monkeypatch.setattr(measure, "merge_effect", large)
    plain = train("adapter=lora", *FEW)
    assert peak_memory_bytes(torch.device("cpu")) - plain.cost.peak_memory_bytes > 300 * MIB  # type: ignore[operator]

    stock = feed.collate

    def hungry(*arguments: Any) -> Any:
        assert torch.ones(100 * MIB).sum() > 0
        return stock(*arguments)

    monkeypatch.setattr(feed, "collate", hungry)
    other = train("adapter=lora", *FEW, results="hungry")
    assert other.cost.peak_memory_bytes - plain.cost.peak_memory_bytes > 300 * MIB  # type: ignore[operator]


@pytest.mark.parametrize(
    ("adapter", "model"),
    [
        ("krona", "tiny_bert"),
        ("compacter", "tiny_t5"),
        ("prompt_tuning", "tiny_gpt2"),
        ("peft/lora", "tiny_bert"),
    ],
)
def test_no_model_outlives_its_session(monkeypatch: pytest.MonkeyPatch, adapter: str, model: str) -> None:
    built: list[weakref.ref[torch.nn.Module]] = []
    original = session.load_and_attach

    def watched(spec: Any, task: Any) -> Any:
        backbone, tuned = original(spec, task)
        built.extend((weakref.ref(tuned.model), weakref.ref(backbone.model)))
        return backbone, tuned

    monkeypatch.setattr(session, "load_and_attach", watched)
    train(f"adapter={adapter}", f"model={model}", *FEW)
    assert [reference() for reference in built] == [None, None]


def test_only_adaloras_allocation_is_excepted_from_determinism(monkeypatch: pytest.MonkeyPatch) -> None:
    """`kthvalue` has no deterministic form on CUDA; everything else of the run is strict."""
    modes: list[tuple[str, int]] = []
    kthvalue = torch.kthvalue

    def at_threshold(*arguments: Any, **keywords: Any) -> Any:
        modes.append(("kthvalue", torch.get_deterministic_debug_mode()))
        return kthvalue(*arguments, **keywords)

    stock = feed.collate

    def at_batch(*arguments: Any) -> Any:
        modes.append(("batch", torch.get_deterministic_debug_mode()))
        return stock(*arguments)

    monkeypatch.setattr(torch, "kthvalue", at_threshold)
    monkeypatch.setattr(feed, "collate", at_batch)
    record = train(
        "adapter=peft/adalora", "trainer.max_steps=20", "trainer.batch_size=8", "trainer.eval_every=20"
    )
    assert {mode for what, mode in modes if what == "batch"} == {2}  # 2: an error
    allocations = [mode for what, mode in modes if what == "kthvalue"]
    assert len(allocations) > 3
    assert set(allocations) == {0}
    assert record.provenance.tf32 is False
    train("adapter=lora", *FEW, "trainer.deterministic=false", results="free")
    assert modes[-1] == ("batch", 0)


@pytest.mark.parametrize("task", ["rte", "stsb"])
@pytest.mark.parametrize("model", ["tiny_t5", "tiny_t5_gated"])
@pytest.mark.parametrize("adapter", ["krona", "houlsby", "peft/lora"])
def test_a_t5_with_a_head_trains_to_its_record(adapter: str, model: str, task: str) -> None:
    """Its head reads at the end token of every row, those of the latency and the merge effect included."""
    words = (f"adapter={adapter}", f"model={model}", f"task={task}", "task.form=head")
    record = train(*words, "trainer.max_steps=2", "trainer.batch_size=8")
    assert record.status == "done"
    assert record.params is not None
    assert record.params.head > 0
    assert record.cost.latency_unmerged_ms is not None
    assert (record.cost.latency_merged_ms is None) == (adapter == "houlsby")
