"""The scripts start, and those that make records of their own make ones that can be read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
WITH_FLAGS = [
    path.name for path in sorted(SCRIPTS.glob("*.py")) if "argparse" in path.read_text(encoding="utf-8")
]


def output_of(name: str, *arguments: str) -> str:
    command = [sys.executable, str(SCRIPTS / name), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "100"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [*WITH_FLAGS, "reliability"])
def test_a_script_says_what_it_is_for(name: str) -> None:
    assert output_of(name, "--help").startswith("usage: ")


def test_a_report_of_made_records_is_timed() -> None:
    said = output_of("time_report.py", "--rows", "3", "--seeds", "2", "--tasks", "2", "--runs", "1")
    assert said.startswith("12 records with answers (3 rows, 2 seeds, 2 tasks): median ")
