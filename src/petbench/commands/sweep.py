"""`petbench train -m`: the flags of a sweep, its kind, its exit status."""

import argparse
from collections.abc import Sequence
from functools import partial

from petbench.commands.arguments import Arguments, folder
from petbench.compose.expand import expand
from petbench.errors import UserError
from petbench.sweep.launch import launch, require_precision
from petbench.sweep.member import member_job
from petbench.sweep.members import Cell
from petbench.sweep.searched import run_searched
from petbench.sweep.sweep import Start, sweep
from petbench.sweep.tables import exit_status
from petbench.sweep.trials import (
    is_tuned,
)
from petbench.sweep.tuned import run_tuned
from petbench.training.prepare import start_id


def sweep_main(argv: list[str]) -> int:
    """`petbench train -m …`: exit 0 when all is done, 1 when a run failed, 2 for a mistake in any member."""
    flags, overrides = _flags(argv)
    sweepers = [o.partition("=")[2] for o in overrides if o.startswith("hydra/sweeper=")]
    if sweepers and sweepers != ["basic"]:
        return exit_status(run_searched(overrides, flags.config_dir))
    members = expand(overrides, flags.config_dir, start_id)
    require_precision(overrides, [member.values for member in members], flags.config_dir)
    if is_tuned(members):
        start = starter(overrides, flags.config_dir)
        return exit_status(run_tuned(members, start, flags.config_dir))
    return exit_status(sweep(members, starter(overrides, flags.config_dir)))


def starter(overrides: Sequence[str], config_dir: str | None = None) -> Start:
    """What launches cells through the launcher that the command line chose."""

    def start(left: Sequence[Cell], began: float) -> None:
        job = partial(member_job, since=began)
        launch(overrides, [cell.member.overrides for cell in left], job, config_dir)

    return start


def _flags(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Hydra's flags that a sweep knows, and the overrides."""
    parser = Arguments(prog="petbench train -m", allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true", help="multiply out the values")
    parser.add_argument("--config-dir", "-cd", type=folder, help="a folder with more config groups")
    parser.add_argument("--no-retry", action="store_true", help="leave cells that failed before")
    flags, overrides = parser.parse_known_args(list(argv))
    unknown = [text for text in overrides if text.startswith("-")]
    if unknown:
        raise UserError(f"unknown flags in a sweep: {' '.join(unknown)}. `petbench train --help` lists them.")
    return flags, [*overrides, *(["retry=false"] if flags.no_retry else [])]
