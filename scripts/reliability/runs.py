"""Runs in child processes that a fault may end, and what must not depend on it."""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.config.tree import options
from petbench.errors import RunError, UserError
from petbench.machine.devices import free_dead_model
from petbench.machine.signals import exit_status
from petbench.training.prepare import prepare
from petbench.training.run import run

SMALL = [
    "task=rte", "data=toy", "data.toy_train=32", "data.toy_validation=16", "logger=jsonl", "trainer.max_steps=6",
    "trainer.batch_size=8", "trainer.eval_every=3", "trainer.precision=fp32", "trainer.threads=1",
    "trainer.device=cpu", "optim.lr=5e-3", "model=tiny_bert",
]  # fmt: skip
LIMIT_SECONDS = 600.0  # a child that takes longer hangs


def methods() -> list[str]:
    """Every native choice, and PEFT's LoRA."""
    return [*(name for name in options("adapter") if "/" not in name), "peft/lora"]


def spec_for(method: str, *more: str) -> RunSpec:
    """The small run of a method."""
    (member,) = expand([*SMALL, f"adapter={method}", *more])
    return parse(member.values, spec_of)


def warm_up(names: list[str]) -> None:
    """Import what the methods' runs need (ten seconds of each child otherwise); nothing is trained in this process."""
    import petbench.training.train  # noqa: F401
    from petbench.measure import latency
    from petbench.tasks.metrics import metric

    torch.set_num_threads(1)
    latency.TIMED, latency.WARM_UP = 1, 0  # its numbers are not looked at here
    for name in names:
        prepared = prepare(spec_for(name))
    metric(tuple(prepared.spec.task.metrics))
    free_dead_model()  # else every child walks through all that was imported, three times


def train(spec: RunSpec, place: Path) -> None:
    """The run, or what is left of it, with everything below `place`."""
    run(
        prepare(spec.model_copy(update={"results_dir": str(place), "cache_dir": str(place.parent / "cache")}))
    )


def in_child(action: Callable[[], None], log: Path) -> int:
    """Do something in a forked process; its exit status as the command line has it, or minus the signal."""
    child = start(action, log)
    return wait(child)


def start(action: Callable[[], None], log: Path) -> int:
    """Fork; the child's number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        status = _status(action)
        sys.stdout.flush()
    finally:
        os._exit(status)


def _status(action: Callable[[], None]) -> int:
    try:
        action()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt as stop:
        return exit_status(stop)
    except BaseException:
        traceback.print_exc()
        return 3
    return 0


def wait(child: int) -> int:
    """The end of a child; one that hangs is killed and gives -SIGALRM."""
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM


def folder_of(place: Path) -> Path | None:
    """The one run's folder; None before it is there."""
    found = list((place / "runs").glob("*"))
    return found[0] if len(found) == 1 else None


def outcome(place: Path) -> dict[str, Any] | None:
    """What must not depend on a fault: scores, curve, lines, bytes. None where the run is not done."""
    folder = folder_of(place)
    try:
        record = json.loads((folder / "record.json").read_text()) if folder else {}
    except (OSError, ValueError):
        return None
    if folder is None or record.get("status") != "done":
        return None
    names = ("metrics", "headline", "params", "best", "merge", "adapter_sha256")
    kept = {name: record[name] for name in names}
    kept["curve"] = [{k: v for k, v in point.items() if k != "seconds"} for point in record["curve"]]
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    kept["lines"] = [(line["step"], line["values"]) for line in lines]
    files = [
        *(folder / "predictions").iterdir(),
        folder / "adapter" / "adapter.safetensors",
        folder / "row_ids.json",
    ]
    kept["files"] = {path.name: path.read_bytes() for path in files}
    kept["left"] = sorted(p.name for p in folder.iterdir() if p.name.startswith((".", "claim", "error")))
    return kept


def half_there(place: Path) -> bool:
    """Whether a record is there that is none, or a finished one without all that it speaks of."""
    folder = folder_of(place)
    if folder is None or not (folder / "record.json").exists():
        return False
    try:
        record = json.loads((folder / "record.json").read_text())
    except ValueError:
        return True
    return record["status"] == "done" and outcome(place) is None
