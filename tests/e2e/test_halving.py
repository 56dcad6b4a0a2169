"""`sweep=tuned pruner=halving`: trials pause at a third, the better third goes on, and nothing of a trial changes."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from petbench.cli import run_command
from petbench.record import read_records
from petbench.report.budgets import searched

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
CALL = [
    "train", "-m", "sweep=tuned", "budget_runs=6", "final_seeds=1", "adapter=krona", "task=stsb", "data=toy",
    "data.toy_train=48", "data.toy_validation=16", "model=tiny_bert", "trainer.max_steps=12", "trainer.eval_every=2",
    "trainer.batch_size=8", "trainer.precision=fp32", "trainer.threads=1",
]  # fmt: skip


def trials(folder: str) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in Path(folder).glob("runs/*/record.json")]
    return {r["run_id"]: r for r in found if r["provenance"]["tuning"]["role"] == "trial"}


@pytest.mark.parametrize("launcher", ["basic", "lanes"])
def test_halving(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    halving = [*CALL, "pruner=halving", f"hydra/launcher={launcher}"]
    assert run_command(halving) == 0
    said = capsys.readouterr().out
    assert "2 of 6 trials go on: the better third of every method and task, and equals of its last." in said
    assert "6 trials, 40 steps" in said, "a third of 6 × 12 steps, and the rest of two trials: 6 × 4 + 2 × 8"
    found = trials("results")
    if (
        launcher == "lanes"
    ):  # trials differ in learning rate and in scale, and lanes share all of the method's settings
        assert "lanes: 6 runs train together (3, 3 at once)." in said
    states = sorted(record["status"] for record in found.values())
    assert states == ["done", "done", *["paused"] * 4]
    at_a_third = {
        run_id: next(point["score"] for point in record["curve"] if point["step"] == 4)
        for run_id, record in found.items()
    }
    went_on = sorted(at_a_third[run_id] for run_id, record in found.items() if record["status"] == "done")
    left = [at_a_third[run_id] for run_id, record in found.items() if record["status"] == "paused"]
    assert min(went_on) >= max(left)
    (final,) = [
        record for record in read_records(Path("results")) if not record.is_trial
    ]  # the rows of the report
    note = final.provenance.tuning
    assert note is not None and (note.runs, note.steps) == (6, 40)
    assert note.searched == ("adapter.scale", "optim.lr")
    assert not searched(read_records(Path("results"))), "paused trials are no fair draw of trials"

    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("record.json")}
    assert run_command(halving) == 0
    assert capsys.readouterr().out.count("Nothing to run.") == 3
    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("record.json")} == before

    # The same trials without a pruner: those that went on ended as they would have, bit for bit.
    if launcher == "basic":
        assert run_command([*CALL, "results_dir=whole"]) == 0
        whole = trials("whole")
        assert whole.keys() == found.keys()
        for run_id, record in found.items():
            if record["status"] == "done":
                for field in ("adapter_sha256", "metrics", "best"):
                    assert record[field] == whole[run_id][field]
            assert record["curve"][1]["score"] == whole[run_id]["curve"][1]["score"]
        # So the records of a full search say what halving does: this is how scripts/measure_halving.py measures it.
        monkeypatch.syspath_prepend(SCRIPTS)
        going, steps = import_module("measure_halving").halved(
            [r for r in read_records(Path("whole")) if r.is_trial]
        )
        assert {record.run_id for record in going} == {
            r for r, one in found.items() if one["status"] == "done"
        }
        assert steps == 40
