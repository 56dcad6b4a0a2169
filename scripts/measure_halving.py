"""Measure `pruner=halving`: the score of the setting it chooses beside that of the full search, and the steps of both.

    python scripts/measure_halving.py --data DIR --out halving                       # CoLA, SST-2, MRPC; an hour
    python scripts/measure_halving.py --out quick --tasks rte --more data=toy model=tiny_bert trainer.max_steps=12

Both searches share their trials: the full one lets those that halving left where they paused go on to their ends, which
changes nothing of them. Scores are on the selection rows, by which settings are chosen; their noise is the standard
error of a score on as many rows. Writes OUT/halving.md.
"""

import argparse
from math import sqrt
from pathlib import Path

from measure_choice import run
from petbench.adapters.registry import spec_of
from petbench.config.spec import parse
from petbench.record import Record, read_records
from petbench.training.prepare import prepare

METHODS = ("krona", "lora", "compacter")


def trials(folder: Path) -> list[Record]:
    """The trials of a folder that have ended."""
    return [record for record in read_records(folder) if record.is_trial and record.status == "done"]


def best(found: list[Record]) -> Record:
    """The trial with the highest selection score."""
    return max(found, key=lambda record: record.selection_score or 0.0)


def steps(record: Record) -> int:
    """Optimiser steps of a trial that has ended."""
    return record.curve[-1].step


def noise(record: Record) -> float:
    """The standard error of the selection score on n rows: √(p(1 − p)/n) of a share p, (1 − r²)/√n of a correlation."""
    score, name = record.selection_score or 0.0, "" if record.headline is None else record.headline.name
    n = len(prepare(parse(record.config, spec_of)).rows.selection)
    return (1 - score**2) / sqrt(n) if "correlation" in name else sqrt(max(score * (1 - score), 0.0) / n)


def main() -> None:
    """Run both searches for every task and method, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="a folder with GLUE's files, for data=local")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["cola", "sst2", "mrpc"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--trials", default="8")
    parser.add_argument("--more", nargs="*", default=[], help="overrides of all runs")
    asked = parser.parse_args()
    rows = [*asked.more, *(["data=local", f"data.dir={asked.data}"] if asked.data else [])]
    lines = [
        "| task | method | halving chose | score | the full search chose | score | noise | steps | share of the full |",
        "|---|---|---|---:|---|---:|---:|---:|---:|",
    ]
    for task in asked.tasks:
        for method in asked.methods:
            place = asked.out / f"{task}-{method}"
            words = ["train", "-m", "sweep=tuned", f"task={task}", f"adapter={method}", *rows]
            words += [f"budget_runs={asked.trials}", "final_seeds=1", f"results_dir={place}"]
            run(*words, "pruner=halving")
            halved = best(trials(place))
            (final,) = [record for record in read_records(place) if not record.is_trial]
            note = final.provenance.tuning
            assert note is not None and note.steps is not None
            run(*words)
            whole = trials(place)
            chosen, all_steps = best(whole), sum(map(steps, whole))
            lines.append(
                f"| {task} | {method} | {setting(halved)} | {100 * (halved.selection_score or 0):.1f} | "
                f"{setting(chosen)} | {100 * (chosen.selection_score or 0):.1f} | {100 * noise(chosen):.1f} | "
                f"{note.steps:,} | {note.steps / all_steps:.0%} |"
            )
            (asked.out / "halving.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def setting(record: Record) -> str:
    """What trials differ in: the learning rate and the method's own scale, if it has one."""
    scale = record.config["adapter"].get("scale")
    return f"lr {record.config['optim']['lr']:g}" + ("" if scale is None else f", scale {scale:g}")


if __name__ == "__main__":
    main()
