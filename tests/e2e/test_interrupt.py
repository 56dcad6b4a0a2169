"""Ctrl-C: the run is marked, the exit status is 130, and the next try ends as if nothing had happened."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petbench.record import Record, read_record
from toy_runs import replacing

PETBENCH = [sys.executable, "-c", "from petbench.cli import main; main()"]
WORDS = ["train", "adapter=krona", "task=rte", "model=tiny_bert", "data=toy", "trainer.max_steps=80"]
WORDS += ["trainer.eval_every=4", "trainer.precision=fp32", "trainer.device=cpu", "trainer.threads=1"]


def start(place: Path, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PETBENCH_CACHE": str(place / "cache")}
    return subprocess.Popen(
        [*PETBENCH, *replacing(WORDS, *more)],
        cwd=place,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def record_in(results: Path) -> Record:
    (folder,) = (results / "runs").iterdir()
    record = read_record(folder)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `whole/`, an unstopped run, and `stopped/`, one that was stopped and run again."""
    place = tmp_path_factory.mktemp("interrupt")
    process = start(place, "results_dir=stopped")
    state = None
    end = time.monotonic() + 120
    while state is None and process.poll() is None and time.monotonic() < end:
        state = next(iter(place.glob("stopped/runs/*/resume.safetensors")), None)
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    (place / "status").write_text(str(process.returncode))
    (place / "err").write_text(err)
    (place / "out").write_text(out)
    (place / "first.json").write_text(record_in(place / "stopped").model_dump_json())
    for results in ("stopped", "whole"):
        process = start(place, f"results_dir={results}")
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        (place / f"{results}.out").write_text(out)
    return place


def test_the_stopped_run_is_marked_and_exits_130(place: Path) -> None:
    assert (place / "status").read_text() == "130"
    assert (place / "err").read_text().strip() == "interrupted"
    record = Record.model_validate_json((place / "first.json").read_text())
    assert (record.status, record.reason) == ("interrupted", "stopped by the user")
    assert record.headline is None


def test_it_goes_on_from_the_step_at_which_it_stopped(place: Path) -> None:
    stopped = re.search(r"stopped at step (\d+); the same command goes on there", (place / "out").read_text())
    gone_on = re.search(r"going on from step (\d+)\.", (place / "stopped.out").read_text())
    assert stopped is not None
    assert gone_on is not None
    assert 4 <= int(stopped[1]) == int(gone_on[1]) < 80


def test_it_ends_with_the_bytes_of_an_unstopped_run(place: Path) -> None:
    stopped, whole = record_in(place / "stopped"), record_in(place / "whole")
    assert stopped.run_id == whole.run_id
    assert (stopped.status, stopped.metrics, stopped.best) == ("done", whole.metrics, whole.best)
    without_time = [p.model_dump(exclude={"seconds"}) for p in stopped.curve]
    assert without_time == [p.model_dump(exclude={"seconds"}) for p in whole.curve]
    name = f"runs/{whole.run_id}/adapter/adapter.safetensors"
    assert (place / "stopped" / name).read_bytes() == (place / "whole" / name).read_bytes()
    assert not (place / "stopped" / f"runs/{whole.run_id}/resume.safetensors").exists()


def test_a_terminal_shows_a_bar_and_a_pipe_plain_lines(place: Path) -> None:
    plain = (place / "whole.out").read_text()
    assert "\x1b" not in plain
    assert "step 80/80" in plain
    shown = _on_a_terminal(place, "trainer.max_steps=6", "results_dir=terminal")
    assert "krona on rte" in shown
    assert "6/6" in shown
    assert "━" in shown
    assert "loss 0." in shown
    assert "score 0." in shown
    assert "\x1b[" in shown


def _on_a_terminal(place: Path, *more: str) -> str:
    """What a person in front of a terminal of 140 columns sees."""
    main, side = pty.openpty()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PETBENCH_CACHE": str(place / "cache")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "140"}
    process = subprocess.Popen(
        [*PETBENCH, *replacing(WORDS, *more)],
        cwd=place,
        env=environment,
        stdout=side,
        stderr=side,
        stdin=side,
    )
    os.close(side)
    seen = b""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if not select.select([main], [], [], 1.0)[0]:
            continue
        try:
            seen += os.read(main, 65536)
        except OSError:  # the other side is closed
            break
    os.close(main)
    assert process.wait(timeout=10) == 0, seen.decode()
    return seen.decode()
