"""Start the same 16-cell sweep in four processes at once on one folder: every run must be made once.

python scripts/four_sweeps.py [--processes 4] [--folder DIR]
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SWEEP = [
    *("adapter=krona,lora", "seed=range(8)", "task=rte", "data=toy", "data.toy_train=64", "model=tiny_bert"),
    *("trainer.max_steps=20", "trainer.batch_size=8", "trainer.precision=fp32", "trainer.threads=1"),
]
CELLS = 16
# A run that is trained says this once, at its last evaluation; a run that is done already does not.
TRAINED = re.compile(r"\| step 20/20  epoch")


def main() -> int:
    """0 when there are 16 records and every run was trained once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="four_sweeps_"))
    command = [
        sys.executable,
        "-m",
        "petbench.cli",
        "train",
        "-m",
        *SWEEP,
        f"results_dir={folder / 'results'}",
    ]
    logs = [folder / f"sweep{number}.log" for number in range(given.processes)]
    began = time.monotonic()
    sweeps = [
        subprocess.Popen(
            command,
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for log in logs
    ]
    statuses = [sweep.wait() for sweep in sweeps]
    shares = [len(TRAINED.findall(log.read_text())) for log in logs]
    records = [json.loads(path.read_text()) for path in folder.glob("results/runs/*/record.json")]
    done = sum(record["status"] == "done" for record in records)
    left = [str(path) for path in folder.rglob("claim.json")]
    once = statuses == [0] * given.processes and done == CELLS == sum(shares) and not left
    print(
        f"exits {statuses}; trained by each: {shares}; {time.monotonic() - began:.0f} s; claims left: {left}"
    )
    print(f"{len(records)} records, {sum(shares)} trained, each once: {once}")
    return 0 if once else 1


if __name__ == "__main__":
    sys.exit(main())
