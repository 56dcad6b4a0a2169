"""Measure `pruner=halving`: the score of the setting it chooses beside that of the full search, and the steps of both.

    python scripts/measure_halving.py --data DIR --out halving                       # CoLA, SST-2, MRPC; two hours
    python scripts/measure_halving.py --out quick --tasks rte --more data=toy model=tiny_bert trainer.max_steps=12

Runs the full search, and reads from its records which trials halving would have let go on: a trial that pauses and goes
on is bit for bit the one that never paused (tests/e2e/test_halving.py). Scores are on the selection rows, by which
settings are chosen; their noise is the standard error of a score on as many rows. Writes OUT/halving.md.
"""

import argparse
from math import sqrt
from pathlib import Path

from measure_choice import run
from petbench.adapters.registry import spec_of
from petbench.config.spec import parse
from petbench.record import Record, read_records
from petbench.sweep.trials import PAUSE, better, cost_of
from petbench.training.prepare import prepare

METHODS = ("krona", "lora", "compacter")


def trials(folder: Path) -> list[Record]:
    """The trials of a folder, done or failed; some that could still go on are none of a full search."""
    found = [record for record in read_records(folder) if record.is_trial]
    if going := [record.run_id for record in found if record.status in ("paused", "interrupted")]:
        raise SystemExit(f"{folder}: {', '.join(going)} not at their end. Run the same command again.")
    return found


def best(found: list[Record]) -> Record:
    """The trial with the highest selection score."""
    return max(found, key=lambda record: record.selection_score or 0.0)


def halved(found: list[Record]) -> tuple[list[Record], int]:
    """The trials that halving lets go on, and the steps that it takes: these to their ends, the others to the pause."""
    steps = max(point.step for record in found for point in record.curve)
    going = better(found, found, steps)
    left = [record.curve for record in found if record not in going]
    paused = (
        next((p.step for p in curve if p.step >= PAUSE * steps), curve[-1].step) for curve in left if curve
    )
    return going, cost_of(going)[0] + sum(paused)


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
            run(*words)
            whole = trials(place)
            going, taken = halved(whole)
            kept, chosen = best(going), best(whole)
            lines.append(
                f"| {task} | {method} | {setting(kept, whole)} | {100 * (kept.selection_score or 0):.1f} | "
                f"{setting(chosen, whole)} | {100 * (chosen.selection_score or 0):.1f} | {100 * noise(chosen):.1f} | "
                f"{taken:,} | {taken / cost_of(whole)[0]:.0%} |"
            )
            (asked.out / "halving.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def setting(record: Record, others: list[Record]) -> str:
    """The learning rate, and what else the trials of a search differ in."""
    own = record.config["adapter"]
    varied = [name for name in own if any(other.config["adapter"][name] != own[name] for other in others)]
    return ", ".join([f"lr {record.config['optim']['lr']:g}", *(f"{name} {own[name]:g}" for name in varied)])


if __name__ == "__main__":
    main()
