"""The same of real sweeps: worker processes end with the sweep, save first and leave no claim."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from petbench.record import Record, read_record
from petbench.training.claim import owner_here
from petbench.training.resume import load_resume

SWEEP = [
    sys.executable, "-m", "petbench.cli", "train", "-m", "adapter=krona", "seed=0,1,2,3", "task=rte", "data=toy",
    "model=tiny_bert", "trainer.max_steps=100000", "trainer.eval_every=100000", "trainer.precision=fp32",
    "trainer.log_every=1", "trainer.threads=1", "trainer.device=cpu",
]  # fmt: skip
pytestmark = pytest.mark.slow  # two processes that load torch, five times

LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1"],
}
ENDS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
WAIT = 300.0


def training(place: Path) -> dict[Path, int]:
    """Runs that have logged a step, with the process that trains each."""
    found = {path.parent: owner_here(path.parent) for path in place.glob("results/runs/*/metrics.jsonl")}
    return {folder: pid for folder, pid in found.items() if pid and (folder / "metrics.jsonl").stat().st_size}


def soon(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, or for WAIT seconds (many, for a machine with much else to do)."""
    end = time.monotonic() + WAIT
    while not is_so() and time.monotonic() < end:
        time.sleep(0.1)


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        ("joblib", signal.SIGKILL),
        ("joblib", signal.SIGTERM),
        ("joblib", signal.SIGINT),
        ("submitit_local", signal.SIGKILL),
        ("submitit_local", signal.SIGTERM),
    ],
    ids=str,
)
def test_workers_end_with_their_parent(launcher: str, number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PETBENCH_CACHE": str(tmp_path / "cache")}
    with (tmp_path / "log").open("w") as log:
        parent = subprocess.Popen(
            [*SWEEP, *LAUNCHERS[launcher]], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        soon(lambda: parent.poll() is not None or len(training(tmp_path)) == 2)
        workers = training(tmp_path)
        assert len(workers) == 2, (tmp_path / "log").read_text()
        assert parent.pid not in workers.values()
        parent.send_signal(number)
        assert parent.wait(timeout=WAIT) == ENDS[number], (tmp_path / "log").read_text()
        soon(lambda: all(map(ended, workers.values())))
        assert all(map(ended, workers.values()))
    finally:
        for pid in {parent.pid, *training(tmp_path).values()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        parent.wait()
    for folder in workers:
        record, state = read_record(folder), load_resume(folder)
        assert isinstance(record, Record)
        assert (record.status, record.reason) == ("interrupted", "stopped by SIGTERM")
        assert state is not None
        last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
        assert f'"step": {state.progress.step},' in last  # where it stood, not where it last evaluated
    assert not list(tmp_path.glob("results/runs/*/claim.json"))
