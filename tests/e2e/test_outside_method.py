"""An installed package that petbench has never heard of brings a method."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "outside_method"


def installed(package: Path, into: Path) -> dict[str, str]:
    """An environment with the package beside its metadata, as an installer leaves them."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module = project["name"].replace("-", "_")
    info = into / f"{module}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Name: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    (into / module).symlink_to(package / module)
    path = os.pathsep.join(filter(None, [str(into), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The example package, installed."""
    return installed(PACKAGE, tmp_path)


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
    assert any(line.strip().startswith("gain ") for line in listed.stdout.splitlines()), listed.stdout


def test_it_imports_from_one_public_face() -> None:
    text = (PACKAGE / "petbench_gain/__init__.py").read_text(encoding="utf-8")
    assert {line.split()[1] for line in text.splitlines() if line.startswith("from petbench")} == {
        "petbench.adapters"
    }


def test_it_is_put_at_equal_budget(environment: dict[str, str]) -> None:
    done = petbench(environment, "params", "adapter=gain", "model=bert_base", "budget.params=5000", "--json")
    assert done.returncode == 0, done.stderr
    assert '"adapter": 4608,' in done.stdout  # the last 6 of 12 layers


def test_it_is_trained_exported_and_cited(environment: dict[str, str], tmp_path: Path) -> None:
    """The exported (IA)^3 is loaded by PEFT alone; a method without a paper is said to have none."""
    words = ["task=rte", "model=tiny_bert", "data=toy", "trainer.max_steps=2"]
    done = petbench(environment, "train", "adapter=gain", *words, f"results_dir={tmp_path / 'runs'}")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs/runs").iterdir()
    out = tmp_path / "out"
    done = petbench(environment, "export", str(run), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(IA)^3 with 1 + g; logits on a test input differ by ")
    assert json.loads((out / "adapter_config.json").read_text())["peft_type"] == "IA3"
    done = petbench(environment, "report", str(tmp_path / "runs"), "--cite")
    assert done.returncode == 0, done.stderr
    assert "% Methods without a paper: gain" in done.stdout


def test_the_skeleton_conforms_as_it_is(tmp_path: Path) -> None:
    package, into = tmp_path / "package", tmp_path / "site"
    into.mkdir()
    written = petbench(dict(os.environ), "new", "method", "my_method", "--dir", str(package))
    assert written.returncode == 0, written.stderr
    assert {str(p.relative_to(package)) for p in package.rglob("*") if p.is_file()} == {
        "pyproject.toml",
        "petbench_my_method/__init__.py",
        "petbench_my_method/conf/adapter/my_method.yaml",
        "tests/test_my_method.py",
    }
    done = petbench(installed(package, into), "conformance", "my_method")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "my_method conforms: 48 passed, 0 failed, 0 skipped."
