"""The check for a real GPU: on one it finds nothing bad; without one it says so, and tries itself on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "scripts" / "gpu_check"


def checked(place: Path, *words: str, hidden: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})}
    command = [sys.executable, str(CHECK), "--out", str(place / "out"), *words]
    return subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )


@pytest.mark.gpu
def test_nothing_is_bad(tmp_path: Path) -> None:
    done = checked(tmp_path, "--quick", "--seconds", "900")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "out/findings.json").read_text())["bad"] == []


def test_without_a_gpu_it_says_how_to_try_it(tmp_path: Path) -> None:
    done = checked(tmp_path, hidden=True)
    assert done.returncode == 2
    assert "no CUDA device is visible" in done.stderr and "--device cpu --quick" in done.stderr
    assert not (tmp_path / "out").exists()
