"""Run logging: the JSONL file, W&B's offline file read back, and every way to be without a server."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petbench.config.sections import LoggerSpec
from petbench.errors import RunError, UserError
from petbench.tracking import log as tracking
from petbench.tracking import sync as wandb_sync
from petbench.tracking import wandb as wandb_runs
from petbench.tracking.log import drop_after, open_tracker, read_metrics
from petbench.tracking.sync import sync
from wandb_reader import history, latest, offline_file
from wandb_server import serving

CONFIG = {"optim": {"lr": 1e-3}, "adapter": {"method": "krona", "factor_shape": (32, 24)}, "seed": 3}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key, no W&B file outside the test's folder, nothing remembered from another test."""
    for name in [name for name in os.environ if name.startswith("WANDB_") or name == "NETRC"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setattr(wandb_runs, "_said", set())
    monkeypatch.setattr(wandb_runs, "_unreachable", False)
    yield


def start(folder: Path, resume: bool = False, **fields: Any) -> tracking.Tracker:
    """A W&B tracker with the tests' config."""
    spec = LoggerSpec(**{"name": "wandb", "tags": ("mine",), **fields})
    return open_tracker(
        spec, folder, folder.name, CONFIG, tags=["krona", "rte"], group="sweep7", resume=resume
    )


def test_jsonl_has_step_epoch_seconds_and_values(tmp_path: Path) -> None:
    tracker = open_tracker(LoggerSpec(), tmp_path / "run", "run", {})
    tracker.log(1, {"train/loss": 0.5}, epoch=0.25)
    tracker.log(2, {"train/loss": math.nan})
    tracker.table("scores", ["a"], [[1]])
    tracker.finish("done")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["epoch"], line["values"]) for line in lines] == [
        (1, 0.25, {"train/loss": 0.5}),
        (2, None, {"train/loss": None}),
    ]
    assert tracker.reference() == {}


@pytest.mark.parametrize("name", ["none", "jsonl"])
def test_a_new_start_clears_the_file_and_wandb_stays_unimported(tmp_path: Path, name: str) -> None:
    code = (
        "import sys; from pathlib import Path; from petbench.config.spec import LoggerSpec\n"
        "from petbench.tracking.log import open_tracker\n"
        f"t = open_tracker(LoggerSpec(name={name!r}), Path({str(tmp_path)!r}), 'r', {{}})\n"
        "t.log(1, {'a': 1}); t.finish('done'); print('wandb' in sys.modules, 'torch' in sys.modules)"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "False"]
    assert len(read_metrics(tmp_path)) == 1


def test_resume_drops_lines_past_its_step_and_a_torn_one(tmp_path: Path) -> None:
    tracker = open_tracker(LoggerSpec(), tmp_path, "run", {})
    for step in range(1, 6):
        tracker.log(step, {"loss": step / 10})
    tracker.finish("interrupted")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "epo')
    assert len(read_metrics(tmp_path)) == 5
    assert drop_after(tmp_path, 3) == 3
    tracker = open_tracker(LoggerSpec(), tmp_path, "run", {}, resume=True)
    tracker.log(4, {"loss": 0.4})
    tracker.finish("done")
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert lines[3]["seconds"] >= lines[2]["seconds"]
    assert drop_after(tmp_path / "nowhere", 1) == 0


def test_a_folder_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl.*another results_dir"):
        open_tracker(LoggerSpec(), tmp_path / "file" / "run", "run", {})


def test_offline_file_holds_what_was_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs" / "abc123"
    tracker = start(folder)
    for step in range(1, 41):
        tracker.log(step, {"train/loss": 1 / step}, epoch=step / 40)
    tracker.table("scores", ["split", "accuracy"], [["report", 0.75], ["selection", None]])
    tracker.summary({"score": 0.75, "tuned_params": 110592, "peak_memory_bytes": None})
    tracker.finish("done")
    records = offline_file(folder)
    run = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.run_id, run.run_group, run.job_type, run.project) == ("abc123", "sweep7", "train", "petbench")
    assert list(run.tags) == ["mine", "krona", "rte"]
    config = latest(records, "config")
    assert config["optim/lr"] == 1e-3
    assert config["adapter/factor_shape"] == [32, 24]
    rows = history(records)
    steps = [row for row in rows if "train/loss" in row]
    assert [(row["step"], row["train/loss"], row["epoch"]) for row in steps] == [
        (step, 1 / step, step / 40) for step in range(1, 41)
    ]
    summary = latest(records, "summary")
    assert (summary["score"], summary["tuned_params"], summary["status"]) == (0.75, 110592, "done")
    assert "peak_memory_bytes" not in summary
    (table,) = folder.glob("wandb/offline-run-*/files/media/table/*.json")
    saved = json.loads(table.read_text())
    assert saved["columns"] == ["split", "accuracy"]
    assert saved["data"] == [["report", 0.75], ["selection", None]]
    reference = tracker.reference()
    assert reference["mode"] == "offline"
    assert reference["path"].endswith("petbench/abc123")
    assert (folder / reference["folder"]).is_dir()
    said = capsys.readouterr().err
    assert "no API key, so offline" in said
    assert f"wandb sync {folder / reference['folder']}" in said


def test_two_runs_at_once_keep_apart_and_the_reason_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = start(tmp_path / "runs" / "one"), start(tmp_path / "runs" / "two")
    for step in (1, 2):
        first.log(step, {"loss": 1.0})
        second.log(step, {"loss": 2.0})
    first.finish("done")
    second.finish("done")
    for name, loss in (("one", 1.0), ("two", 2.0)):
        rows = history(offline_file(tmp_path / "runs" / name))
        assert [row["loss"] for row in rows if "loss" in row] == [loss, loss]
    assert capsys.readouterr().err.count("Upload later") == 1


def test_a_resumed_run_tells_wandb_all_of_it_and_the_earlier_file_is_superseded(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "abc"
    tracker = start(folder)
    for step in (1, 2, 3):
        tracker.log(step, {"loss": float(step)})
    tracker.finish("interrupted")
    drop_after(folder, 2)
    time.sleep(1.1)  # W&B names its folders by the second
    tracker = start(folder, resume=True)
    tracker.log(3, {"loss": 30.0})
    tracker.finish("done")
    rows = [(row["step"], row["loss"]) for row in history(offline_file(folder)) if "loss" in row]
    assert rows == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert rows == [(line["step"], line["values"]["loss"]) for line in read_metrics(folder)]
    assert len(wandb_sync._unsent_folders(folder)) == 1


def test_online_without_a_server_falls_back_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    before = time.monotonic()
    tracker = start(tmp_path / "runs" / "abc", mode="online")
    assert time.monotonic() - before < 10
    tracker.log(1, {"loss": 0.5})
    tracker.finish("done")
    assert tracker.reference()["mode"] == "offline"
    assert [row["loss"] for row in history(offline_file(tmp_path / "runs" / "abc")) if "loss" in row] == [0.5]
    assert "http://127.0.0.1:9 does not answer, so offline" in capsys.readouterr().err


def test_online_with_a_server_that_never_replies_falls_back_in_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_runs, "reachable", lambda url: True)  # the probe is fooled
    monkeypatch.setattr(wandb_runs, "INIT_SECONDS", 1.0)
    before = time.monotonic()
    tracker = start(tmp_path / "runs" / "abc", mode="online")
    assert time.monotonic() - before < wandb_runs.INIT_SECONDS + 15
    tracker.log(1, {"loss": 0.5})
    tracker.finish("done")
    assert [row["loss"] for row in history(offline_file(tmp_path / "runs" / "abc")) if "loss" in row] == [0.5]


def test_a_failing_call_warns_once_and_the_file_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def log(self, row: dict[str, Any]) -> None:
            raise ValueError("the pipe is gone")

    tracker = start(tmp_path / "runs" / "abc")
    assert isinstance(tracker, tracking.Fanout)
    wandb_tracker = tracker.trackers[1]
    real, wandb_tracker.run = wandb_tracker.run, Broken()
    for step in (1, 2, 3):
        tracker.log(step, {"loss": 1.0})
    real.finish()
    assert len(read_metrics(tmp_path / "runs" / "abc")) == 3
    assert capsys.readouterr().err.count("the pipe is gone") == 1


def test_disabled_by_spec_or_environment_writes_only_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(start(tmp_path / "one", mode="disabled"), tracking.JsonlTracker)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert isinstance(start(tmp_path / "two"), tracking.JsonlTracker)


def test_a_key_is_found_in_netrc_for_the_servers_own_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not wandb_sync.has_key()
    file.write_text("machine other.example.org login user password secret\n")
    assert not wandb_sync.has_key()
    file.write_text("machine wandb.example.org login user password secret\n")
    assert wandb_sync.has_key()


def made_run(results: Path, run: str, stamp: str = "20260101_000000") -> Path:
    """A folder that looks like an offline W&B run."""
    folder = results / "runs" / run / "wandb" / f"offline-run-{stamp}-{run}"
    folder.mkdir(parents=True)
    (folder / f"run-{run}.wandb").write_bytes(b"")
    return folder


def test_sync_sends_each_run_once_and_says_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync(tmp_path) == f"Nothing to upload: no unsent W&B run under {tmp_path}."
    good, bad = made_run(tmp_path, "good"), made_run(tmp_path, "bad")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(RunError, match=r"2 W&B runs wait, but http://127.0.0.1:9 does not answer"):
        sync(tmp_path)
    monkeypatch.setattr(wandb_sync, "reachable", lambda url: True)
    asked: list[str] = []

    def fake(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-m", "wandb", "sync"]
        asked.append(command[-1])
        if "good" in command[-1]:
            (Path(command[-1]) / "run-good.wandb.synced").touch()
        return subprocess.CompletedProcess(
            command, int("bad" in command[-1]), "", "wandb: ERROR no such project\n"
        )

    monkeypatch.setattr(subprocess, "run", fake)
    with pytest.raises(RunError) as caught:
        sync(tmp_path)
    assert str(caught.value).splitlines() == [
        f"not sent: bad ({bad.name}): wandb: ERROR no such project",
        f"sent: good ({good.name})",
        "1 of 2 W&B runs uploaded.",
    ]
    with pytest.raises(RunError, match="0 of 1"):
        sync(tmp_path)
    assert asked == [str(bad), str(good), str(bad)]
    other = made_run(tmp_path, "other")
    answers = iter([True, False])  # the server is lost after the first run
    monkeypatch.setattr(wandb_sync, "reachable", lambda url: next(answers))
    with pytest.raises(RunError, match="not tried: the rest"):
        sync(tmp_path)
    assert str(other) not in asked


def test_sync_without_key_or_folder_says_what_to_do(tmp_path: Path) -> None:
    made_run(tmp_path, "good")
    with pytest.raises(UserError, match=r"1 W&B runs wait .*WANDB_API_KEY or run `wandb login`"):
        sync(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        sync(tmp_path / "nowhere")


def test_sync_gives_a_server_the_runs_own_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B's own client, a real offline file, and a stand-in for the server."""
    folder = tmp_path / "runs" / "abc123"
    tracker = start(folder)
    for step in range(1, 31):
        tracker.log(step, {"loss": 1 / step}, epoch=step / 30)
    tracker.table("scores", ["split", "accuracy"], [["report", 0.75]])
    tracker.summary({"score": 0.75})
    tracker.finish("done")
    offline_file(folder)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        server.broken = True
        with pytest.raises(RunError, match=r"not sent: abc123 .*refused it.*\n0 of 1 W&B runs uploaded"):
            sync(tmp_path)
        server.broken = False
        assert sync(tmp_path).splitlines()[-1] == "1 of 1 W&B runs uploaded."
        told = [(row["step"], row["loss"]) for row in server.history["abc123"] if "loss" in row]
        assert told == [(line["step"], line["values"]["loss"]) for line in read_metrics(folder)]
        run = server.runs["abc123"]
        assert (run["project"], run["groupName"], run["jobType"]) == ("petbench", "sweep7", "train")
        assert run["tags"] == ["mine", "krona", "rte"]
        assert json.loads(run["config"])["optim/lr"]["value"] == 1e-3
        assert any(name.startswith("media/table/scores_") for name in server.files)
        before = len(server.history["abc123"])
        assert sync(tmp_path) == f"Nothing to upload: no unsent W&B run under {tmp_path}."
        assert len(server.history["abc123"]) == before

        (sent,) = folder.glob("wandb/offline-run-*")  # as an online run whose end was not taken in time
        online = sent.rename(sent.with_name(sent.name.removeprefix("offline-")))
        for mark in online.glob("*.wandb.sync*"):
            mark.unlink()
        wandb_sync.write_json(online / wandb_sync.MARKER, {"state": "incomplete"})
        assert sync(tmp_path).splitlines()[-1] == "1 of 1 W&B runs uploaded."
        assert len(server.history["abc123"]) == 2 * before
