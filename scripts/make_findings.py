"""Makes results/findings by real commands: for each question of docs/findings.md records, tables and the plot.

python scripts/make_findings.py QUESTION… --glue DIR [--work outputs/findings]

One question is minutes to hours on two cores, less where these multiply bf16 natively. Runs are kept in the work folder
and skipped by the next call, as are those that the repository holds, so it can be stopped, and a second call beside it
shares the runs. Later seeds come last, so that a stop leaves all methods with equally many. `--keep` takes into the
repository what is there, without training.
"""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pyarrow.parquet
from numpy.random import default_rng

from make_examples import SETTING, keep_records, link_glue, petbench
from migrate_records import migrate
from petbench.record import Record, read_records
from petbench.sweep.trials import cost_of

SST2 = f"{SETTING} trainer.precision=bf16"
ROWS = {"train": 4_000, "validation": 1_000, "test": 20_000}  # of SST-2's train rows, no text twice
RATES = "adapter.tuning.search={optim.lr:[5e-4,1e-3,2e-3,3e-3,5e-3,1e-2,2e-2,3e-2]}"
FOUR_RATES = "adapter.tuning.search={optim.lr:[2e-3,5e-3,1e-2,2e-2]}"
PAIR = (  # 9,216 adapter parameters each, scale 1, norms trained
    "adapter=krona adapter.scale=1",
    "adapter=lora adapter.rank=1 adapter.alpha=1 adapter.train_norms=true",
)
SMALL = "model=minilm data.dir=glue trainer.batch_size=16 trainer.threads=1 trainer.precision=bf16"
MRPC = f"task=mrpc trainer.epochs=2 {SMALL}"
TASKS = (
    SST2,
    "data.file=rows model=minilm trainer.epochs=1 trainer.threads=1 trainer.precision=bf16",
    MRPC,
    f"task=stsb trainer.epochs=2 {SMALL}",
    f"task=cola trainer.epochs=3 {SMALL}",  # after two passes most presets still give one answer
)
SIZED = {  # a budget sets the size; only learning rates are tried
    "krona": "adapter=krona adapter.scale=1",
    "lora": "adapter=lora adapter.rank=8",
    "compacter": "adapter=compacter adapter.bottleneck_dim=24 adapter.phm_dim=4",
    "pfeiffer": "adapter=pfeiffer adapter.bottleneck_dim=24",
    "kernel_mix": "adapter=kernel_mix",
}
BUDGETS = {  # Compacter has no size below 23,120 parameters, Kernel-mix none below 152,064
    25_000: ("krona", "lora", "compacter", "pfeiffer"),
    50_000: ("krona", "lora", "compacter", "pfeiffer"),
    160_000: ("krona", "lora", "pfeiffer", "kernel_mix"),
}
LEADERS = {  # the two highest of each budget on SST-2 with five seeds
    25_000: ("lora", "krona"),
    50_000: ("pfeiffer", "lora"),
    160_000: ("pfeiffer", "lora"),
}
QUESTIONS = {
    "kronecker": [
        f"sweep=tuned budget_runs=8 {method} {RATES} {task} seed={seeds}"
        for seeds in ("0,1,2,3,4", "5,6,7,8,9,10,11")
        for task in TASKS
        for method in PAIR
    ],
    "budgets": [
        f"sweep=tuned budget_runs=4 {method} {task} seed=0,1,2,3,4"
        for task in (SST2, MRPC)
        for method in (
            "adapter=hadamard,bitfit",
            *(f"{SIZED[name]} budget.params={size}" for size, names in BUDGETS.items() for name in names),
        )
    ]
    + [
        f"sweep=tuned budget_runs=4 {SIZED[name]} budget.params={size} {task} seed=5,6,7,8,9,10,11"
        for task in (SST2, MRPC)
        for size, names in LEADERS.items()
        for name in names
    ],
    "layers": [  # both methods have equally many parameters at equally many layers
        "sweep=tuned budget_runs=4 adapter=hadamard,ln_tuning "
        f"adapter.layers=last:1,last:2,last:3,last:4,last:5,all {SST2} seed=0,1,2,3,4"
    ],
    "rows": [
        "sweep=low_resource adapter=compacter_pp,full task=sst2 task.train_examples=100,500,1000,4000 model=minilm "
        f"data.dir=glue trainer.max_steps=125 trainer.threads=1 trainer.precision=bf16 seed={seed}"
        for seed in range(5)
    ],
    "shapes": [  # KronA's update has rank 4, 16, 64 or 256 by its shape, LoRA's 1; 9,216 adapter parameters each
        f"sweep=tuned budget_runs=4 {method} {FOUR_RATES} {SST2} seed=0,1,2,3,4"
        for method in (
            "adapter=krona adapter.scale=1 "
            "adapter.factor_shape=[24,16],[16,24],[2,192],[192,2],[4,96],[96,4],[8,48],[48,8]",
            PAIR[1],
        )
    ],
    "seeds": [  # the pair again, on SST-2: every rate tried on three seeds, where one chose by luck
        f"sweep=tuned budget_runs=24 {method} {RATES} {SST2} seed=0,1,2,3,4,5,6,7,8,9,10,11"
        for method in PAIR
    ],
    "rates": [  # what the rate has to do with the shape: three of those above, all at the same three rates
        f"-m {method} optim.lr=5e-3,1e-2,2e-2 {SST2} seed=0,1,2,3,4"
        for method in ("adapter=krona adapter.scale=1 adapter.factor_shape=[24,16],[8,48]", PAIR[1])
    ],
}

PLOTS = {
    "kronecker": "learning_rate",
    "budgets": "score_parameters",
    "rows": "few_rows",
    "layers": "score_parameters",
    "rates": "learning_rate",
    "seeds": "learning_rate",
}


def cut_rows(source: Path, out: Path) -> None:
    """Split SST-2's train rows into a folder of rows that train, select and report; texts are there once."""
    table = pyarrow.parquet.read_table(source / "sst2" / "train.parquet", columns=["sentence", "label"])
    first = dict(zip(reversed(table["sentence"].to_pylist()), range(len(table) - 1, -1, -1), strict=True))
    order = default_rng(0).permutation(sorted(first.values()))
    out.mkdir()
    for name, count in ROWS.items():
        taken, order = order[:count], order[count:]
        pyarrow.parquet.write_table(table.take(pyarrow.array(taken)), out / f"{name}.parquet")


def take_up(out: Path, work: Path) -> None:
    """Put the runs that the repository holds where training looks for them: they are not made again."""
    for place in out.glob("runs/*"):
        if not (there := work / "results" / "runs" / place.name).exists():
            shutil.copytree(place, there)


def draw(question: str, out: Path, images: Path) -> None:
    """Put the plot of docs/findings.md among the pictures."""
    with TemporaryDirectory() as place:
        petbench("report", str(out), "--plots", "--out", f"{place}/report", folder=out)
        shutil.copy(f"{place}/report/plots/{PLOTS[question]}.svg", images / f"findings_{question}.svg")


def told(question: str, records: list[Record]) -> str:
    """What a question took: its runs, and the hours in which they trained and were scored, one thread each."""
    trials = sum(record.is_trial for record in records)
    hours = cost_of(records)[1] / 3600
    return f"{question}: {len(records) - trials} runs and {trials} trials, {hours:.1f} hours"


def main() -> None:
    """Train, keep the records and the answers, derive the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "questions", nargs="+", choices=QUESTIONS, metavar="QUESTION", help=", ".join(QUESTIONS)
    )
    parser.add_argument("--glue", type=Path, required=True, metavar="DIR", help="folder with sst2/, mrpc/, …")
    parser.add_argument("--work", type=Path, default=Path("outputs/findings"), help="where it trains")
    parser.add_argument("--out", type=Path, default=Path("results/findings"))
    parser.add_argument("--images", type=Path, default=Path("docs/img"), help="where the plot goes")
    parser.add_argument("--keep", action="store_true", help="train nothing; keep what is there")
    options = parser.parse_args()
    for question in options.questions:
        work, out = options.work.resolve() / question, options.out.resolve() / question
        link_glue(options.glue, work)
        take_up(out, work)
        if not (work / "rows").is_dir():
            cut_rows(options.glue, work / "rows")
        for command in [] if options.keep else QUESTIONS[question]:
            petbench("train", *command.split(), folder=work)
        keep_records(work, out)
        migrate(out)  # the runs may have been made by an older petbench
        petbench("report", str(out), "--tables-only", "--cite", folder=out)
        if question in PLOTS:
            draw(question, out, options.images)
        print(told(question, list(read_records(out))))


if __name__ == "__main__":
    main()
