"""SLURM without a cluster: what would be submitted, and a whole sweep through stand-ins of sbatch, srun and sacct."""

import json
import os
import stat
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from petbench.cli import run_command

pytestmark = pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_submitit_launcher") is None, reason="needs petbench[slurm]"
)

TINY = [
    "task=rte", "data=toy", "data.toy_train=32", "data.toy_validation=16", "model=tiny_bert",
    "trainer.max_steps=4", "trainer.batch_size=8", "trainer.precision=fp32",
]  # fmt: skip

SBATCH = """#!{python}
# Keeps the script; with RUN_JOBS it also runs every task of the array, a moment later, as SLURM would.
import os, re, shutil, subprocess, sys
script = sys.argv[-1]
shutil.copy(script, os.environ["KEEP"])
text = open(script).read()
found = re.search(r"--array=0-(\\d+)", text)
for task in range(int(found.group(1)) + 1 if found else 1) if os.environ.get("RUN_JOBS") else []:
    env = dict(os.environ, SLURM_JOB_ID=f"{{4242 + task}}", SLURM_ARRAY_JOB_ID="4242", SLURM_NTASKS="1",
               SLURM_ARRAY_TASK_ID=str(task), SLURM_JOB_NUM_NODES="1", SLURM_NODEID="0", SLURM_PROCID="0",
               SLURM_LOCALID="0", SLURM_JOB_NODELIST="here")
    subprocess.Popen(["sh", "-c", f"sleep 2; exec bash {{script}}"], env=env, stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("Submitted batch job 4242")
"""
SRUN = """#!/bin/bash
while [[ "$1" == -* ]]; do
  case "$1" in --output|--error) shift 2;; *) shift;; esac
done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
for task in 0 1 2 3; do echo "4242_$task|RUNNING|here"; done
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand-ins on the PATH; gives the place where sbatch keeps the script."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {"sbatch": SBATCH.format(python=sys.executable), "srun": SRUN, "sacct": SACCT}.items():
        (tools / name).write_text(text)
        (tools / name).chmod((tools / name).stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KEEP", str(tmp_path / "submitted.sh"))
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "submitted.sh"


def directives(script: Path) -> dict[str, str]:
    """The `#SBATCH --name=value` lines."""
    lines = [
        line.split(maxsplit=1)[1] for line in script.read_text().splitlines() if line.startswith("#SBATCH ")
    ]
    return {name.lstrip("-"): value for name, _, value in (line.partition("=") for line in lines)}


def test_the_batch_script(cluster: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The preset's resources are in the script, the launcher waits for no result here."""
    from submitit.core.core import Job

    monkeypatch.setattr(Job, "results", lambda self: [FakeReturn()])
    status = run_command(
        ["train", "-m", *TINY, "adapter=krona", "seed=0,1,2", "hydra/launcher=slurm_gpu",
         "hydra.launcher.partition=gpu", "hydra.launcher.account=lab", "hydra.launcher.array_parallelism=2"]
    )  # fmt: skip
    assert status == 1  # the stand-in has trained nothing, and the sweep says so
    wanted = {
        "array": "0-2%2", "partition": "gpu", "account": "lab", "cpus-per-task": "8", "gpus-per-node": "1",
        "mem": "32GB", "time": "240", "job-name": "petbench", "nodes": "1", "ntasks-per-node": "1",
    }  # fmt: skip
    found = directives(cluster)
    assert {name: found.get(name) for name in wanted} == wanted
    command = cluster.read_text().splitlines()[-1]
    assert command.startswith("srun --unbuffered --output ")
    assert "-m submitit.core._submit" in command
    assert str(tmp_path / "results" / "sweeps") in found["output"]


class FakeReturn:
    """A job's return of a cluster that never ran it."""

    class status:
        name = "COMPLETED"


@pytest.mark.slow
def test_a_sweep_through_the_stand_ins(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUN_JOBS", "1")
    status = run_command(
        ["train", "-m", *TINY, "adapter=krona", "seed=0,1", "hydra/launcher=submitit_slurm",
         "hydra.launcher.cpus_per_task=1"]
    )  # fmt: skip
    assert status == 0
    records = [json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/record.json")]
    assert sorted((record["seed"], record["status"]) for record in records) == [(0, "done"), (1, "done")]
    assert {record["provenance"]["threads"] for record in records} == {1}


def test_without_a_cluster_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    status = run_command(["train", "-m", *TINY, "adapter=krona", "seed=0,1", "hydra/launcher=submitit_slurm"])
    assert status == 1
    printed = capsys.readouterr()
    assert printed.err.count('SlurmLauncher stopped: Could not detect "srun"') == 1
    assert "2 missing." in printed.out
