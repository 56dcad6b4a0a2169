"""The scripts start, and those that make records of their own make ones that can be read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
WITH_FLAGS = [
    path.name
    for path in sorted(SCRIPTS.glob("*.py"))
    if any(word in path.read_text(encoding="utf-8") for word in ("argparse", "asked_for"))
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


def tables(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "bench_tables.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_tables_and_plots_of_speed_are_those_of_the_measurements() -> None:
    done = tables("--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the tables hold\n"


def lane(count: int, ratio: float) -> dict[str, object]:
    times = {"row_ms": 90.0 * count, "lanes_ms": 90.0 * count / ratio, "ratio": ratio}
    peaks = {"single_peak_bytes": 500_000_000, "lanes_peak_bytes": 900_000_000}
    return {"name": "krona", "lanes": count, "together": count, "padding": 0.0123, **times, **peaks}


def test_a_changed_number_of_a_page_or_of_a_measurement_is_found(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, measurement = tmp_path / "docs/speed.md", tmp_path / "results/bench/lanes_8x12.json"
    page.parent.mkdir()
    measurement.parent.mkdir(parents=True)
    page.write_text(
        "".join(f"<!-- bench: {name} -->\n<!-- end -->\n" for name in ("methods", "lanes", "growth"))
    )
    made = {
        "command": "petbench bench --lanes 1,2,8 --json", "date": "2026-01-02T03:04:05+00:00", "model": "minilm",
        "packages": {"torch": "2.13.0"}, "petbench": {"commit": "0123456789", "dirty": True}, "clock": "wall time",
        "machine": {"processor": "a CPU", "device": "a CPU", "cores": 2, "threads": 1, "load": 1.5},
        "shape": {"batch": 8, "length": 12, "rounds": 9}, "rows": [lane(1, 1.0), lane(2, 1.25), lane(8, 1.5)],
    }  # fmt: skip
    measurement.write_text(json.dumps(made))
    assert tables("--root", str(tmp_path)).returncode == 0
    text = page.read_text(encoding="utf-8")
    assert "<!-- bench: methods -->\nNot measured.\n<!-- end -->" in text
    assert "| krona | 8 | 12 | 8 | 720 | 480 | 1.50 | 1.2% | 500 | 900 |" in text
    assert "`petbench bench --lanes 1,2,8`" in text
    assert (
        "minilm on a CPU (1 of 2 cores, load 1.5), torch 2.13.0, commit 0123456 with changes, 2026-01-02."
        in text
    )
    # The least-squares line through (0, 1), (1, 1.25) and (3, 1.5) has the slope (3/4) / (14/3).
    assert "With every doubling of lanes the ratio changes by +0.161 (krona)." in text
    assert tables("--check", "--root", str(tmp_path)).returncode == 0

    page.write_text(text.replace("| 1.50 |", "| 1.60 |"), encoding="utf-8")
    assert "speed.md: the tables are not those of " in tables("--check", "--root", str(tmp_path)).stderr
    page.write_text(text, encoding="utf-8")
    measurement.write_text(json.dumps(made | {"rows": [lane(1, 1.0), lane(2, 1.25), lane(8, 1.75)]}))
    said = tables("--check", "--root", str(tmp_path))
    assert said.returncode == 1
    assert "speed.md: the tables are not those of " in said.stderr
    assert "bench_lanes.svg: not made from " in said.stderr
