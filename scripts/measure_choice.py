"""Measure `sweep=choose`: the score of its answer beside the best of the full grid, and the time of both.

    python scripts/measure_choice.py --data DIR --out choice                                  # CoLA, SST-2, MRPC; hours
    python scripts/measure_choice.py --out quick --tasks mrpc --more data=toy model=tiny_bert --minutes 1

Both train under the same settings and report on the same rows, which neither chose by. The grid is every method that
`sweep=choose` knows, on all rows and several seeds; the answer's score is the grid's of that method, so that scores
compare. Writes OUT/choice.md.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean

from petbench.compose.expand import expand
from petbench.record import read_records


def run(*words: str) -> float:
    """One command of petbench; its seconds. Ends the script where it fails."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "petbench", *words])
    if done.returncode:
        sys.exit(f"petbench {' '.join(words)}: exit {done.returncode}")
    return time.perf_counter() - began


def methods() -> list[str]:
    """Those that `sweep=choose` tries by itself."""
    members = expand(["sweep=choose"])
    return [word.removeprefix("adapter=") for one in members for word in one.overrides if "adapter=" in word]


def answer(folder: Path) -> str | None:
    """The method that `petbench recommend` names first for a folder; None where the minutes gave no last round."""
    from petbench.commands.recommend import recommend_main

    if not scores(folder):
        return None
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        recommend_main([str(folder), "--json"])
    return next(
        (str(table["use"]).split(" ")[0] for table in json.loads(out.getvalue()) if table["use"]), None
    )


def scores(folder: Path) -> dict[str, float]:
    """Method -> mean headline score of the finished runs on all rows."""
    found: dict[str, list[float]] = {}
    for record in read_records(folder):
        if record.status == "done" and not record.is_trial and record.headline is not None:
            found.setdefault(record.adapter, []).append(record.headline.value)
    return {method: fmean(values) for method, values in found.items()}


def main() -> None:
    """Run both for every task and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="a folder with GLUE's files, for data=local")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["cola", "sst2", "mrpc"])
    parser.add_argument("--minutes", default="30")
    parser.add_argument("--seeds", default="0,1,2", help="of the grid")
    parser.add_argument("--methods", nargs="+", default=methods())
    parser.add_argument("--more", nargs="*", default=[], help="overrides of all runs")
    asked = parser.parse_args()
    rows = [*asked.more, *(["data=local", f"data.dir={asked.data}"] if asked.data else [])]
    lines = [
        "| task | answer | its score | best of the grid | its score | minutes to the answer | minutes of the grid |"
    ]
    lines.append("|---|---|---:|---|---:|---:|---:|")
    for task in asked.tasks:
        chosen, grid = asked.out / task / "choose", asked.out / task / "grid"
        base, adapters = [f"task={task}", *rows], f"adapter={','.join(asked.methods)}"
        seconds = run(
            "train", "sweep=choose", *base, adapters, f"results_dir={chosen}", "--minutes", asked.minutes
        )
        whole = run("train", "-m", *base, adapters, f"seed={asked.seeds}", f"results_dir={grid}")
        use, found = answer(chosen), scores(grid)
        best = max(found, key=lambda method: found[method])
        score = "–" if use is None else f"{100 * found[use]:.1f}"
        lines.append(
            f"| {task} | {use or 'none'} | {score} | {best} | {100 * found[best]:.1f} | {seconds / 60:.1f} | "
            f"{whole / 60:.1f} |"
        )
        (asked.out / "choice.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
