"""Time lanes against the same runs in a row, in one process, on generated rows.

    python scripts/time_lanes.py [--model minilm] [--adapter krona] [--lanes 2,4,8] [--batch 8] [--length 64]
                                 [--steps 40] [--precision fp32] [--device auto]

Prints one line for each number of lanes: seconds of a step of all runs in a row, seconds of a pass of all lanes, their
ratio (above 1: lanes are faster), the padding that lanes added and the peak memory of both. Runs in a row go first and
last, and the figure is their mean, so that drift of the machine is shared.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.record import Record
from petbench.training.lanes.group import Group
from petbench.training.lanes.lane import current
from petbench.training.prepare import Prepared, prepare
from petbench.training.run import run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--adapter", default="krona")
    parser.add_argument("--lanes", default="2,4,8")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    print("lanes  runs in a row, s  lanes, s  ratio  padding  peak in a row, MB  peak of lanes, MB")
    for lanes in map(int, chosen.lanes.split(",")):
        with tempfile.TemporaryDirectory() as place:
            before = in_a_row(prepared(chosen, lanes, Path(place, "before")))
            ready = prepared(chosen, lanes, Path(place, "lanes"))
            together = Group([partial(one, member) for member in ready]).run()
            after = in_a_row(prepared(chosen, lanes, Path(place, "after")))
        row = (seconds(before) + seconds(after)) / 2
        print(
            f"{lanes:5}  {row:16.4f}  {seconds(together):8.4f}  {row / seconds(together):5.2f}  "
            f"{together[0].cost.lanes_padding or 0:7.1%}  {peak(before):17.0f}  {peak(together):17.0f}"
        )


def prepared(chosen: argparse.Namespace, lanes: int, folder: Path) -> list[Prepared]:
    """The same runs for every way, in a folder of its own."""
    words = [
        f"model={chosen.model}",
        f"adapter={chosen.adapter}",
        "task=rte",
        "data=toy",
        f"task.max_length={chosen.length}",
        f"trainer.batch_size={chosen.batch}",
        f"trainer.max_steps={chosen.steps}",
        f"trainer.eval_every={chosen.steps}",
        f"trainer.precision={chosen.precision}",
        f"trainer.device={chosen.device}",
        f"results_dir={folder}",
    ]
    members = expand([*words, f"seed=range({lanes})"])
    return [prepare(parse(member.values, spec_of)) for member in members]


def one(ready: Prepared) -> Record:
    """A run in its lane."""
    return run(ready, way=current())


def in_a_row(ready: Sequence[Prepared]) -> list[Record]:
    """The runs one after another."""
    return [run(member) for member in ready]


def seconds(records: Sequence[Record]) -> float:
    """One step of every run; in lanes each has its share of the pass."""
    return sum(record.cost.step_seconds_median or 0.0 for record in records)


def peak(records: Sequence[Record]) -> float:
    """The most memory of any moment, in MB."""
    return max(record.cost.peak_memory_bytes or 0 for record in records) / 1e6


if __name__ == "__main__":
    main()
