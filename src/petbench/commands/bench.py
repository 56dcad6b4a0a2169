"""`petbench bench`: methods side by side in one process, as ratios to the bare frozen backbone, or runs in lanes."""

import json
import os
from argparse import ArgumentTypeError, Namespace
from dataclasses import asdict
from typing import Any

from petbench.commands.arguments import Arguments, whole
from petbench.commands.bench_tables import lanes_table, methods_table
from petbench.compose.expand import Composed, expand
from petbench.compose.overrides import apart, require_once
from petbench.config.spec import RunSpec
from petbench.config.tree import key_of
from petbench.console import print_table, say, warn
from petbench.errors import UserError

DEFAULT = "adapter=krona,lora,bitfit,peft/lora"
MOST_LANES = 1024


def bench_main(argv: list[str]) -> int:
    """`petbench bench [OVERRIDES…] [--what step,latency,memory | --lanes 1,2,4] [--json]`."""
    parser = Arguments(
        prog="petbench bench",
        description="Measure step time, latency and memory of several methods, interleaved in one process. Overrides "
        f"are those of train; several values multiply out (default {DEFAULT}). Trained weights are not needed: add "
        "model.weights=random.",
    )
    parser.add_argument("overrides", nargs="*", help="such as adapter=krona,lora model=minilm")
    parser.add_argument("--what", help="some of step, latency, memory (default: all)")
    parser.add_argument(
        "--lanes",
        type=_counts,
        help="such as 1,2,4,8,16: steps of single runs against passes of as many runs in lanes, for each number",
    )
    parser.add_argument("--batch", type=whole(1, 65_536), default=32)
    parser.add_argument("--length", type=whole(1, 65_536), default=64, help="tokens of a training row")
    parser.add_argument("--rounds", type=whole(1, 100_000), default=15, help="timed steps of each method")
    parser.add_argument(
        "--threads",
        type=whole(1, os.cpu_count() or 1),
        default=1,
        help="CPU threads; 1 gives the steadiest ratios",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON: the numbers, and the command, date, versions and machine that they are from",
    )
    parsed = parser.parse_args(argv)
    require_once(parsed.overrides)
    if parsed.lanes and parsed.what:
        raise UserError("bench: got --lanes and --what. Legal: one of them; lanes have columns of their own.")

    import torch  # torch takes seconds

    from petbench.machine.devices import choose_device
    from petbench.measure.bench import PARTS
    from petbench.measure.setting import setting

    parts = parsed.what.split(",") if parsed.what else list(PARTS)
    if not set(parts) <= set(PARTS):
        raise UserError(f"--what: got '{parsed.what}'. Legal: {', '.join(PARTS)}, joined by commas.")
    torch.set_num_threads(parsed.threads)
    specs = _specs(parsed)
    device = choose_device(specs[0].trainer.device)
    made = setting(argv, device)
    measured = _lanes(parsed, specs, device) if parsed.lanes else _methods(parsed, parts, specs, device)
    shape, clock, rows = measured
    made |= {"clock": clock, "model": specs[0].model.label, "shape": shape, "rows": rows}
    if parsed.json:
        print(json.dumps(made, indent=1))
        return 0
    print_table((lanes_table if parsed.lanes else methods_table)(made))
    for line in _notes(made):
        say(line)
    return 0


def _counts(text: str) -> tuple[int, ...]:
    """Numbers of lanes: `1,2,4`."""
    counts = tuple(map(whole(1, MOST_LANES), text.split(",")))
    if sorted(set(counts)) != list(counts):
        raise ArgumentTypeError(f"got {text!r}. Legal: each number once, the smallest first")
    return counts


def _specs(parsed: Namespace) -> list[RunSpec]:
    """The methods to measure, each with a name of its own. Raises UserError where none is left."""
    from petbench.training.plan import plan, spec_from

    given = list(parsed.overrides)
    if not any(o.startswith("adapter=") for o in given):
        given.insert(0, DEFAULT)
    # The plan refuses more tokens than the model has positions; the number of tokens here is --length.
    given = [*(o for o in given if key_of(o) != "task.max_length"), f"task.max_length={parsed.length}"]
    if parsed.lanes:
        given = _as_runs(given, parsed)
    specs = []
    members = expand(given)
    for member, name in zip(members, _names(members), strict=True):
        spec = _without_files(spec_from(member.values))
        try:
            planned = plan(spec)
        except UserError as error:
            warn(f"{spec.adapter.label} is left out: {error}")
            continue
        if parsed.lanes and planned.no_lanes:
            warn(f"{spec.adapter.label} is left out: its runs share no passes, because {planned.no_lanes}.")
            continue
        adapter = planned.spec.adapter
        if name:
            adapter = adapter.model_copy(update={"name": f"{adapter.label} {name}"})
        specs.append(planned.spec.model_copy(update={"adapter": adapter}))
    if not specs:
        raise UserError("bench: no method is left to measure.")
    if len(models := sorted({spec.model.label for spec in specs})) > 1:
        raise UserError(
            f"bench: got the models {', '.join(models)}. Legal: one model, whose bare backbone is the yardstick."
        )
    return specs


def _as_runs(given: list[str], parsed: Namespace) -> list[str]:
    """The overrides of whole runs on generated rows, which end after --rounds steps and have next to no evaluation."""
    settled = [
        "logger=jsonl",
        f"trainer.batch_size={parsed.batch}",
        f"trainer.max_steps={parsed.rounds}",
        f"trainer.eval_every={parsed.rounds}",
        f"trainer.threads={parsed.threads}",
        "trainer.select=last",
        "data.toy_validation=16",
        f"data.toy_train={max(80, 5 * parsed.batch)}",
    ]
    refused = {*map(key_of, settled), "seed", "data"}
    if wrong := [o for o in given if key_of(o) in refused]:
        raise UserError(
            f"bench --lanes: got {' '.join(wrong)}. Legal: --batch, --length, --rounds and --threads; rows are "
            "generated and the seeds of the runs are 0, 1, 2 and so on."
        )
    task = [] if any(key_of(o) == "task" for o in given) else ["task=rte"]
    return [*task, "data=toy", *given, *settled]


def _names(members: list[Composed]) -> list[str]:
    """What tells each member from the others besides the name of its method, such as `rank=2`."""
    own = apart((member.overrides for member in members), ("adapter",))
    return [" ".join(o.removeprefix("adapter.") for o in own[member.overrides]) for member in members]


def _without_files(spec: RunSpec) -> RunSpec:
    """The spec, with petbench's built-in tokenizer if the weights are random: no file of the model is read then."""
    if spec.model.weights != "random":
        return spec
    return spec.model_copy(update={"model": spec.model.model_copy(update={"tokenizer": "built"})})


def _methods(
    parsed: Namespace, parts: list[str], specs: list[RunSpec], device: Any
) -> tuple[dict[str, int], str, list[Any]]:
    """Shape, clock and rows of methods beside the bare backbone."""
    from petbench.measure.bench import Shape, measure
    from petbench.measure.latency import clock_of

    shape = Shape(batch=parsed.batch, length=parsed.length, rounds=parsed.rounds)
    return asdict(shape), clock_of(device).name, measure(specs, shape, parts, device)


def _lanes(parsed: Namespace, specs: list[RunSpec], device: Any) -> tuple[dict[str, int], str, list[Any]]:
    """Shape, clock and rows of runs in a row and in lanes."""
    from petbench.sweep.lane_times import clock_of_runs, lane_times

    clock = clock_of_runs(device)
    shape = {"batch": parsed.batch, "length": parsed.length, "rounds": parsed.rounds}
    rows = [row for spec in specs for row in lane_times(spec, parsed.lanes, clock.read)]
    return shape, clock.name, rows


def _notes(made: dict[str, Any]) -> list[str]:
    """What the columns are."""
    shape = made["shape"]
    if "short" not in shape:
        return [
            f"One step of every run, in a row and in lanes, optimiser included, at batch {shape['batch']} and rows of "
            f"at most {shape['length']} tokens; {made['clock']}. Above 1: lanes are faster."
        ]
    return [
        f"step: forward+backward at batch {shape['batch']}, length {shape['length']}; latency: batch 1, "
        f"length {shape['short']}; {made['clock']}.",
        "Ratios compare with the bare frozen backbone, the mean of two copies in the same run (median over rounds).",
    ]
