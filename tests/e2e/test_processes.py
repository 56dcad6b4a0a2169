"""Two processes on one run (torchrun): the same numbers as one process, one record, one set of lines."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from petbench.record import Record, read_record
from toy_runs import replacing

# 461 rows in batches of 4: the last one has a single row, so one process has none.
WORDS = ["train", "adapter=krona", "task=rte", "model=tiny_bert", "data=toy", "trainer.batch_size=4"]
WORDS += ["trainer.epochs=1", "trainer.precision=fp32", "trainer.device=cpu", "trainer.threads=1"]
WORDS += ["trainer.gradient_accumulation=2", "trainer.bucket=false"]
NO_DROPOUT = ["hidden_dropout_prob", "attention_probs_dropout_prob"]
WORDS += [f"++model.known.config.{name}=0" for name in NO_DROPOUT]

FEW = [
    "trainer.max_steps=6",
    "trainer.batch_size=8",
    "data.toy_train=48",
    "data.toy_validation=16",
    "logger=none",
]


def launched(place: Path, processes: int, *more: str) -> subprocess.CompletedProcess[str]:
    """The command under torchrun, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    command += [f"--master_port={port}", "-m", "petbench.cli", *replacing(WORDS, *more)]
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


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(place: Path) -> None:
    one, two = record_in(place / "by1"), record_in(place / "by2")
    assert one.run_id == two.run_id  # where it runs is no part of what it is
    assert (one.provenance.processes, two.provenance.processes) == (1, 2)
    assert two.curve[-1].loss == pytest.approx(one.curve[-1].loss, abs=1e-4)
    name = f"runs/{one.run_id}/adapter/adapter.safetensors"
    first, second = load_file(place / "by1" / name), load_file(place / "by2" / name)
    assert all(torch.allclose(first[key], second[key], atol=1e-3) for key in first)


@pytest.mark.slow
def test_rows_are_answered_once_each(place: Path) -> None:
    one, two = record_in(place / "by1"), record_in(place / "by2")
    for results, record in (("by1", one), ("by2", two)):
        path = place / results / f"runs/{record.run_id}/predictions/report-validation.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == len({line["idx"] for line in lines}) == 128


@pytest.mark.slow
def test_only_the_first_process_speaks(place: Path) -> None:
    for text in ((place / "by1.out").read_text(), (place / "by2.out").read_text()):
        assert text.count("Scores: rte") == 1
        assert text.count("run folder:") == 1


@pytest.mark.slow
def test_throughput_is_of_all_processes(place: Path) -> None:
    cost = record_in(place / "by2").cost
    assert cost.examples_per_second is not None
    assert cost.train_seconds is not None
    assert round(cost.examples_per_second * cost.train_seconds) == 461


@pytest.mark.slow
def test_a_diverged_run_ends_in_all_processes(place: Path) -> None:
    done = launched(place, 2, "optim.lr=1e30", "results_dir=diverged")
    assert done.returncode != 0
    assert record_in(place / "diverged").status == "diverged"


def test_two_processes_give_the_values_of_one(tmp_path: Path) -> None:
    """The same batch in two halves, dropout off, gloo on the CPU."""
    for count in (1, 2):
        done = launched(tmp_path, count, *FEW, f"results_dir=by{count}")
        assert done.returncode == 0, done.stderr
        assert "draw dropout masks" not in done.stderr
    one, two = record_in(tmp_path / "by1"), record_in(tmp_path / "by2")
    assert two.provenance.processes == 2
    assert two.changes == ()
    assert [point.loss for point in two.curve] == pytest.approx([point.loss for point in one.curve], abs=1e-6)
    name = f"runs/{one.run_id}/adapter/adapter.safetensors"
    first, second = load_file(tmp_path / "by1" / name), load_file(tmp_path / "by2" / name)
    assert first.keys() == second.keys()
    assert max(float((first[key] - second[key]).abs().max()) for key in first) < 1e-6
    assert one.metrics == two.metrics


@pytest.mark.slow
def test_with_dropout_two_processes_say_what_differs(tmp_path: Path) -> None:
    on = [f"++model.known.config.{name}=0.1" for name in NO_DROPOUT]
    done = launched(tmp_path, 2, *FEW, *on, "results_dir=on")
    assert done.returncode == 0, done.stderr
    (change,) = record_in(tmp_path / "on").changes
    assert change.startswith("2 processes draw dropout masks of their own")
    assert done.stderr.count(change) == 1


@pytest.mark.parametrize("adapter", ["hadamard", "peft/adalora"])
def test_stages_and_tensors_at_rest_in_two_processes(adapter: str, tmp_path: Path) -> None:
    """Hadamard trains the head, then the adapters; AdaLoRA prunes ranks, whose tensors may get no gradient."""
    for count in (1, 2):
        done = launched(tmp_path, count, *FEW, f"adapter={adapter}", f"results_dir=by{count}")
        assert done.returncode == 0, done.stderr
    one, two = record_in(tmp_path / "by1"), record_in(tmp_path / "by2")
    assert [point.loss for point in two.curve] == pytest.approx([point.loss for point in one.curve], abs=1e-6)
    name = f"runs/{one.run_id}/adapter/adapter.safetensors"
    first, second = load_file(tmp_path / "by1" / name), load_file(tmp_path / "by2" / name)
    assert max(float((first[key] - second[key]).abs().max()) for key in first) < 1e-5


@pytest.mark.slow
def test_two_stopped_processes_go_on_to_the_same_bits(tmp_path: Path) -> None:
    """With dropout: each process draws on as it would have."""
    more = [f"++model.known.config.{name}=0.1" for name in NO_DROPOUT]
    more = replacing(FEW, *more, "trainer.max_steps=80", "trainer.eval_every=4")
    whole = launched(tmp_path, 2, *more, "results_dir=whole")
    assert whole.returncode == 0, whole.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}"]
    command += ["-m", "petbench.cli", *replacing(WORDS, *more, "results_dir=stopped")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PETBENCH_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as running:
        end = time.monotonic() + 240
        while not list(tmp_path.glob("stopped/runs/*/resume.safetensors")) and time.monotonic() < end:
            time.sleep(0.05)
        running.terminate()
        running.communicate()
    assert record_in(tmp_path / "stopped").status != "done"
    again = launched(tmp_path, 2, *more, "results_dir=stopped")
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stdout
    first, second = record_in(tmp_path / "whole"), record_in(tmp_path / "stopped")
    assert first.adapter_sha256 == second.adapter_sha256
