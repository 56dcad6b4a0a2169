"""`petbench train -m`: read a sweep's flags, run the sweep by its kind, return the exit status."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petbench.commands.arguments import Arguments, folder
from petbench.commands.early import check_members
from petbench.compose.expand import expand
from petbench.console import busy, spinning
from petbench.errors import UserError
from petbench.sweep.launch import launch, require_precision
from petbench.sweep.trials import is_tuned

if TYPE_CHECKING:  # all load torch
    from petbench.compose.expand import Composed
    from petbench.sweep.members import Member
    from petbench.sweep.sweep import Start


def sweep_main(argv: list[str]) -> int:
    """`petbench train -m …`: exit 0 when all is done, 1 when a run failed, 2 for a mistake in any member."""
    flags, overrides = _flags(argv)
    sweepers = [o.partition("=")[2] for o in overrides if o.startswith("hydra/sweeper=")]
    searched = bool(sweepers) and sweepers != ["basic"]
    with spinning():
        busy("composing the members of the sweep")
        composed = [] if searched else expand(overrides, flags.config_dir, _start_id)
        check_members(one.values for one in composed)
        busy("loading torch and transformers")
        from petbench.sweep.choose import is_choice
        from petbench.sweep.outcome import exit_status
        from petbench.sweep.searched import run_searched
        from petbench.sweep.sweep import sweep
        from petbench.sweep.tuned import run_tuned
    if searched:
        return exit_status(run_searched(overrides, flags.config_dir))
    require_precision(overrides, [one.values for one in composed], flags.config_dir)
    start = starter(overrides, flags.config_dir)
    if is_choice(composed):
        return _choose(composed, start, flags.config_dir)
    if is_tuned(composed):
        return exit_status(run_tuned(composed, start, flags.config_dir))
    return exit_status(sweep(composed, start))


def _choose(composed: "Sequence[Composed]", start: "Start", config_dir: str | None) -> int:
    """`sweep=choose`: run the members, then print the answer of `petbench recommend` for their table."""
    from petbench.commands.recommend import say_answers
    from petbench.report.recommend import Limits
    from petbench.sweep.choose import run_choice
    from petbench.sweep.outcome import exit_status

    members = run_choice(composed, start, config_dir)
    done = [record for member in members if (record := member.record) and record.status == "done"]
    if any(not record.is_trial for record in done) and not any(member.spec.plan for member in members):
        where = {key: (str(getattr(done[0], key)),) for key in ("task", "model", "protocol")}
        say_answers(Path(members[0].spec.results_dir), where, Limits())
    return exit_status(members)


def starter(overrides: Sequence[str], config_dir: str | None = None) -> "Start":
    """A function that runs members with the launcher that the command line chose."""
    from petbench.sweep.member import member_job

    def start(left: "Sequence[Member]", began: float) -> None:
        job = partial(member_job, since=began)
        launch(overrides, [member.composed.overrides for member in left], job, config_dir)

    return start


def _start_id(values: dict[str, Any]) -> str | None:
    """`prepare.start_id`, imported when called: only a recipe, whose cells may start from other runs, needs it."""
    from petbench.training.prepare import start_id

    return start_id(values)


def _flags(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Hydra's flags that a sweep knows, and the overrides."""
    parser = Arguments(prog="petbench train -m", allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true", help="multiply out the values")
    parser.add_argument("--config-dir", "-cd", type=folder, help="a folder with more config groups")
    parser.add_argument("--no-retry", action="store_true", help="skip members that failed before")
    parser.add_argument("--minutes", help="time for sweep=choose")
    flags, overrides = parser.parse_known_args(list(argv))
    overrides += [] if flags.minutes is None else [f"minutes={flags.minutes}"]
    unknown = [text for text in overrides if text.startswith("-")]
    if unknown:
        raise UserError(f"unknown flags in a sweep: {' '.join(unknown)}. `petbench train --help` lists them.")
    return flags, [*overrides, *(["retry=false"] if flags.no_retry else [])]
