"""Time `petbench params` against `import torch` alone, each in a process of its own.

    python scripts/time_params.py [--runs 5] [--model minilm] [--adapter krona]

Prints medians of CPU seconds, which other work on the machine does not lengthen: of the first call, which builds the
model without weights and keeps what it counted, and of later calls, which only read it. Exits 1 when a later call takes
more than 1.3 times `import torch`.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from statistics import median

LIMIT = 1.3  # times `import torch`


def cpu_seconds(words: list[str], cache: str) -> float:
    """CPU seconds of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PETBENCH_CACHE": cache},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print one line a kind of call."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--adapter", default="krona")
    given = parser.parse_args()
    params = ["-m", "petbench", "params", f"adapter={given.adapter}", f"model={given.model}"]
    found: dict[str, list[float]] = {"import torch": [], "first call": [], "later call": []}
    for _ in range(given.runs):  # in turns, so that drift of the machine is shared
        with tempfile.TemporaryDirectory() as cache:
            found["import torch"].append(cpu_seconds(["-c", "import torch"], cache))
            found["first call"].append(cpu_seconds(params, cache))
            found["later call"].append(cpu_seconds(params, cache))
    torch = median(found["import torch"])
    for name, seconds in found.items():
        middle = median(seconds)
        print(f"{name:<12} {middle:5.2f} s  {middle / torch:4.2f} × import torch", flush=True)
    return int(median(found["later call"]) > LIMIT * torch)


if __name__ == "__main__":
    sys.exit(main())
