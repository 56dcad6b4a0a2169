"""How runs are, read from a results folder: states, progress, owners, time left, and the ledger of what waits."""

import io
import json
import os
import time
from pathlib import Path

import pytest

from petbench.cli import run_command
from petbench.record import Record, write_record
from petbench.sweep import ledger
from petbench.sweep.bar import bar
from petbench.sweep.status import RunState, Status, Watch, label_of
from petbench.training.claim import claimed

CONFIG = """
adapter: {method: lora, name: krona}
task: {name: rte}
model: {name: hub/x, label: minilm}
seed: 3
trainer: {max_steps: %s, epochs: 3.0}
"""


def record(run_id: str, status: str = "done", reason: str | None = None) -> Record:
    return Record(
        run_id=run_id, status=status, reason=reason, task="rte", model="minilm", adapter="krona", seed=0,
        config={}, protocol="petbench",
    )  # type: ignore[arg-type]  # fmt: skip


def begun(results: Path, run_id: str, step: int, epoch: float, max_steps: str = "null") -> Path:
    """A run's folder with a config and a log."""
    folder = results / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG % max_steps)
    lines = [
        {"step": step, "epoch": epoch, "seconds": 1.0, "values": {"loss": 0.5}},
        {"step": step, "epoch": epoch, "seconds": 1.0, "values": {"selection/accuracy": 0.625}},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_states_progress_and_the_time_left(tmp_path: Path) -> None:
    since = time.time() - 30
    write_record(record("aa"), tmp_path)
    write_record(record("bb", "failed", "no memory\nleft"), tmp_path)
    write_record(record("cc", "failed", "of an earlier sweep"), tmp_path)
    os.utime(tmp_path / "runs/cc/record.json", (since - 5, since - 5))
    running = begun(tmp_path, "dd", step=10, epoch=1.0, max_steps="20")
    begun(tmp_path, "ee", step=10, epoch=1.5)  # was killed: no record and no owner
    watch = Watch(tmp_path)
    with claimed(running):
        status = watch.look({name * 2: name for name in "abcdef"}, since)
        assert [run.state for run in status.runs] == [
            "done",
            "failed",
            "waiting",
            "running",
            "waiting",
            "waiting",
        ]
        found = status.runs[3]
        assert (found.part, found.said) == (0.5, "step 10 of 20, accuracy 0.6250")
        assert f"process {os.getpid()}" in found.owner and found.since == pytest.approx(time.time(), abs=5)
        assert status.counts == "1 running, 3 waiting, 1 done, 1 failed"
        # 2.5 of 6 runs in 30 s: the other 3.5 take 42 s.
        assert status.seconds_left(since) == pytest.approx(42, rel=0.1)
    alone = watch.look(watch.all_runs())
    assert {run.run_id: run.state for run in alone.runs} == {
        "aa": "done", "bb": "failed", "cc": "failed", "dd": "stopped", "ee": "stopped",
    }  # fmt: skip
    assert alone.runs[1].said == "no memory left"
    assert Status(()).seconds_left(since) is None
    resumed = Status((RunState("a", "", "running", 0.25), RunState("b", "", "waiting")))
    assert resumed.seconds_left(since) is None, "half a minute of starting says nothing about the pace"
    assert resumed.seconds_left(time.time() - 70) == pytest.approx(490, rel=0.1)


def test_progress_by_epochs_and_a_label_from_the_config(tmp_path: Path) -> None:
    folder = begun(tmp_path, "aa", step=40, epoch=1.5)
    with claimed(folder):
        (run,) = Watch(tmp_path).look({"aa": "x"}).runs
    assert (run.part, run.said) == (0.5, "step 40, epoch 1.5 of 3, accuracy 0.6250")
    assert label_of(folder) == "krona rte minilm seed 3"
    assert label_of(tmp_path) == ""


def test_the_ledger(tmp_path: Path) -> None:
    mine = ledger.this_sweep({"aa": "krona rte minilm seed 0"}, 5.0)
    path = ledger.note(tmp_path, mine)
    assert ledger.note(tmp_path, ledger.this_sweep({"aa": "the same run"}, 6.0)) == path
    (found,) = ledger.sweeps(tmp_path)
    assert (found.runs, found.since, found.alive) == ({"aa": "the same run"}, 6.0, True)
    (tmp_path / "sweeps" / "broken.json").write_text("{")
    dead = json.loads(path.read_text()) | {"started": 1.0}
    path.write_text(json.dumps(dead))
    assert [sweep.alive for sweep in ledger.sweeps(tmp_path)] == [False]
    path.write_text(json.dumps(dead | {"host": "another"}))
    assert [sweep.alive for sweep in ledger.sweeps(tmp_path)] == [None]


@pytest.mark.parametrize("more", [[], ["--watch", "--every", "1"]], ids=["once", "watch"])
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    """A sweep that was stopped: what is done, what failed and why, what is left and how to go on."""
    since = time.time() - 30
    runs = {name: f"krona rte minilm seed {number}" for number, name in enumerate(("aa", "bb", "cc"))}
    note = ledger.note(tmp_path, ledger.this_sweep(runs, since))
    write_record(record("aa"), tmp_path)
    write_record(record("bb", "failed", "no memory left"), tmp_path)
    if not more:
        assert run_command(["status", str(tmp_path)]) == 0
        text = capsys.readouterr().out
        assert "1 waiting, 1 done, 1 failed" in text and "2 of 3 runs" in text
        assert "1 waiting: krona rte minilm seed 2" in text
    note.write_text(json.dumps(json.loads(note.read_text()) | {"started": 1.0}))  # its process is gone
    assert run_command(["status", str(tmp_path), *more]) == 0
    text = capsys.readouterr().out
    assert "the same command goes on with the 1 that are left" in text
    assert "failed: krona rte minilm seed 1 (bb): no memory left" in text
    assert run_command(["status", str(tmp_path / "nowhere")]) == 2


def test_a_note_goes_when_nothing_of_it_is_left_or_another_call_takes_the_rest(tmp_path: Path) -> None:
    from petbench.sweep.sweep import _forget_old

    for name in ("aa", "bb"):
        write_record(record(name), tmp_path)
    for runs in (["aa", "bb"], ["aa", "cc"], ["cc", "dd"]):
        path = ledger.note(tmp_path, ledger.this_sweep(dict.fromkeys(runs, "x"), 0.0))
        path.write_text(json.dumps(json.loads(path.read_text()) | {"started": 1.0}))  # its process is gone
    _forget_old(tmp_path, {"cc": "x"})
    assert [sorted(sweep.runs) for sweep in ledger.sweeps(tmp_path)] == [["cc", "dd"]]
    alive = ledger.this_sweep({"aa": "x"}, 0.0)
    ledger.note(tmp_path, alive)
    _forget_old(tmp_path, {})
    assert len(ledger.sweeps(tmp_path)) == 2  # a sweep that goes on ends its own
    _forget_old(tmp_path, {}, also=alive.runs)
    assert len(ledger.sweeps(tmp_path)) == 1


def test_the_bar_shows_counts_the_time_left_and_the_running_runs(tmp_path: Path) -> None:
    """Drawn from the folder alone: 1.5 of 3 runs in 30 s, so 30 s for the rest."""
    from rich.console import Console

    since = time.time() - 30
    write_record(record("aa", "failed", "no memory left"), tmp_path)
    running = begun(tmp_path, "bb", step=10, epoch=1.0, max_steps="20")
    with claimed(running):
        status = Watch(tmp_path).look({"aa": "lora seed 0", "bb": "lora seed 1", "cc": "lora seed 2"}, since)
        console = Console(file=io.StringIO(), width=100)
        console.print(bar(status, since, with_owner=True))
    first, second, third = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "1 of 3 runs (1 running, 1 waiting, 1 failed), about 30 s left" in first
    assert second.split()[:10] == ["lora", "seed", "1", "50", "%", "step", "10", "of", "20,", "accuracy"]
    assert f"process {os.getpid()}" in second
    assert third.strip() == "failed: lora seed 0: no memory left"
