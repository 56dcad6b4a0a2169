"""Ray on two nodes of one machine, a head and a second raylet: one dies in the middle, and every run is done once."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("ray") is None or find_spec("hydra_plugins.hydra_ray_launcher") is None,
        reason="needs petbench[ray]",
    ),
]

RUNS = 12
RAY = Path(sys.executable).with_name("ray")
TINY = [
    "task=rte", "data=toy", "data.toy_train=64", "data.toy_validation=16", "model=tiny_bert", "adapter=krona",
    "trainer.max_steps=20", "trainer.batch_size=8", "trainer.precision=fp32",
]  # fmt: skip


class Cluster:
    """A head with one core and a second node with one; each is a process with raylet and workers below it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, f"127.0.0.1:{port()}"
        self.scratch = tempfile.mkdtemp(prefix="ray")  # sockets in it: their paths must be short
        self.env = os.environ | {
            "PETBENCH_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1",
            "RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "200",
            "RAY_worker_register_timeout_seconds": "300", "RAY_worker_niceness": "0",
        }  # fmt: skip
        self.nodes: dict[str, psutil.Process] = {}

    def start(self) -> None:
        """Start the head, then the second node, whose workers have another working folder."""
        head = ["--head", "--include-dashboard=false", f"--temp-dir={self.scratch}"]
        self._start("head", *head, f"--port={self.address.partition(':')[2]}")
        self._start("second", f"--address={self.address}")

    def _start(self, name: str, *options: str) -> None:
        # Ports of its own: on one machine the usual ones would collide.
        agents = ("dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent", "metrics-export")
        ports = [f"--{agent}-port={port()}" for agent in agents]
        (self.folder / name).mkdir()
        with (self.folder / f"{name}.log").open("w") as log:
            started = subprocess.Popen(
                [RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=100000000", *ports, *options],
                env=self.env, cwd=self.folder / name, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.nodes[name] = psutil.Process(started.pid)

        def is_up() -> bool:
            assert started.poll() is None, log_of(self.folder / f"{name}.log")
            return "Ray runtime started" in log_of(self.folder / f"{name}.log")

        wait(is_up, f"the {name} node")

    def trains(self, name: str, results: Path) -> bool:
        """Whether a worker of the node holds the claim of a run."""
        workers = {process.pid for process in self.nodes[name].children(recursive=True)}
        claims = [json.loads(text) for path in results.glob("runs/*/claim.json") if (text := log_of(path))]
        return any(claim["pid"] in workers for claim in claims)

    def kill(self, name: str) -> None:
        """End a node as a power cut would: all its processes at once, none is asked."""
        node = self.nodes.pop(name)
        every = [node, *node.children(recursive=True)] if node.is_running() else []
        for process in every:
            process.suspend()  # so that none sees another's end
        for process in every:
            process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """End what is left."""
        for name in list(self.nodes):
            self.kill(name)
        shutil.rmtree(self.scratch, ignore_errors=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def port() -> int:
    """A port that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number


def log_of(path: Path) -> str:
    """A file's text; empty where another process has just removed it."""
    try:
        return path.read_text()
    except OSError:
        return ""


def wait(until: Callable[[], bool], what: str, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def sweep(cluster: Cluster, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "petbench", "train", "-m", *TINY, *more, "hydra/launcher=ray",
         f"hydra.launcher.ray.init.address={cluster.address}"],
        env=cluster.env, cwd=cluster.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_a_node_dies_and_every_run_is_done_once(cluster: Cluster, tmp_path: Path) -> None:
    results = tmp_path / "results"
    began = sweep(cluster, f"seed=range({RUNS})", f"results_dir={results}")

    def records() -> list[Path]:
        return sorted(results.glob("runs/*/record.json"))

    def is_in_the_middle() -> bool:
        assert began.poll() is None, began.communicate()[0]
        return len(records()) >= 3 and cluster.trains("second", results)

    wait(is_in_the_middle, "a run on the second node", seconds=600)
    cluster.kill("second")
    before = len(records())
    said, _ = began.communicate(timeout=600)
    assert began.returncode == 0, said
    assert 3 <= before < RUNS, said  # the node died in the middle
    found = [json.loads(path.read_text()) for path in records()]
    assert sorted((record["seed"], record["status"]) for record in found) == [
        (n, "done") for n in range(RUNS)
    ]
    assert not list(results.glob("runs/*/claim.json"))


def test_runs_come_back_where_no_folder_is_shared(cluster: Cluster, tmp_path: Path) -> None:
    """A relative results folder is another one for the driver and for the workers of each node."""
    began = sweep(cluster, "seed=range(4)", "results_dir=results")
    said, _ = began.communicate(timeout=600)
    assert began.returncode == 0, said
    there = {path.parent.name for path in tmp_path.glob("*/results/runs/*/record.json")}
    found = {path.parent.name: path.parent for path in tmp_path.glob("results/runs/*/record.json")}
    assert len(found) == 4 and there <= set(found)
    assert there, "the workers saw the driver's folder, so that nothing had to come back"
    for folder in found.values():
        record = json.loads((folder / "record.json").read_text())
        adapter = (folder / "adapter" / "adapter.safetensors").read_bytes()
        assert record["status"] == "done" and sha256(adapter).hexdigest() == record["adapter_sha256"]
        assert (folder / "answers.npz").exists() and (folder / "metrics.jsonl").exists()
