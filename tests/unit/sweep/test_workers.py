"""A worker ends with the process that started it, whatever ends that, and after it has saved."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from filelock import FileLock

from petbench.sweep import workers

# A parent in its launcher, and a worker in a claimed run's held loop; between them, for `deep`, one more process,
# as submitit has it. Names of files say how far each is.
PARENT = """
import subprocess, sys, time
from pathlib import Path
from petbench.cli import run_command
from petbench.machine import signals
from petbench.sweep import workers

place, deep = Path(sys.argv[1]), sys.argv[2] == "deep"

def launch(argv):
    me = workers.worker(print)
    child = [sys.executable, "-c", Path(place, "child.py").read_text(), str(place), str(me.parent), str(me.started)]
    between = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    with signals.before_stopping(lambda: workers.stop_workers(place)):
        subprocess.run([*between, *child] if deep else child)
    return 0

import petbench.commands.doctor
petbench.commands.doctor.doctor_main = launch
sys.exit(run_command(["doctor"]))
"""
CHILD = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from petbench.machine import signals
from petbench.training.claim import claimed
from petbench.sweep.workers import Worker

place = Path(sys.argv[1])

def task(config):
    with claimed(place / "runs" / "abc"):
        (place / "pid").write_text(str(os.getpid()))
        try:
            with signals.held():
                while True:
                    time.sleep(0.01)
                    signals.check()
        except KeyboardInterrupt as stop:
            time.sleep(0.3)  # saving takes a while
            (place / "saved").write_text(str(stop))
            raise

Worker(task, int(sys.argv[2]), float(sys.argv[3]))(None)
(place / "went on").write_text("")
"""
ENDS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}
WAIT = 60.0


def soon(is_so: Callable[[], bool]) -> bool:
    """Wait until it is so, for WAIT seconds at most."""
    end = time.monotonic() + WAIT
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("depth", ["child", "deep"])
@pytest.mark.parametrize("number", ENDS, ids=str)
def test_a_worker_ends_with_its_parent(number: signal.Signals, depth: str, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), depth], stderr=subprocess.PIPE, text=True
    )
    pid = tmp_path / "pid"
    try:
        assert soon(lambda: pid.exists() and pid.read_text() != ""), parent.stderr
        parent.send_signal(number)
        _, error = parent.communicate(timeout=WAIT)
        assert parent.returncode == ENDS[number], error
        if number != signal.SIGKILL:
            assert (tmp_path / "saved").exists()  # the parent has waited for it
        assert soon(lambda: ended(int(pid.read_text())))
    finally:
        for process in [parent.pid, *([int(pid.read_text())] if pid.exists() else [])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    assert (tmp_path / "saved").read_text() == "SIGTERM"
    assert not (tmp_path / "went on").exists()
    assert not (tmp_path / "runs/abc/claim.json").exists()


def test_workers_of_another_parent_are_left_alone(tmp_path: Path) -> None:
    """Two sweeps over one results folder: each stops its own."""
    from petbench.sweep.workers import stop_workers
    from petbench.training.claim import LOCK_FILE, owner_here
    from petbench.training.claim_file import CLAIM_FILE, boot, space, started

    other = os.getppid()
    folder = tmp_path / "runs" / "abc"
    folder.mkdir(parents=True)
    claim = {
        "host": "here",
        "pid": other,
        "started": started(other),
        "boot": boot(),
        "space": space(),
        "token": "a",
    }
    (folder / CLAIM_FILE).write_text(json.dumps(claim))
    with FileLock(folder / LOCK_FILE):
        assert owner_here(folder) == other
        began = time.monotonic()
        stop_workers(tmp_path)
    assert time.monotonic() - began < 5
    assert started(other) == claim["started"]
    assert (folder / CLAIM_FILE).exists()


def test_a_worker_process_takes_one_gpu_for_all_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its first run's number, whatever the launcher hid; with no GPU nothing is set."""
    monkeypatch.setattr(workers, "_gpu", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as submitit leaves it
    monkeypatch.setattr(workers.HydraConfig, "get", lambda: SimpleNamespace(job=SimpleNamespace(num=number)))
    number = 3
    workers._take_turn(())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    workers._take_turn(("0", "1"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    number = 4
    workers._take_turn(("0", "1"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_parents_own_gpus_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "present", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert workers.worker(print).gpus == ("2", "3")
