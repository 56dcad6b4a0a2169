"""Makes results/examples by real commands: every method on real SST-2 rows, a record for each run; then its tables.

python scripts/make_examples.py --glue DIR [--work outputs/examples]

One pass over 4,000 rows a run, two to three hours on two cores. Runs are kept in the work folder and skipped by the
next call, so it can be stopped, and a second call beside it shares the runs. Into the repository come the records and
the answers that stand beside them: no rows, no weights.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from petbench.record import ANSWERS_FILE, RECORD_FILE, read_records
from petbench.report.budgets import ENDED

PEFT = (
    "peft/adalora,peft/boft,peft/dora,peft/fourierft,peft/ia3,peft/ln_tuning,peft/loha,peft/lokr,peft/lora,"
    "peft/oft,peft/p_tuning,peft/prefix,peft/prompt,peft/vera"
)
SETTING = (
    "task=sst2 model=minilm data.dir=glue data.max_train_examples=4000 trainer.epochs=1 trainer.threads=1"
)
COMMANDS = tuple(
    f"-m seed={seed} adapter={adapters} {SETTING}" for seed in range(5) for adapters in ("glob(*)", PEFT)
)


def petbench(*arguments: str, folder: Path) -> None:
    """Run one command in a folder; its failure is ours."""
    environment = {key: value for key, value in os.environ.items() if key != "PETBENCH_GLUE"}
    command = [sys.executable, "-m", "petbench", *arguments]
    subprocess.run(command, cwd=folder, check=True, env=environment | {"OMP_NUM_THREADS": "1"})


def link_glue(glue: Path, work: Path) -> None:
    """Name the data folder `glue` in the work folder, so that no record holds where it lies."""
    work.mkdir(parents=True, exist_ok=True)
    if not (link := work / "glue").exists():
        link.symlink_to(glue.resolve())


def keep_records(work: Path, out: Path) -> None:
    """Replace `out` by the records of the runs that ended in `work/results`, on one line each and without the path of
    the work folder, and the answers of all but trials as they are."""
    shutil.rmtree(out, ignore_errors=True)
    for record in read_records(work / "results"):
        if record.status not in ENDED:
            continue
        ran, place = work / "results" / "runs" / record.run_id, out / "runs" / record.run_id
        place.mkdir(parents=True)
        content = json.loads((ran / RECORD_FILE).read_text(encoding="utf-8"))
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))  # as written, less the spaces
        text = text.replace(f"{work}/", "")  # a run remembers its folders by their whole path
        (place / RECORD_FILE).write_text(text + "\n", encoding="utf-8")
        if (ran / ANSWERS_FILE).is_file() and not record.is_trial:
            shutil.copy(ran / ANSWERS_FILE, place)


def main() -> None:
    """Train, keep the records and the answers, derive the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--glue", type=Path, required=True, metavar="DIR", help="folder with sst2/")
    parser.add_argument("--work", type=Path, default=Path("outputs/examples"), help="where it trains")
    parser.add_argument("--out", type=Path, default=Path("results/examples"))
    options = parser.parse_args()
    work, out = options.work.resolve(), options.out.resolve()
    link_glue(options.glue, work)
    for command in COMMANDS:
        petbench("train", *command.split(), folder=work)
    keep_records(work, out)
    petbench("report", str(out), "--tables-only", "--cite", "--out", str(out.parent / "tables"), folder=out)


if __name__ == "__main__":
    main()
