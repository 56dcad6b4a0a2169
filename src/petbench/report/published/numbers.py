"""Published GLUE numbers and which recipe of ours stands beside which table of theirs."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from petbench.errors import UserError, unknown

# Reasons for a gap that hold for every number of a paper
PAPER_GAPS: Mapping[str, tuple[str, ...]] = {
    "krona": (
        "theirs are single runs: a repeat by the authors could differ by a point or more on small tasks",
        "small tasks: half of the official validation rows (RTE 139, MRPC 204), so one row is up to 0.7 points",
        "which rows picked the checkpoint is not printed; the paper's text and its score lattice disagree",
        "inferred by us: all layer norms train (only then do the parameter counts fit)",
    ),
    "compacter": (
        "their average is over 11 metric columns, not over tasks",
        "only Compacter++ is complete here, restated by AdapterHub; seeds and spread are not printed",
        "their code rounds STS-B's labels to one decimal before it scores; here labels are as GLUE has them",
    ),
    "hadamard": (
        "restated by another paper; F1 or accuracy of MRPC and QQP is not labelled there",
        "inferred by us: the head is trained first and then frozen (only then does 0.033% fit)",
        "which rows picked the checkpoint is not known",
    ),
    "kernel_mix": ("no readable copy of the paper's table was found, so there is nothing to stand beside",),
    "lora": (
        "MRPC, RTE and STS-B start from an adapter that was trained on MNLI, where the row says so",
        "the best epoch on the reported rows is likely what is printed (protocol=glue_dev)",
        "their trainable count leaves the head out (0.3M); the head trains too and is larger",
        "MNLI is the accuracy over matched and mismatched rows together",
    ),
    "adalora": (
        "mean of 5 seeds; the best checkpoint on the reported rows is likely (protocol=glue_dev)",
        "their adapters sit on all linear layers; whether the head is counted is not said in the copy",
    ),
}


@dataclass(frozen=True)
class Published:
    """One printed number; `value` and `std` in points."""

    paper: str
    table: str
    model: str
    method: str
    trainable_percent: str
    task: str
    metric: str
    value: float
    std: float | None
    split: str
    status: str
    source: str


@dataclass(frozen=True)
class Target:
    """The table that a recipe reproduces: our adapter's name -> the methods as printed (by size where several)."""

    paper: str
    table: str
    models: tuple[str, ...]
    methods: Mapping[str, tuple[str, ...]]


RECIPES: Mapping[str, Target] = {
    "krona_table1": Target(
        "krona",
        "Table 1",
        ("t5_base",),
        {
            "full": ("Fine-tuning",),
            "bitfit": ("BitFit",),
            "adapter_lowrank": ("Adapter",),
            "lora": ("LoRA",),
            "compacter": ("Compacter",),
            "parallel_adapter": ("PA",),
            "krona": ("KronA",),
            "krona_b": ("KronA^B",),
            "krona_b_res": ("KronA^B_res",),
        },
    ),
    "compacter_table1": Target(
        "compacter",
        "Table 1",
        ("t5_base",),
        {"compacter_pp": ("Compacter++ (n=4)",), "houlsby": ("Adapter",)},
    ),
    "hadamard_bert_base": Target(
        "hadamard",
        "restated in AdaKron README table",
        ("bert_base",),
        {"hadamard": ("Hadamard adapter",)},
    ),
    "kernel_mix_roberta_base": Target("kernel_mix", "", ("roberta_base",), {}),
    "lora_table2": Target(
        "lora",
        "Table 2",
        ("roberta_base", "roberta_large"),
        {
            "lora": ("LoRA r=8 (MNLI-initialised MRPC/RTE/STS-B)",),
            "full": ("Full FT",),
            "bitfit": ("BitFit",),
            "adapter_drop": ("AdapterDrop Adpt^D (0.3M)", "AdapterDrop Adpt^D (0.9M)"),
        },
    ),
    "adalora_table1": Target(
        "adalora",
        "Table 1",
        ("deberta_v3_base",),
        {
            "peft/adalora": ("AdaLoRA 0.32M", "AdaLoRA 1.27M"),
            "lora": ("LoRA r=2 all linear 0.33M", "LoRA r=8 all linear 1.33M"),
            "peft/lora": ("LoRA r=2 all linear 0.33M", "LoRA r=8 all linear 1.33M"),
            "full": ("Full FT",),
            "bitfit": ("BitFit",),
            "houlsby": ("Houlsby adapter 0.31M", "Houlsby adapter 0.61M", "Houlsby adapter 1.22M"),
            "pfeiffer": ("Pfeiffer adapter 0.30M", "Pfeiffer adapter 0.60M", "Pfeiffer adapter 1.18M"),
        },
    ),
}

COST_RECIPES = ("krona_table2",)  # costs, no scores: costs.csv


def target(recipe: str) -> Target:
    """The table of a recipe. Raises UserError for a name without one."""
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, [*RECIPES, *COST_RECIPES])
    return RECIPES[recipe]


def folder() -> Path:
    """Where the published numbers lie: in the installed package, else in the repository. Raises UserError."""
    inside = Path(str(files("petbench"))) / "published"
    places = (inside, Path(__file__).resolve().parents[4] / "results" / "published")
    for place in places:
        if (place / "glue_results.csv").is_file():
            return place
    raise UserError(f"glue_results.csv is neither in {places[0]} nor in {places[1]}. Install petbench again.")


@cache
def published() -> tuple[Published, ...]:
    """Every number of glue_results.csv, in its order. Raises UserError on a line that is no number."""
    path = folder() / "glue_results.csv"
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.DictReader(file), start=2):
            try:
                value, std = float(line.pop("value")), line.pop("std")
                found.append(Published(**line, value=value, std=float(std) if std else None))
            except (TypeError, ValueError) as error:
                raise UserError(f"{path}:{number}: {error}. Restore the file.") from error
    return tuple(found)


def lookup(**wanted: str) -> list[Published]:
    """Numbers with these columns, such as paper="lora", task="rte"."""
    return [
        each for each in published() if all(getattr(each, name) == value for name, value in wanted.items())
    ]
