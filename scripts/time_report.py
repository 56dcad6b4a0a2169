"""Times `petbench report` on made records, start-up included: the median of several runs.

python scripts/time_report.py --count 2000
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=2000, help="records")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    make = Path(__file__).with_name("make_records.py")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(make), folder, "--count", str(options.count)], check=True)
        taken = []
        for _ in range(options.runs):
            start = time.perf_counter()
            command = [sys.executable, "-c", "from petbench.cli import main; main()", "report", folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            taken.append(time.perf_counter() - start)
        page = (Path(folder) / "report" / "index.html").stat().st_size
    each = ", ".join(f"{seconds:.2f}" for seconds in taken)
    print(f"median {median(taken):.2f} s ({each}); page {page / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
