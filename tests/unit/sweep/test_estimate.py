"""Estimates come from like runs on the same device, and say when they come from unlike ones."""

from typing import Any

import pytest

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.record import Cost, Point, Record
from petbench.sweep.estimate import Estimate, Measured


def spec(*overrides: str) -> RunSpec:
    (member,) = expand(["model=tiny_bert", "task=rte", "data=toy", *overrides])
    return parse(member.values, spec_of)


def point(step: int) -> Point:
    return Point(step=step, epoch=1.0, seconds=1.0, loss=0.5, score=0.5)


def record(of: RunSpec, *, step: float, load: float = 2.0, memory: int = 100, **fields: Any) -> Record:
    """A run of ten steps of `step` seconds, a quarter of it evaluation."""
    return Record(
        **{
            "run_id": "x", "status": "done", "task": of.task.name, "model": of.model.label,
            "adapter": of.adapter.label, "seed": of.seed, "config": of.canonical(), "protocol": "petbench",
            "cost": Cost(
                train_seconds=7.5 * step, eval_seconds=2.5 * step, load_seconds=load, peak_memory_bytes=memory
            ),
            "curve": (point(5), point(10)), "provenance": {"device": "cpu"},
        } | fields
    )  # fmt: skip


KRONA = spec("adapter=krona")


def test_seconds_are_load_and_steps_with_their_evaluation() -> None:
    measured = Measured([record(KRONA, step=0.1), record(KRONA, step=0.3, load=4.0, memory=300)], "cpu")
    found = measured.of(spec("adapter=krona", "seed=7", "optim.lr=1e-2"), 1000)
    assert found == Estimate(seconds=pytest.approx(3.0 + 1000 * 0.2), memory_bytes=200)


def test_the_nearest_like_run_is_taken_and_a_farther_one_marked() -> None:
    lora, mrpc = spec("adapter=lora"), spec("adapter=krona", "task=mrpc")
    measured = Measured([record(lora, step=1.0), record(mrpc, step=2.0), record(KRONA, step=3.0)], "cpu")
    assert measured.of(KRONA, 10) == Estimate(pytest.approx(32.0), 100)
    assert measured.of(spec("adapter=krona", "task=cola"), 10) == Estimate(
        pytest.approx(27.0), 100, near=True
    )
    assert measured.of(spec("adapter=ia3"), 10).near
    assert measured.of(spec("adapter=ia3"), 10).seconds == pytest.approx(22.0)


@pytest.mark.parametrize(
    "other",
    [
        ["trainer.batch_size=64"], ["task.max_length=64"], ["trainer.precision=bf16"],
        ["trainer.gradient_checkpointing=true"], ["model=tiny_roberta"],
    ],
)  # fmt: skip
def test_unlike_runs_measure_nothing(other: list[str]) -> None:
    measured = Measured([record(KRONA, step=1.0)], "cpu")
    assert measured.of(spec("adapter=krona", *other), 10) == Estimate()


def test_other_devices_and_unfinished_runs_measure_nothing() -> None:
    assert Measured([record(KRONA, step=1.0)], "H200").of(KRONA, 10) == Estimate()
    failed = record(KRONA, step=1.0, status="failed")
    assert Measured([failed], "cpu").of(KRONA, 10) == Estimate()
    assert Measured([record(KRONA, step=1.0, curve=())], "cpu").of(KRONA, 10) == Estimate()
