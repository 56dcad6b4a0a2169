"""BibTeX of the methods and tasks in a report; the methods' entries live in citations.bib."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from petbench.report.layout import Report

# method -> entries of citations.bib. Yardsticks (full, head_only) have no paper of their own.
METHODS: Mapping[str, tuple[str, ...]] = {
    "krona": ("edalati2022krona",),
    "krona_b": ("edalati2022krona",),
    "krona_b_res": ("edalati2022krona",),
    "compacter": ("mahabadi2021compacter",),
    "compacter_pp": ("mahabadi2021compacter",),
    "phm_adapter": ("zhang2021phm", "mahabadi2021compacter"),
    "adapter_lowrank": ("mahabadi2021compacter",),
    "hadamard": ("chen2023hadamard",),
    "kernel_mix": ("chen2022kernelmix",),
    "kernel_mix_lite": ("chen2022kernelmix",),
    "lora": ("hu2022lora",),
    "houlsby": ("houlsby2019adapter",),
    "pfeiffer": ("pfeiffer2021adapterfusion",),
    "pfeiffer_attn": ("pfeiffer2021adapterfusion", "mahabadi2021compacter"),
    "adapter_drop": ("ruckle2021adapterdrop",),
    "parallel_adapter": ("he2022unified",),
    "mam": ("he2022unified",),
    "bitfit": ("benzaken2022bitfit",),
    "ln_tuning": ("qi2022lntuning",),
    "ia3": ("liu2022ia3",),
    "prompt_tuning": ("lester2021prompt",),
    "prefix_tuning": ("li2021prefix",),
    "prompt": ("lester2021prompt",),
    "prefix": ("li2021prefix",),
    "p_tuning": ("liu2021ptuning",),
    "dora": ("liu2024dora",),
    "adalora": ("zhang2023adalora",),
    "lokr": ("yeh2024lycoris",),
    "loha": ("hyeonwoo2022fedpara", "yeh2024lycoris"),
    "vera": ("kopiczko2024vera",),
    "oft": ("qiu2023oft",),
    "boft": ("liu2024boft",),
    "fourierft": ("gao2024fourierft",),
    "full": (),
    "head_only": (),
}


@cache
def entries() -> dict[str, str]:
    """Key -> entry of citations.bib."""
    text = (Path(__file__).parent / "citations.bib").read_text(encoding="utf-8")
    found = {}
    for entry in re.split(r"\n(?=@)", text):
        key = re.match(r"@\w+\{([^,]+),", entry)
        if key:
            found[key.group(1)] = entry.strip()
    return found


def keys_of(method: str) -> tuple[str, ...] | None:
    """Entry keys of a method, or of the longest known name that begins its name; None when unknown.

    `peft/lora` counts as `lora`, `krona_b_half` as `krona_b`.
    """
    name = method.rsplit("/", 1)[-1]
    known = [other for other in METHODS if name == other or name.startswith(f"{other}_")]
    return METHODS[max(known, key=len)] if known else None


def bibtex(methods: Iterable[str], tasks: Iterable[str]) -> str:
    """Every entry once, methods first; a comment names what has none."""
    from petbench.tasks.glue import bibtex_of

    keys: list[str] = []
    unknown = []
    for method in dict.fromkeys(methods):
        found = keys_of(method)
        if found is None:
            unknown.append(method)
        keys += found or ()
    parts = [entries()[key] for key in dict.fromkeys(keys)]
    for task in dict.fromkeys(tasks):
        if found_text := bibtex_of(task):
            parts += found_text.split("\n\n")
        else:
            unknown.append(task)
    if unknown:
        parts.append(f"% No citation is known for: {', '.join(unknown)}")
    return "\n\n".join(dict.fromkeys(parts)) + "\n"


def report_bibtex(report: Report) -> str:
    """BibTeX of all that the report's tables show."""
    methods = sorted({row.adapter for table in report.tables for row in table.rows})
    tasks = sorted({column.task for table in report.tables for column in table.columns})
    return bibtex(methods, tasks)
