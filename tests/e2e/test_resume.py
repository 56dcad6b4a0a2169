"""A run that was stopped after an evaluation and started again ends bit for bit like one that was not stopped."""

from pathlib import Path
from typing import Any

import pytest

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.record import Record, read_record
from petbench.training import fit
from petbench.training.prepare import prepare
from petbench.training.run import run

SMALL = [
    "task=rte", "data=toy", "data.toy_train=64", "data.toy_validation=16", "model=tiny_bert", "logger=jsonl",
    "trainer.max_steps=12", "trainer.batch_size=8", "trainer.eval_every=3", "trainer.precision=fp32",
    "trainer.threads=1", "trainer.device=cpu", "optim.lr=5e-3",
]  # fmt: skip
CASES = {
    "krona": ["adapter=krona"],
    "lora with dropout": ["adapter=lora", "adapter.dropout=0.1"],
    "hadamard in two stages": ["adapter=hadamard"],
    "peft/lora": ["adapter=peft/lora"],
    "peft/adalora": ["adapter=peft/adalora"],
    "prefix_tuning": ["adapter=prefix_tuning"],
    "full": ["adapter=full"],
    "last checkpoint, constant rate": ["adapter=krona", "trainer.select=last", "optim.schedule=constant"],
    "accumulation": ["adapter=krona", "trainer.gradient_accumulation=2"],
    "text form": ["adapter=krona", "model=tiny_t5"],
}


class Stopped(BaseException):
    """Stands for SIGKILL: nothing after it runs, no record is written."""


def trained(folder: Path, overrides: list[str]) -> Record:
    """One run, here."""
    (member,) = expand([*SMALL, *overrides, f"results_dir={folder}", f"cache_dir={folder}/cache"])
    return run(prepare(parse(member.values, spec_of)))


def stop_after(keeps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the next run right after it has written its resume state so many times."""
    kept, plain = [0], fit.save_resume

    def keep_and_stop(*arguments: Any) -> None:
        plain(*arguments)
        kept[0] += 1
        if kept[0] == keeps:
            raise Stopped

    monkeypatch.setattr(fit, "save_resume", keep_and_stop)


def outcome(folder: Path) -> dict[str, Any]:
    """What must not depend on the stop: scores, curve, chosen step, predictions and the adapter's bytes."""
    (run_folder,) = (folder / "runs").iterdir()
    record = read_record(run_folder)
    assert record is not None and record.status == "done"
    return {
        "metrics": record.metrics,
        "best": record.best,
        "curve": [point.model_dump(exclude={"seconds"}) for point in record.curve],
        "adapter": (run_folder / "adapter" / "adapter.safetensors").read_bytes(),
        "predictions": {p.name: p.read_bytes() for p in (run_folder / "predictions").iterdir()},
        "merge": record.merge,
        "params": record.params,
    }


QUICK = {"krona": 3, "lora with dropout": 1, "hadamard in two stages": 2, "peft/lora": 1, "peft/adalora": 3}
STOPS = [
    pytest.param(
        name, keeps, id=f"{name}, {keeps}", marks=[] if QUICK.get(name) == keeps else [pytest.mark.slow]
    )
    for name in CASES
    for keeps in (1, 2, 3)
]


@pytest.mark.parametrize(("name", "keeps"), STOPS)
def test_resume_equals_no_stop(
    name: str, keeps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path / "whole", CASES[name])
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(keeps, patch)
        trained(tmp_path / "stopped", CASES[name])
    (run_folder,) = (tmp_path / "stopped" / "runs").iterdir()
    assert not (run_folder / "record.json").exists()
    assert (run_folder / "resume.safetensors").exists()
    (run_folder / ".record.json.half-ab12cd34").write_text(
        "half"
    )  # what SIGKILL leaves of a file being written
    capsys.readouterr()
    trained(tmp_path / "stopped", CASES[name])
    assert not list(run_folder.glob(".record*"))
    assert f"going on from step {3 * keeps}." in capsys.readouterr().out
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")
    assert not (run_folder / "resume.safetensors").exists()


def test_metrics_lines_are_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """metrics.jsonl of a stopped and resumed run has the lines of an unstopped one."""
    overrides = ["adapter=krona", "trainer.log_every=2"]
    trained(tmp_path / "whole", overrides)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(2, patch)
        trained(tmp_path / "stopped", overrides)
    trained(tmp_path / "stopped", overrides)
    steps = {}
    for kind in ("whole", "stopped"):
        (path,) = (tmp_path / kind).glob("runs/*/metrics.jsonl")
        lines = path.read_text().splitlines()
        steps[kind] = [
            line.split('"step": ')[1].split(",")[0].rstrip("}") for line in lines if '"step"' in line
        ]
    assert steps["stopped"] == steps["whole"]
    assert len(steps["whole"]) > 8


def test_a_broken_state_is_dropped_and_the_run_begins_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It failed for ever."""
    trained(tmp_path / "whole", CASES["krona"])
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(2, patch)
        trained(tmp_path / "stopped", CASES["krona"])
    (path,) = (tmp_path / "stopped").glob("runs/*/resume.safetensors")
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    capsys.readouterr()
    trained(tmp_path / "stopped", CASES["krona"])
    said = capsys.readouterr()
    assert (
        f"warning: {path} is broken: its bytes are not those that were written. The run begins afresh."
        in said.err
    )
    assert "going on from" not in said.out
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_another_number_of_threads_is_said_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It changes how sums are rounded, so a resumed run is not to the last bit one of a single number."""
    overrides = [*CASES["krona"], "logger=none"]
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(1, patch)
        trained(tmp_path, overrides)
    monkeypatch.setattr(fit.torch, "get_num_threads", lambda: 2)
    record = trained(tmp_path, overrides)
    (change,) = record.changes
    assert change.startswith("1 threads up to step 3, 2 after it: sums round differently")
    assert change in capsys.readouterr().err
