"""Time a sweep call in which all 200 members are done.

    python scripts/time_done_sweep.py [--repeats 5] [--glue DIR]

The records are made up (two methods with and without a name of their own, five tasks, twenty seeds), so nothing is
trained; their run ids are the real ones. With --glue the rows are read from a folder, else they are generated.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from petbench.compose.expand import expand
from petbench.record import Headline, Point, Record, write_record
from petbench.sweep.members import members_of

TARGET_SECONDS = 5.0


def members(folder: Path, glue: Path | None) -> list[str]:
    """The command line of 200 members."""
    rows = ["data=local", f"data.dir={glue}", "data.allow_partial=true"] if glue else ["data=toy"]
    return [
        "adapter=krona,peft/lora",
        "task=rte,mrpc,cola,stsb,sst2",
        "seed=range(20)",
        *rows,
        f"results_dir={folder}",
    ]


def make_records(argv: list[str], folder: Path) -> int:
    """A done record for every member; returns how many."""
    cells = members_of(expand([*argv, "model=minilm"]))
    for cell in cells:
        spec = cell.spec
        record = Record(
            run_id=cell.run_id, status="done", task=spec.task.name, model=spec.model.label,
            adapter=spec.adapter.label, seed=spec.seed, config=spec.canonical(), protocol=spec.protocol.name,
            headline=Headline(name="accuracy", value=0.5, split="validation", n=100),
            curve=tuple(Point(step=n, epoch=n, seconds=n, loss=0.5, score=0.5) for n in range(20)),
        )  # fmt: skip
        write_record(record, folder)
    return len(cells)


def main() -> int:
    """0 when the median is under the target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--glue", type=Path, default=None)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="done_sweep_"))
    argv = members(folder, given.glue.resolve() if given.glue else None)
    count = make_records(argv, folder)
    walls, cpus = [], []
    for _ in range(given.repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "petbench.cli", "train", "-m", "model=minilm", *argv],
            capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0 and "Nothing to run" in done.stdout, done.stdout + done.stderr
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    print(f"{count} members, all done: median of {given.repeats}: {wall:.2f} s wall, {cpu:.2f} s CPU")
    return 0 if wall < TARGET_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
