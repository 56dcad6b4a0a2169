"""The wheel, installed into an environment of its own, works outside the repository."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def call(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must succeed. No variable of the caller points back here."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "PETBENCH", "VIRTUAL"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean | environment,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `petbench` program of a second environment: the wheel without its dependencies, which it borrows."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    place = tmp_path_factory.mktemp("wheel")
    call(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        place / "dist",
        ROOT,
        cwd=place,
    )
    (wheel,) = (place / "dist").glob("petbench-*.whl")
    call(sys.executable, "-m", "venv", place / "venv", cwd=place)
    python = place / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel, cwd=place)
    (site,) = (place / "venv" / "lib").glob("python*/site-packages")
    # A path line does not run the .pth files found there, so the editable petbench stays out of sight.
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    where = call(python, "-c", "import petbench; print(petbench.__file__)", cwd=place).strip()
    assert Path(where).is_relative_to(place)
    return place / "venv" / "bin" / "petbench"


def test_every_config_ships(installed: Path) -> None:
    (package,) = installed.parent.parent.glob("lib/python*/site-packages/petbench")
    ours = {
        str(path.relative_to(ROOT / "conf"))
        for path in (ROOT / "conf").rglob("*.yaml")
        if "local" not in path.parts
    }
    shipped = {str(path.relative_to(package / "conf")) for path in (package / "conf").rglob("*.yaml")}
    assert ours <= shipped
    assert len(shipped) > 20


def test_list_and_params_work_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    names = {line.split()[0] for line in call(installed, "list", "adapters", cwd=tmp_path).splitlines()}
    assert {"krona", "lora", "full", "head_only", "bitfit", "peft/lora"} <= names
    text = call(
        installed, "params", "model=roberta_base", "adapter=lora", "adapter.rank=8", "--json", cwd=tmp_path
    )
    params = json.loads(text)["params"]
    assert (params["adapter"], params["head"]) == (294912, 592130)


def test_a_tiny_run_leaves_its_record_where_it_was_called(installed: Path, tmp_path: Path) -> None:
    words = ["train", "adapter=krona", "task=rte", "model=tiny_bert", "data=toy", "trainer=smoke"]
    said = call(installed, *words, cwd=tmp_path, OMP_NUM_THREADS="1")
    (path,) = tmp_path.glob("results/runs/*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "done"
    assert record["provenance"]["data"]["source"] == "toy"
    assert record["run_id"] in said
    assert (path.parent / "adapter" / "adapter.safetensors").is_file()
