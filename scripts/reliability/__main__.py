"""What petbench holds against: kills, full disks, corruptions, signals, other owners, bad input. Prints a table.

    python scripts/reliability [--short] [--seed 0] [--folder DIR]

Every undisturbed result is compared, byte by byte, with what is left after a fault and one more call. "Not held" is
what was lost, half there, taken twice or answered with anything but words. The long form takes half an hour on two
cores, the short one (some of everything, for CI) a minute. Exit 1 when anything was not held.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as Tree
from pathlib import Path

import bits
import kills
import owners
import runs

TESTS = Path(__file__).parents[2] / "tests"
# Tests of bad input, a row of a table each: config, command line, files of rows, models, adapters, records, plug-ins.
SURFACES = [
    "e2e/test_bad_surfaces.py", "e2e/test_bad_input.py", "e2e/test_model_border.py", "unit/test_record.py",
    "unit/test_fuzz.py", "unit/tasks/test_rows.py", "unit/tasks/test_new_text.py", "unit/tasks/test_submit.py",
    "unit/models/test_bad_config.py", "unit/models/test_model_checks.py", "unit/adapters/test_broken_plugin.py",
    "unit/compose/test_broken_yaml.py", "unit/compose/test_overrides.py", "unit/commands/test_arguments.py",
    "unit/tuned/test_bits.py",
]  # fmt: skip


def bad_inputs(place: Path, short: bool) -> list[kills.Verdict]:
    """The tables of the tests: a row that passes was refused with its message and exit status."""
    out = place / "bad_inputs.xml"
    chosen = [TESTS / name for name in (SURFACES[4:5] if short else SURFACES) if (TESTS / name).exists()]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={out}",
        *map(str, chosen),
    ]
    with (place / "bad_inputs.log").open("w") as log:
        subprocess.run(command, cwd=TESTS.parent, stdout=log, stderr=log, check=False)
    found = []
    for case in Tree.parse(out).iter("testcase"):
        broken = case.find("failure") is not None or case.find("error") is not None
        if case.find("skipped") is None:
            found.append(("lost" if broken else "refused", f"{case.get('classname')}::{case.get('name')}"))
    return found


def main() -> int:
    """0 when everything held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="some of everything, in a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=None, help="some parts, by their names in the table")
    parser.add_argument("--folder", type=Path, default=None, help="where to work; a new one by default")
    given = parser.parse_args()
    place = given.folder or Path(tempfile.mkdtemp(prefix="reliability_"))
    place.mkdir(parents=True, exist_ok=True)
    short, seed = given.short, given.seed
    runs.warm_up(runs.methods()[:3] if short else runs.methods())
    parts = {
        "kills": lambda: kills.kills(place, 3 if short else 4 * len(runs.methods()), seed),
        "disk": lambda: kills.disks(place, 12 if short else 1),
        "corruptions": lambda: bits.corruptions(place, 10 if short else 100, seed),
        "signals": lambda: kills.stops(place, 40 if short else 2),
        "claims": lambda: owners.claims(place),
        "concurrency": lambda: owners.concurrency(place, 1 if short else 5),
        "bad inputs": lambda: bad_inputs(place, short),
    }
    print(f"{'':<12} {'tried':>6} {'exact':>6} {'refused':>8} {'not held':>9} {'seconds':>8}", flush=True)
    not_held = []
    for name, part in parts.items():
        if given.only is not None and name not in given.only:
            continue
        began = time.monotonic()
        found = part()
        lost = [what for kind, what in found if kind == "lost"]
        exact, refused = (sum(kind == word for kind, _ in found) for word in ("exact", "refused"))
        seconds = time.monotonic() - began
        print(
            f"{name:<12} {len(found):>6} {exact:>6} {refused:>8} {len(lost):>9} {seconds:>8.0f}", flush=True
        )
        not_held += [f"{name}: {what}" for what in lost]
    print("\n".join([f"not held: {len(not_held)}", *not_held]), flush=True)
    return 1 if not_held else 0


if __name__ == "__main__":
    sys.exit(main())
