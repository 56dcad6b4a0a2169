"""An installed package that petbench has never heard of brings a method."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "outside_method"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The package beside its metadata, as an installer leaves them."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = tmp_path / f"petbench_gain-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Name: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    (tmp_path / "petbench_gain").symlink_to(PACKAGE / "petbench_gain")
    return {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def petbench(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from petbench.cli import main; main()", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_it_conforms(environment: dict[str, str]) -> None:
    done = petbench(environment, "conformance", "gain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed " not in done.stdout.replace("0 failed", "")
    assert done.stdout.splitlines()[-1].startswith("gain conforms: ")


def test_it_is_counted_and_listed_like_ours(environment: dict[str, str]) -> None:
    counted = petbench(environment, "params", "adapter=gain", "model=bert_base", "--json")
    assert counted.returncode == 0, counted.stderr
    assert '"adapter": 9216,' in counted.stdout  # 12 layers of 768
    listed = petbench(environment, "list", "adapters")
    assert any(line.startswith("gain ") for line in listed.stdout.splitlines()), listed.stdout
