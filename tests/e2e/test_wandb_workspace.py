"""`petbench wandb workspace|report` through the real client and a stand-in server: panels draw what runs send."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from petbench.compose.expand import expand
from petbench.record import read_records
from petbench.tracking.log import Fanout
from petbench.training.plan import spec_from
from petbench.training.prepare import prepare
from petbench.training.told import settings_of, tell
from wandb_server import Server, serving

ROOT = Path(__file__).resolve().parents[2]
LOGGED = {"step", "seconds", "loss", "selection/score", "learning_curve", "confusion_matrix"}  # docs/wandb.md


@contextmanager
def told(*words: str, key: str = "0" * 40) -> Iterator[tuple[Server, subprocess.CompletedProcess[str]]]:
    """The server after one command, and what the command printed."""
    with serving() as server:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
        clean |= {"WANDB_BASE_URL": server.url, "WANDB_ERROR_REPORTING": "false", "HOME": "/nonexistent"}
        clean |= {"WANDB_API_KEY": key} if key else {}
        command = [sys.executable, "-m", "petbench", "wandb", *words]
        yield server, subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300)


class Summary(Fanout):
    """Keeps what a run's summary is told."""

    def __init__(self) -> None:
        super().__init__([])
        self.fields: set[str] = set()

    def summary(self, values: Any) -> None:
        """The names alone."""
        self.fields |= set(values)


def sent() -> tuple[set[str], set[str]]:
    """Names of the summary fields and of the config fields that every run sends."""
    (member,) = expand(["adapter=krona", "task=rte", "data=toy", "model=tiny_bert"])
    record = next(record for record in read_records(ROOT / "results/examples") if record.headline)
    tracker = Summary()
    tell(tracker, record)
    return tracker.fields, set(settings_of(prepare(spec_from(member.values))))


@pytest.mark.parametrize("kind", ["workspace", "report"])
def test_every_panel_asks_for_what_runs_send(kind: str) -> None:
    with told(kind, "team/lab") as (server, done):
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().startswith(f"{server.url}/team/lab")
        (view,) = server.views
    text = str(view["spec"])
    summary, config = sent()
    asked = set(re.findall(r"summary(?:_metrics)?[:.]([\w/]+)", text))
    assert (
        {"score", "tuned_params", "step_seconds", "peak_memory_bytes", "selection_score"} <= asked <= summary
    )
    grouped = set(re.findall(r"'groupBy': '([\w/]+)\.value'", text))
    assert grouped == {"method"} <= config
    assert set(re.findall(r"config[:.]([\w/]+)\.value", text)) <= config
    drawn = {
        name
        for group in re.findall(r"'(?:metrics|mediaKeys)': \[([^\]]*)\]", text)
        for name in re.findall(r"'([^']+)'", group)
    }
    assert {name for name in drawn if not name.startswith("summary")} <= LOGGED
    assert {"selection/score", "loss", "learning_curve", "confusion_matrix"} <= drawn


@pytest.mark.parametrize(
    ("words", "key", "status", "said"),
    [
        (("workspace", "lab"), "x", 2, "Legal: ENTITY/PROJECT, such as my-team/lab."),
        (("report", "team/lab/more"), "x", 2, "team/lab/more"),
        (("workspace", "team/lab"), "", 2, "no key for W&B. Run: wandb login"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], key: str, status: int, said: str) -> None:
    with told(*words, key=key and "0" * 40) as (server, done):
        assert (done.returncode, server.views) == (status, [])
        assert said in done.stderr and "bug" not in done.stderr


def test_a_refusal_of_the_server_is_a_failure_with_its_reason() -> None:
    with serving() as server:
        server.broken = True
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
        clean |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "WANDB_ERROR_REPORTING": "false"}
        command = [sys.executable, "-m", "petbench", "wandb", "workspace", "team/lab"]
        done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "W&B refused the workspace" in done.stderr
