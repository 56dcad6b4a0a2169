"""Two processes on one run (torchrun): the same numbers as one process, one record, one set of lines."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from petbench.record import Record, read_record

# 461 rows in batches of 4: the last one has a single row, so one process has none.
WORDS = ["train", "adapter=krona", "task=rte", "model=tiny_bert", "data=toy", "trainer.batch_size=4"]
WORDS += ["trainer.epochs=1", "trainer.precision=fp32", "trainer.device=cpu", "trainer.threads=1"]
WORDS += ["trainer.gradient_accumulation=2", "trainer.bucket=false"]
NO_DROPOUT = ["hidden_dropout_prob", "attention_probs_dropout_prob"]
WORDS += [f"++model.known.config.{name}=0" for name in NO_DROPOUT]

pytestmark = pytest.mark.slow


def launched(place: Path, processes: int, *more: str) -> subprocess.CompletedProcess[str]:
    """The command under torchrun, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    command += [f"--master_port={port}", "-m", "petbench.cli", *WORDS, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PETBENCH_CACHE": str(place / "cache")}
    return subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def record_in(results: Path) -> Record:
    (folder,) = (results / "runs").iterdir()
    record = read_record(folder)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("processes")
    for count in (1, 2):
        done = launched(place, count, f"results_dir=by{count}")
        assert done.returncode == 0, done.stderr
        (place / f"by{count}.out").write_text(done.stdout)
    return place


def test_two_processes_take_the_steps_of_one(place: Path) -> None:
    one, two = record_in(place / "by1"), record_in(place / "by2")
    assert one.run_id == two.run_id  # where it runs is no part of what it is
    assert (one.provenance.processes, two.provenance.processes) == (1, 2)
    assert two.curve[-1].loss == pytest.approx(one.curve[-1].loss, abs=1e-4)
    name = f"runs/{one.run_id}/adapter/adapter.safetensors"
    first, second = load_file(place / "by1" / name), load_file(place / "by2" / name)
    assert all(torch.allclose(first[key], second[key], atol=1e-3) for key in first)


def test_rows_are_answered_once_each(place: Path) -> None:
    one, two = record_in(place / "by1"), record_in(place / "by2")
    for results, record in (("by1", one), ("by2", two)):
        path = place / results / f"runs/{record.run_id}/predictions/report-validation.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == len({line["idx"] for line in lines}) == 128


def test_only_the_first_process_speaks(place: Path) -> None:
    for text in ((place / "by1.out").read_text(), (place / "by2.out").read_text()):
        assert text.count("Scores: rte") == 1
        assert text.count("run folder:") == 1


def test_throughput_is_of_all_processes(place: Path) -> None:
    cost = record_in(place / "by2").cost
    assert cost.examples_per_second is not None
    assert cost.train_seconds is not None
    assert round(cost.examples_per_second * cost.train_seconds) == 461


def test_a_diverged_run_ends_in_all_processes(place: Path) -> None:
    done = launched(place, 2, "optim.lr=1e30", "results_dir=diverged")
    assert done.returncode != 0
    assert record_in(place / "diverged").status == "diverged"
