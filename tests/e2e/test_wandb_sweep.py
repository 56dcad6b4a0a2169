"""A sweep that W&B steers: its own agent, on the stand-in server, starts petbench as conf/wandb/sweep.yaml says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from wandb_server import serving

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TINY = ["model=tiny_bert", "data=toy", "trainer=smoke", "trainer.threads=1"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory):
    """What the server was told, and the folder of the results: two settings, the second drawn twice."""
    place = tmp_path_factory.mktemp("sweep")
    told = yaml.safe_load((ROOT / "conf/wandb/sweep.yaml").read_text())
    told["command"] = [*told["command"][:-1], *TINY, told["command"][-1]]
    with serving() as server:
        server.sweep = yaml.safe_dump(told)
        server.draws = {
            "draw1": {"optim.lr": 0.001, "adapter.scale": 1.0},
            "draw2": {"optim.lr": 0.01, "adapter.scale": 4.0},
            "draw3": {"optim.lr": 0.01, "adapter.scale": 4.0},
        }
        clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
        clean |= {
            "HOME": str(place), "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "OMP_NUM_THREADS": "1",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "WANDB_ERROR_REPORTING": "false",
        }  # fmt: skip
        done = subprocess.run(
            [str(BIN / "wandb"), "agent", "team/lab/s1"],
            cwd=place, env=clean, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        yield server, place, done


def test_every_draw_has_its_run_with_the_records_selection_score(sweep) -> None:
    server, place, done = sweep
    records = [json.loads(path.read_text()) for path in place.glob("results/runs/*/record.json")]
    assert len(records) == 2, done.stdout + done.stderr
    by_rate = {record["config"]["optim"]["lr"]: record for record in records}
    for run, rate in (("draw1", 0.001), ("draw2", 0.01), ("draw3", 0.01)):
        record = by_rate[rate]
        scores = [row["selection/score"] for row in server.history[run] if "selection/score" in row]
        assert max(scores) == record["metrics"]["selection"][record["headline"]["name"]], run
        assert len(scores) == len(record["curve"])
        assert record["provenance"]["tuning"]["role"] == "trial"
    assert "is done already" in done.stdout
