"""Time a whole run against a Trainer script that does the same: each a process of its own, as a user would start it.

    python scripts/time_whole_run.py [--glue DIR] [--rows 2000] [--epochs 2] [--batch 32] [--lr 2e-3]
                                     [--precision fp32] [--threads 1] [--repeats 1]

PEFT's LoRA on SST-2 with MiniLM: `petbench train adapter=peft/lora`, and scripts/whole_run/trainer.py, a plain script
around transformers' Trainer. Both train on the same rows, in batches of like lengths, evaluate the same selection rows
after every epoch, and score the best checkpoint on the same report rows. Nothing is cached before. Without --glue (a
folder of GLUE) the rows are generated.

Prints wall and CPU seconds by part, both ratios, and the scores. CPU seconds are those of the whole process and its
children: other work on the machine does not lengthen them. With --repeats, the medians.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from petbench.compose.expand import expand
from petbench.models.source import find_source
from petbench.record import read_record
from petbench.training.plan import spec_from
from petbench.training.prepare import Prepared, prepare

SCRIPTS = Path(__file__).parent
PARTS = (
    "start", "planning", "loading", "training", "evaluations", "merge effect", "latency", "writing", "other", "end",
)  # fmt: skip


class Run(NamedTuple):
    """One process: [wall, CPU] seconds by part and in all, and its accuracy on selection and report rows."""

    parts: dict[str, tuple[float, float]]
    total: tuple[float, float]
    selection: float
    report: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--glue", type=Path, default=None)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    chosen = parser.parse_args()
    theirs, ours = [], []
    for _ in range(chosen.repeats):
        with tempfile.TemporaryDirectory() as place:
            words = [*settings(chosen), f"results_dir={place}/results"]
            prepared = prepare(spec_from(expand(words)[0].values))
            theirs.append(trainer(chosen, prepared, Path(place)))
            ours.append(petbench(words, prepared, Path(place)))
    show(theirs, ours)


def settings(chosen: argparse.Namespace) -> list[str]:
    """The run as petbench's command line."""
    generated = ["data=toy", f"data.toy_train={2 * chosen.rows}"]
    rows = ["data=local", f"data.dir={chosen.glue.resolve()}"] if chosen.glue else generated
    return [
        "adapter=peft/lora", "model=minilm", "task=sst2", f"task.train_examples={chosen.rows}", *rows,
        f"optim.lr={chosen.lr}", f"trainer.epochs={chosen.epochs}", f"trainer.batch_size={chosen.batch}",
        f"trainer.precision={chosen.precision}", f"trainer.threads={chosen.threads}", "trainer.device=cpu",
    ]  # fmt: skip


def trainer(chosen: argparse.Namespace, prepared: Prepared, place: Path) -> Run:
    """The Trainer script, on the rows that petbench's run has."""
    rows = prepared.rows
    report = rows.report[rows.headline_split]
    for name, split in {"train": rows.train, "selection": rows.selection, "report": report}.items():
        pairs = zip(split.texts["sentence"], split.labels or (), strict=True)
        lines = [json.dumps({"sentence": text, "label": label}) + "\n" for text, label in pairs]
        (place / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    warmup = round(prepared.spec.optim.warmup_ratio * prepared.steps)
    given = {
        "rows": place, "model": find_source(prepared.spec.model.name).where, "out": place / "trainer",
        "lr": chosen.lr, "epochs": chosen.epochs, "batch": chosen.batch, "warmup-steps": warmup,
        "threads": chosen.threads, "precision": chosen.precision,
    }  # fmt: skip
    arguments = [f"--{key}={value}" for key, value in given.items()]
    parts, total, said = process(place, chosen.threads, "trainer", *arguments)
    scores = json.loads(said.splitlines()[-1])
    return Run(parts, total, scores["selection"], scores["report"])


def petbench(words: list[str], prepared: Prepared, place: Path) -> Run:
    """`petbench train`."""
    parts, total, _ = process(place, prepared.spec.trainer.threads or 1, "petbench", "train", *words)
    record = read_record(prepared.folder)
    assert record is not None
    assert record.headline is not None
    return Run(parts, total, record.metrics.selection["accuracy"], record.headline.value)


def process(
    place: Path, threads: int, *words: str
) -> tuple[dict[str, tuple[float, float]], tuple[float, float], str]:
    """Run a program under `timed.py`, with empty caches: its parts, its whole [wall, CPU] seconds, what it printed."""
    notes = place / "notes.json"
    caches = {"PETBENCH_CACHE": f"{place}/petbench", "HF_DATASETS_CACHE": f"{place}/datasets"}
    environment = {**os.environ, **caches, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    before, began = _children(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, SCRIPTS / "whole_run" / "timed.py", notes, *words],
        capture_output=True,
        text=True,
        env=environment,
    )
    total = (time.perf_counter() - began, _children() - before)
    if done.returncode:
        sys.exit(f"{words[0]} failed:\n{done.stdout}{done.stderr}")
    parts = {name: (wall, cpu) for name, (wall, cpu) in json.loads(notes.read_text()).items()}
    # What the process could not see of itself: the interpreter's start, children, and its end.
    rest = [whole - sum(part[clock] for part in parts.values()) for clock, whole in enumerate(total)]
    return parts | {"end": (rest[0], rest[1])}, total, done.stdout


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(theirs: list[Run], ours: list[Run]) -> None:
    """Print the table, the ratios and the scores."""
    print(f"{'':14}{'Trainer, s':>20}{'petbench, s':>20}")
    print(f"{'part':14}{'CPU':>10}{'wall':>10}{'CPU':>10}{'wall':>10}")
    none = (0.0, 0.0)
    for part in PARTS:
        line(part, [[run.parts.get(part, none) for run in runs] for runs in (theirs, ours)])
    line("whole", [[run.total for run in runs] for runs in (theirs, ours)])
    for clock, name in ((1, "CPU"), (0, "wall")):
        ratio = median(run.total[clock] for run in ours) / median(run.total[clock] for run in theirs)
        print(f"petbench / Trainer, {name}: {ratio:.2f}")
    for name, runs in (("Trainer", theirs), ("petbench", ours)):
        print(f"accuracy of {name}: selection {runs[0].selection:.4f}, report {runs[0].report:.4f}")


def line(name: str, columns: list[list[tuple[float, float]]]) -> None:
    """One row of medians."""
    cells = [f"{median(pair[clock] for pair in pairs):10.2f}" for pairs in columns for clock in (1, 0)]
    print(f"{name:14}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
