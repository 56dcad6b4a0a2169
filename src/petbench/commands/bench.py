"""`petbench bench`: methods side by side in one process, as ratios to the bare frozen backbone."""

import json
import os
from typing import Any

from petbench.commands.arguments import Arguments, whole
from petbench.compose.expand import expand
from petbench.compose.overrides import require_once
from petbench.config.spec import RunSpec
from petbench.config.tree import key_of
from petbench.console import Grid, print_table, say, warn
from petbench.errors import UserError

DEFAULT = "adapter=krona,lora,bitfit,peft/lora"


def bench_main(argv: list[str]) -> int:
    """`petbench bench [OVERRIDES…] [--what step,latency,memory] [--json]`."""
    parser = Arguments(
        prog="petbench bench",
        description="Measure step time, latency and memory of several methods, interleaved in one process. Overrides "
        f"are those of train; several values multiply out (default {DEFAULT}). Trained weights are not needed: add "
        "model.weights=random.",
    )
    parser.add_argument("overrides", nargs="*", help="such as adapter=krona,lora model=minilm")
    parser.add_argument("--what", default="step,latency,memory", help="some of step, latency, memory")
    parser.add_argument("--batch", type=whole(1, 65_536), default=32)
    parser.add_argument("--length", type=whole(1, 65_536), default=64, help="tokens of a training row")
    parser.add_argument("--rounds", type=whole(1, 100_000), default=15, help="timed steps of each method")
    parser.add_argument(
        "--threads",
        type=whole(1, os.cpu_count() or 1),
        default=1,
        help="CPU threads; 1 gives the steadiest ratios",
    )
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args(argv)
    require_once(parsed.overrides)

    import torch  # torch takes seconds

    from petbench.machine.devices import choose_device
    from petbench.machine.provenance import device_name
    from petbench.measure.bench import PARTS, Shape, measure
    from petbench.measure.latency import clock_of
    from petbench.training.plan import plan, spec_from

    parts = parsed.what.split(",")
    if not set(parts) <= set(PARTS):
        raise UserError(f"--what: got '{parsed.what}'. Legal: {', '.join(PARTS)}, joined by commas.")
    torch.set_num_threads(parsed.threads)
    given = (
        parsed.overrides
        if any(o.startswith("adapter=") for o in parsed.overrides)
        else [DEFAULT, *parsed.overrides]
    )
    specs = []
    # The plan refuses more tokens than the model has positions; the number of tokens here is --length.
    given = [*(o for o in given if key_of(o) != "task.max_length"), f"task.max_length={parsed.length}"]
    for member in expand(given):
        spec = _without_files(spec_from(member.values))
        try:
            specs.append(plan(spec).spec)
        except UserError as error:
            warn(f"{spec.adapter.label} is left out: {error}")
    if not specs:
        raise UserError("bench: no method is left to measure.")
    device = choose_device(specs[0].trainer.device)
    shape = Shape(batch=parsed.batch, length=parsed.length, rounds=parsed.rounds)
    rows = measure(specs, shape, parts, device)
    clock = clock_of(device).name
    where = f"{specs[0].model.label} on {device_name(device)}, {parsed.threads} thread(s), torch {torch.__version__}"
    if parsed.json:
        print(
            json.dumps(
                {"where": where, "clock": clock, "batch": shape.batch, "length": shape.length, "rows": rows},
                indent=2,
            )
        )
        return 0
    print_table(_table(rows, where))
    say(
        f"step: forward+backward at batch {shape.batch}, length {shape.length}; latency: batch 1, "
        f"length {shape.short}; {clock}."
    )
    say(
        "Ratios compare with the bare frozen backbone, the mean of two copies in the same run (median over rounds)."
    )
    return 0


def _without_files(spec: RunSpec) -> RunSpec:
    """The spec, with petbench's built-in tokenizer if the weights are random: no file of the model is read then."""
    if spec.model.weights != "random":
        return spec
    return spec.model_copy(update={"model": spec.model.model_copy(update={"tokenizer": "built"})})


COLUMNS = {
    "trainable": ("trainable", "{:,}"),
    "step_ratio": ("step ×", "{:.3f}"),
    "step_ms": ("step ms", "{:.1f}"),
    "latency_ratio": ("latency ×", "{:.3f}"),
    "latency_ms": ("latency ms", "{:.2f}"),
    "saved_bytes_over_backbone": ("kept for backward, bytes over backbone", "{:,}"),
    "operations": ("operations of a step", "{:,}"),
    "peak_bytes": ("peak bytes", "{:,}"),
}


def _table(rows: list[dict[str, Any]], where: str) -> Grid:
    table = Grid(title=f"Bench: {where}", title_justify="left")
    table.add_column("")
    shown = [key for key in COLUMNS if any(key in row for row in rows)]
    for key in shown:
        table.add_column(COLUMNS[key][0], justify="right")
    for row in rows:
        table.add_row(row["name"], *(COLUMNS[k][1].format(row[k]) if k in row else "" for k in shown))
    return table
