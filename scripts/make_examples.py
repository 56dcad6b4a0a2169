"""Makes results/examples by real commands: tiny models on generated rows, a record for each run; then its tables.

python scripts/make_examples.py [--out results/examples]

The scores say nothing about GLUE. They are there so that `petbench report --check` has records to derive from.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from keep_records import keep_records

SHARED = ("data=toy", "trainer.threads=1", "trainer.progress=off", "logger=none")
COMMANDS = (
    "-m adapter=krona,lora,bitfit,head_only task=sst2 seed=range(5) model=tiny_bert trainer.epochs=12 optim.lr=3e-2",
    "-m adapter=krona,lora task=sst2 seed=0,1,2 model=tiny_t5 trainer.epochs=6 optim.lr=1e-2",
)


def petbench(*arguments: str, folder: Path) -> None:
    """Run one command in a folder; its failure is ours."""
    environment = {key: value for key, value in os.environ.items() if key != "PETBENCH_GLUE"}
    command = [sys.executable, "-m", "petbench.cli", *arguments]
    subprocess.run(command, cwd=folder, check=True, env=environment | {"OMP_NUM_THREADS": "1"})


def main() -> None:
    """Train, keep the records alone, derive the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/examples"))
    out: Path = parser.parse_args().out.resolve()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)  # a relative results_dir there: no path of this machine gets into a record
        for command in COMMANDS:
            petbench("train", *command.split(), *SHARED, folder=scratch)
        keep_records(scratch / "results", out)
    petbench("report", str(out), "--tables-only", "--cite", "--out", str(out.parent / "tables"), folder=out)


if __name__ == "__main__":
    main()
