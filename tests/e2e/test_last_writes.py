"""The last writes of a run: whatever breaks between the last step and the record, nothing that was trained is lost."""

import errno
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.errors import DiskError
from petbench.record import RESUME_FILE, Record, read_record
from petbench.training.claim import claimed
from petbench.training.claim_file import CLAIM_FILE, this_process
from petbench.training.prepare import prepare
from petbench.training.run import run
from petbench.tuned import checkpoint

SMALL = [
    "task=rte", "data=toy", "data.toy_train=32", "data.toy_validation=16", "model=tiny_bert", "logger=jsonl",
    "trainer.max_steps=6", "trainer.batch_size=8", "trainer.precision=fp32", "trainer.threads=1",
    "trainer.device=cpu", "adapter=krona",
]  # fmt: skip
# In their order, after the last step; each is refused or cut off once.
WRITES = ["adapter.safetensors", "adapter_config.json", "selection.jsonl", "row_ids.json", "record.json"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("petbench.measure.latency.TIMED", 1)  # its numbers are not looked at here
    monkeypatch.setattr("petbench.measure.latency.WARM_UP", 0)


@cache
def composed() -> RunSpec:
    (member,) = expand(SMALL)
    return parse(member.values, spec_of)


def train(results: str) -> Record:
    return run(
        prepare(composed().model_copy(update={"results_dir": results, "cache_dir": f"{results}/cache"}))
    )


def folder_of(results: str) -> Path:
    (folder,) = Path(results, "runs").iterdir()
    return folder


def outcome(results: str) -> dict[str, Any]:
    folder, record = folder_of(results), read_record(folder_of(results))
    assert record is not None
    assert record.status == "done"
    return {
        "metrics": record.metrics,
        "best": record.best,
        "curve": [point.model_dump(exclude={"seconds"}) for point in record.curve],
        "adapter": (folder / "adapter" / "adapter.safetensors").read_bytes(),
        "predictions": {p.name: p.read_bytes() for p in (folder / "predictions").iterdir()},
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = str(tmp_path_factory.mktemp("whole"))
    train(place)
    return outcome(place)


def at_write(monkeypatch: pytest.MonkeyPatch, name: str, error: Callable[[], BaseException]) -> None:
    """Whatever writes a file of this name gets the error in place of the name."""
    plain = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise error()
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", replace)


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def broken() -> OSError:
    return OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("error", [full, broken, Killed], ids=lambda error: error.__name__)
@pytest.mark.parametrize("name", WRITES)
def test_the_next_call_finishes_without_a_step(
    name: str,
    error: Callable[[], BaseException],
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch, pytest.raises((DiskError, Killed)) as stopped:
        at_write(patch, name, error)
        train("results")
    record = read_record(folder_of("results"))
    if error is not Killed:
        assert f"{name}: {error().strerror}. Free space or give another results_dir" in str(stopped.value)
        assert (record is None) == (
            name == "record.json"
        )  # a disk that takes no record takes none of this end
        assert record is None or (record.status, record.reason) == ("failed", str(stopped.value))
    assert (folder_of("results") / "resume.safetensors").exists()
    trained = (folder_of("results") / "adapter" / "adapter.safetensors").exists()
    assert trained == (name != "adapter.safetensors")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("torch.optim.AdamW.step", lambda *_: pytest.fail("a step was taken again"))
        train("results")
    assert "going on from step 6." in capsys.readouterr().out
    assert outcome("results") == whole
    assert not (folder_of("results") / "resume.safetensors").exists()


def test_the_record_is_there_before_the_resume_state_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the two leaves a finished run."""

    def killed(folder: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("petbench.training.session.drop_resume", killed)
        train("results")
    assert read_record(folder_of("results")).status == "done"  # type: ignore[union-attr]
    assert (folder_of("results") / "resume.safetensors").exists()
    assert train("results").status == "done"


def test_a_full_disk_is_exit_1_and_keeps_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_write(monkeypatch, "record.json", full)
    assert run_command(["train", *SMALL, "cache_dir=cache"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write results/runs/")
    assert "record.json: No space left on device. Free space or give another results_dir." in said
    assert "bug" not in said
    left = {path.name for path in folder_of("results").rglob("*") if path.is_file()}
    assert {"adapter.safetensors", "resume.safetensors", "selection.jsonl", "metrics.jsonl"} <= left
    assert not {"claim.json", "record.json"} & left


def test_a_mistake_leaves_nothing_that_was_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A start adapter without weights is named before anything is written."""
    Path("other").mkdir()
    Path("other", checkpoint.CONFIG_FILE).write_text("{}")
    assert run_command(["train", *SMALL, "init_from=other", "cache_dir=cache"]) == 2
    assert "other/adapter.safetensors" in capsys.readouterr().err
    assert not list(Path("results").glob("runs/*"))


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        ({}, False),  # this process: it does not hold the lock, so it is dead
        ({"pid": 2**22 - 1}, False),
        ({"host": "other", "boot": "another boot"}, True),  # nobody can tell without watching it
    ],
)
def test_a_finished_run_is_cleared_of_what_a_kill_left(change: dict[str, Any], stays: bool) -> None:
    """A kill after the record, before the resume state and the claim go."""
    train("left")
    folder = folder_of("left")
    (folder / RESUME_FILE).write_bytes(b"state")
    (folder / CLAIM_FILE).write_text(json.dumps(asdict(this_process()) | {"since": 0.0} | change))
    assert train("left").status == "done"
    assert [(folder / name).exists() for name in (RESUME_FILE, CLAIM_FILE)] == [stays, stays]


def test_a_finished_run_is_left_to_its_living_owner() -> None:
    train("left")
    folder = folder_of("left")
    with claimed(folder):
        (folder / RESUME_FILE).write_bytes(b"state")
        assert train("left").status == "done"
        assert (folder / RESUME_FILE).exists()
