"""Times `petbench report` on made records with kept answers, start-up included: the median of several runs.

python scripts/time_report.py                                  2,000 records: methods x tasks x 5 seeds
python scripts/time_report.py --rows 40 --seeds 12 --tasks 8   a table of a given size
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from petbench.record import Answers, Cost, Headline, Metrics, Params, Record, write_answers, write_record
from petbench.tasks.glue import TASKS

TIMED = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
LONGEST = 2000  # answers kept of a made run; QQP and MNLI would have more


def made(method: int, task_name: str, seed: int, folder: Path, generator: np.random.Generator) -> None:
    """One finished run: its record, and answers of as many rows as the validation split has, 2,000 at most."""
    task = TASKS[task_name]
    split = task.validation[0]
    m = min(task.rows[split], LONGEST)
    if task.regression:
        labels = generator.uniform(0, 5, m)
        answers = labels + generator.normal(0, 0.8, m)
    else:
        labels = generator.integers(0, task.num_labels, m)
        answers = np.where(generator.random(m) < 0.8 + method / 400, labels, (labels + 1) % task.num_labels)
    value = 0.7 + method / 400 + float(generator.normal(0, 0.01))
    record = Record(
        run_id=f"{method:04x}{list(TASKS).index(task_name):04x}{seed:04x}", status="done", task=task_name,
        model="minilm", adapter=f"method_{method:02d}", seed=seed, protocol="petbench",
        config={"adapter": {"method": f"method_{method:02d}"}, "task": {"name": task_name}, "optim": {"lr": 1e-3},
                "model": {"name": "minilm"}, "protocol": {"name": "petbench"}, "seed": seed},
        metrics=Metrics(selection={task.headline: value}, report={split: {task.headline: value}}),
        headline=Headline(name=task.headline, value=value, split=split, n=m),
        params=Params(tuned=1000, adapter=1000, head=10, norm=0, other=0, trainable=1010, backbone=10**6,
                      tuned_percent=0.1, trainable_percent=0.101),
        cost=Cost(step_seconds_median=0.1, train_seconds=60.0, eval_seconds=5.0, peak_memory_bytes=2**30),
        curve=tuple(
            {"step": 10 * k, "epoch": 0.4 * k, "seconds": 12.0 * k, "loss": 0.7 / k, "score": value * k / 5}
            for k in range(1, 6)
        ),
        provenance={"data": {"source": "local", "digest": task_name}, "precision": "fp32"},
    )  # fmt: skip
    logits = None if task.regression else generator.normal(size=(m, task.num_labels)).astype(np.float16)
    kept = Answers(np.arange(m), labels.astype(np.float32), answers.astype(np.float32), logits)
    write_answers(write_record(record, folder).parent, {split: kept})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=50, help="methods (default 50)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of a cell (default 5)")
    parser.add_argument("--tasks", type=int, default=8, choices=range(1, 9), metavar="1..8")
    parser.add_argument("--runs", type=int, default=5, help="times that it is timed")
    flags = parser.parse_args()
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for method in range(flags.rows):
            for task in TIMED[: flags.tasks]:
                for seed in range(flags.seeds):
                    made(method, task, seed, folder, generator)
        taken = []
        for _ in range(flags.runs):
            start = time.perf_counter()
            code = (
                "import sys; from petbench.cli import run_command; status = run_command(sys.argv[1:]);"
                "assert 'torch' not in sys.modules; sys.exit(status)"
            )
            command = [sys.executable, "-c", code, "report", str(folder)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            taken.append(time.perf_counter() - start)
        page = (folder / "report" / "index.html").stat().st_size
    count = flags.rows * flags.seeds * flags.tasks
    each = ", ".join(f"{seconds:.2f}" for seconds in taken)
    print(
        f"{count:,} records with answers ({flags.rows} rows, {flags.seeds} seeds, {flags.tasks} tasks): "
        f"median {median(taken):.2f} s ({each}); page {page / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
