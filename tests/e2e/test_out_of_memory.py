"""A device that has no room for a micro-batch: the step is taken again in smaller pieces, and the record says so."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertForSequenceClassification

from petbench.cli import run_command
from toy_runs import BASE, adapter_file, replacing, train

SMALL = [
    "adapter=krona",
    "trainer.max_steps=3",
    "trainer.batch_size=8",
    "trainer.threads=1",
    "data.toy_train=32",
]
SMALL += [
    f"++model.known.config.{name}=0" for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")
]
SMALL += ["data.toy_validation=8", "logger=none"]


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("petbench.measure.latency.TIMED", 1)
    monkeypatch.setattr("petbench.measure.latency.WARM_UP", 0)


def room_for(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """A device that trains so many rows at once and no more."""
    plain = BertForSequenceClassification.forward

    def forward(self: Any, *arguments: Any, **tensors: Any) -> Any:
        if self.training and len(tensors["input_ids"]) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return plain(self, *arguments, **tensors)

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)


def test_half_the_rows_twice_as_often_gives_the_same_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        room_for(patch, 2)
        found = train(*SMALL, results="small")
    assert found.changes == tuple(
        f"out of memory at step 1: from there on {now} micro-batches a step in place of {was}, the same batch in "
        "smaller pieces"
        for was, now in ((1, 2), (2, 4))
    )
    assert found.changes[0] in capsys.readouterr().err
    asked = train(*SMALL, "trainer.gradient_accumulation=4", results="asked")
    assert asked.changes == ()
    assert adapter_file(found, "small").read_bytes() == adapter_file(asked, "asked").read_bytes()
    assert found.cost.examples_per_second is not None and asked.cost.train_seconds is not None
    assert found.cost.train_seconds is not None
    assert round(found.cost.examples_per_second * found.cost.train_seconds) == 24  # no row counted twice


def test_no_room_for_a_single_row_is_a_failed_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room_for(monkeypatch, 0)
    assert run_command(replacing(BASE, *SMALL, "results_dir=none")) == 1
    said = capsys.readouterr().err
    assert (
        "out of memory with 8 micro-batches a step (CUDA out of memory. Tried to allocate 2.00 GiB.)" in said
    )
    assert "Try a smaller trainer.batch_size or task.max_length" in said
