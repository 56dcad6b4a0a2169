"""The short form of `make reliability`: some of every kind of fault, and nothing is lost."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_short_form_holds(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "reliability"), "--short", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(re.findall(r"^([a-z][a-z ]*[a-z]) +(\d+) ", done.stdout, re.MULTILINE))
    assert {"kills", "disk", "corruptions", "signals", "claims", "concurrency", "bad inputs"} <= rows.keys()
    assert all(int(tried) > 0 for tried in rows.values())
    assert "not held: 0" in done.stdout
