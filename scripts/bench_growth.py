"""Measures how a step grows: with the tokens of a row, the size of the model, and the shape of KronA's factors.

python scripts/bench_growth.py                         all of it: an hour on one idle core
python scripts/bench_growth.py length_64 model_minilm  some of it

Each name is one call of `petbench bench`, which is kept as results/bench/NAME.json; `scripts/bench_tables.py` makes the
tables and plots of docs/speed.md from these files. Growth with the number of lanes is in the file of
`scripts/time_lanes.py`. `methods` and `t5_base` are the two tables of methods.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from petbench.files import write_text

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "results" / "bench"
SIDE_BY_SIDE = "adapter=krona,lora,compacter,peft/lora,peft/lokr,peft/dora"
ALL = (
    "adapter=krona,krona_b,krona_b_res,lora,peft/lora,peft/lokr,peft/dora,hadamard,ia3,bitfit,compacter,compacter_pp,"
    "houlsby,parallel_adapter,kernel_mix"
)
STEP = ("--what", "step", "--rounds", "7")
SMALL = ("model.weights=random", "--batch", "1", "--length", "32", *STEP)  # also for models that are large
LENGTHS = (16, 32, 64, 128, 256)
MODELS = ("tiny_bert", "t5_small", "minilm", "bert_base", "t5_base")
SHAPES = "adapter.factor_shape=[2,192],[8,48],[24,16],[48,8],[192,2]"
# Each method has a copy of the weights, and seven of T5-large's would need 24 GB.
LARGE = ("adapter=krona,lora", "adapter=compacter,peft/lokr")

MEASURED: dict[str, tuple[str, ...]] = {
    "methods": (ALL, "model=minilm", "--batch", "32", "--length", "64", "--rounds", "9"),
    "t5_base": (SIDE_BY_SIDE, "model=t5_base", "model.weights=random", "--batch", "8", "--length", "64",
                "--what", "step", "--rounds", "5"),
    **{
        f"length_{n}": (SIDE_BY_SIDE, "model=minilm", "--batch", "4", "--length", str(n), *STEP)
        for n in LENGTHS
    },
    **{f"model_{name}": (SIDE_BY_SIDE, f"model={name}", *SMALL) for name in MODELS},
    **{f"model_t5_large_{part}": (methods, "model=t5_large", *SMALL) for part, methods in enumerate(LARGE, 1)},
    "factors": ("adapter=krona", SHAPES, "model=minilm", "--batch", "8", "--length", "64", *STEP),
}  # fmt: skip


def main() -> None:
    """Command line."""
    for name in asked_for(__doc__, MEASURED):
        print(measured(name, MEASURED[name]), flush=True)


def asked_for(about: str, cases: Mapping[str, Sequence[str]]) -> list[str]:
    """The cases that the command line names; all of them where it names none. Exit 2 for another name."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(cases)}")
    chosen: list[str] = parser.parse_args().names or list(cases)
    if unknown := sorted(set(chosen) - cases.keys()):
        parser.error(f"got {', '.join(unknown)}. Legal: {', '.join(cases)}")
    return chosen


def measured(name: str, arguments: Sequence[str]) -> Path:
    """Run `petbench bench` with these arguments in a process of its own and keep what it prints; returns the file."""
    command = [sys.executable, "-m", "petbench", "bench", *arguments, "--json"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    path = FOLDER / f"{name}.json"
    write_text(path, done.stdout)
    return path


if __name__ == "__main__":
    main()
