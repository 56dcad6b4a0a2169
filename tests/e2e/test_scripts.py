"""The scripts start, and those that make records of their own make ones that can be read."""

import os
import re
import shutil
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


def checked(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "bench_tables.py"), "--check", "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_tables_and_plots_of_speed_are_those_of_the_measurements() -> None:
    done = checked(SCRIPTS.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the tables hold\n"


def test_a_changed_number_of_a_page_or_of_a_measurement_is_found(tmp_path: Path) -> None:
    for name in ("docs/speed.md", "docs/img", "results/bench"):
        there = SCRIPTS.parent / name
        (shutil.copytree if there.is_dir() else _copy)(there, tmp_path / name)
    page, measurement = tmp_path / "docs/speed.md", tmp_path / "results/bench/lanes_8x12.json"
    text, numbers = page.read_text(encoding="utf-8"), measurement.read_text(encoding="utf-8")
    page.write_text(re.sub(r"(\| krona \| 8 \| 12 \| 8 \| )", r"\g<1>1", text, count=1), encoding="utf-8")
    assert "speed.md: the tables are not those of " in checked(tmp_path).stderr
    page.write_text(text, encoding="utf-8")
    assert checked(tmp_path).returncode == 0
    measurement.write_text(re.sub(r'"ratio": \d', '"ratio": 7', numbers, count=1), encoding="utf-8")
    said = checked(tmp_path)
    assert said.returncode == 1
    assert "speed.md: the tables are not those of " in said.stderr
    assert "bench_lanes.svg: not made from " in said.stderr


def _copy(there: Path, here: Path) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(there, here)
