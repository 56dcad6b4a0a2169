"""Prints the versions at one end of pyproject's bounds; with --write notes them as tested.

Run by: make test-newest, make test-oldest, with the Python of that end's environment.
"""

import argparse
import json
from pathlib import Path

from petbench.machine.tested import installed, needed, ranges

ENDS = ("oldest", "newest")  # in the order of a pair in the file
FILE = Path(__file__).resolve().parent.parent / "src/petbench/machine/tested.json"


def main() -> None:
    """One line a package, or the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("end", choices=ENDS)
    parser.add_argument("--write", action="store_true", help="note these versions in tested.json")
    arguments = parser.parse_args()
    here = installed(needed())
    if not arguments.write:
        print(f"versions at the {arguments.end} end:")
        print(*(f"  {name:<14} {number}" for name, number in here.items()), sep="\n")
        return
    tested = ranges()
    pairs = {name: list(tested.get(name, (number, number))) for name, number in here.items()}
    for name, number in here.items():
        pairs[name][ENDS.index(arguments.end)] = number
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(pair)}" for name, pair in pairs.items())
    FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    print(f"noted in {FILE.relative_to(FILE.parents[3])}")


if __name__ == "__main__":
    main()
