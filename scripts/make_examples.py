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

from petbench.record import ANSWERS_FILE

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


def keep_records(runs: Path, out: Path, work: Path) -> None:
    """Replace `out/runs` by the records of `runs`, on one line each and without the path of the work folder, and
    their answers as they are."""
    shutil.rmtree(out, ignore_errors=True)
    for record in sorted(runs.glob("*/record.json")):
        place = out / "runs" / record.parent.name
        place.mkdir(parents=True)
        content = json.loads(record.read_text(encoding="utf-8"))
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))  # as written, less the spaces
        text = text.replace(f"{work}/", "")  # a run remembers its folders by their whole path
        (place / "record.json").write_text(text + "\n", encoding="utf-8")
        if (answers := record.with_name(ANSWERS_FILE)).is_file():
            shutil.copy(answers, place)


def main() -> None:
    """Train, keep the records and the answers, derive the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--glue", type=Path, required=True, metavar="DIR", help="folder with sst2/")
    parser.add_argument("--work", type=Path, default=Path("outputs/examples"), help="where it trains")
    parser.add_argument("--out", type=Path, default=Path("results/examples"))
    options = parser.parse_args()
    work, out = options.work.resolve(), options.out.resolve()
    work.mkdir(parents=True, exist_ok=True)
    link = work / "glue"
    if not link.exists():
        link.symlink_to(options.glue.resolve())
    for command in COMMANDS:
        petbench("train", *command.split(), folder=work)
    keep_records(work / "results" / "runs", out, work)
    petbench("report", str(out), "--tables-only", "--cite", "--out", str(out.parent / "tables"), folder=out)


if __name__ == "__main__":
    main()
