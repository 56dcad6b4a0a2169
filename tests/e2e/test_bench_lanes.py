"""`petbench bench --lanes`: its rows, what it leaves out, what it refuses. No time is asserted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from petbench.cli import run_command
from petbench.sweep.lane_times import clock_of_runs

SMALL = ["--batch", "4", "--length", "8", "--rounds", "3", "--json"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("petbench.measure.latency.TIMED", 1)
    monkeypatch.setattr("petbench.measure.latency.WARM_UP", 0)
    monkeypatch.chdir(tmp_path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    threads = torch.get_num_threads()
    try:
        ended = run_command(["bench", *arguments, *SMALL])
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr()
    assert ended == 0, said.err
    return json.loads(said.out), said.err


def test_each_number_of_lanes_has_a_row_and_nothing_is_left_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made, told = printed(capsys, "model=tiny_bert", "adapter=krona,full,peft/lora", "--lanes", "1,3")
    rows = made["rows"]
    assert [(row["name"], row["lanes"], row["together"]) for row in rows] == [
        ("krona", 1, 1),
        ("krona", 3, 3),
    ]
    assert all(row["ratio"] == row["row_ms"] / row["lanes_ms"] > 0 for row in rows)
    assert rows[0]["padding"] == 0
    assert rows[0]["single_peak_bytes"] == rows[1]["single_peak_bytes"] > 1e6
    assert "full is left out: its runs share no passes, because the method trains the backbone itself" in told
    assert (
        "peft/lora is left out: its runs share no passes, because the method is wired by another library"
        in told
    )
    assert "were cut" not in told  # each run would say so of its rows
    assert made["shape"] == {"batch": 4, "length": 8, "rounds": 3}
    assert made["clock"] == "CPU time of the process"
    assert (made["machine"]["threads"], made["model"]) == (1, "tiny_bert")
    assert made["command"].startswith(
        "petbench bench model=tiny_bert adapter=krona,full,peft/lora --lanes 1,3 "
    )
    assert made["packages"]["torch"] == torch.__version__
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("model", "together"), [("tiny_t5", 2), ("tiny_gpt2", 2), ("tiny_deberta", 1)])
def test_a_family_whose_rows_share_tensors_is_timed_one_by_one(
    capsys: pytest.CaptureFixture[str], model: str, together: int
) -> None:
    made, _ = printed(capsys, f"model={model}", "adapter=bitfit", "--lanes", "2")
    (row,) = made["rows"]
    assert (row["lanes"], row["together"]) == (2, together)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lanes", "4,2"], r"--lanes: got '4,2'. Legal: each number once, the smallest first"),
        (["--lanes", "1,x"], r"--lanes: got 'x'. Legal: a whole number from 1 to 1024"),
        (["--lanes", "2", "--what", "step"], "got --lanes and --what. Legal: one of them"),
        (
            ["seed=1", "--lanes", "2"],
            "bench --lanes: got seed=1. Legal: --batch, --length, --rounds and --threads",
        ),
        (["model=tiny_bert,tiny_gpt2"], "got the models tiny_bert, tiny_gpt2. Legal: one model"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    threads = torch.get_num_threads()
    try:
        assert run_command(["bench", "adapter=lora", *arguments]) == 2
    finally:
        torch.set_num_threads(threads)
    assert said in capsys.readouterr().err


def test_the_clock_of_runs_counts_all_threads_of_the_process_or_is_the_wall() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert clock_of_runs(torch.device("cpu")).name == "CPU time of the process"
        assert clock_of_runs(torch.device("cuda")).name == "wall time"
        torch.set_num_threads(2)
        assert clock_of_runs(torch.device("cpu")).name == "wall time"
    finally:
        torch.set_num_threads(before)
