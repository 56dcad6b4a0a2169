"""`petbench train`: Hydra composes the config, petbench validates, plans and runs it. The only use of hydra.main."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from petbench.commands.arguments import existing_folder
from petbench.commands.early import check_run
from petbench.commands.opening import FLAGS_THAT_ONLY_SHOW
from petbench.commands.train_help import help_text
from petbench.compose.expand import expand
from petbench.compose.hydra import (
    forgiving,
    hydra_errors,
    plain_values,
    search_path_override,
    set_full_errors,
)
from petbench.compose.overrides import require_once
from petbench.config.spec import RunSpec
from petbench.config.tree import conf_dir, key_of
from petbench.console import busy, idle, print_table, say, spinning
from petbench.errors import UserError

if TYPE_CHECKING:  # it loads torch
    from petbench.training.prepare import Prepared


def train_main(argv: list[str]) -> int:
    """Run one run, or with -m a sweep. Returns the exit status."""
    if any(argument in ("-h", "--help") for argument in argv):
        print(help_text(), end="")
        return 0
    require_once(argv)
    set_full_errors()
    only_shows = any(argument.split("=")[0] in FLAGS_THAT_ONLY_SHOW for argument in argv)
    multirun = "-m" in argv or "--multirun" in argv or any(a.startswith(("sweep=", "+sweep=")) for a in argv)
    if multirun and not only_shows:
        from petbench.commands.sweep import sweep_main

        return sweep_main(argv)
    config_dir, argv = _config_dir(argv)
    argv = _with_cell(argv, config_dir)
    more = [] if only_shows else search_path_override(argv)
    flags = [] if config_dir is None else [f"--config-dir={config_dir}"]
    sys.argv = [sys.argv[0], *_values_first([*forgiving(argv), *more]), *flags]
    with hydra_errors(config_dir):
        composed = _composed()
    for config in composed:
        with spinning():
            job(config, argv)
    return 0


def _config_dir(argv: list[str]) -> tuple[str | None, list[str]]:
    """The user's config folder, and the arguments without it: its path may look like a value (`lr=1`).

    Read without argparse, which takes Hydra's `-c` for the beginning of `-cd`.
    """
    found, rest = None, []
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            found = existing_folder(flag, value if equals else next(words, ""))
        else:
            rest.append(word)
    return found, rest


def _with_cell(argv: list[str], config_dir: str | None) -> list[str]:
    """The arguments with a recipe's settings for this method and task before them; unchanged without a recipe."""
    if not any(key_of(a) == "recipe" for a in argv) or "-sc" in argv:
        return argv
    from petbench.training.prepare import start_id

    values = _values(argv)
    members = expand(values, config_dir, start_id)
    # Hydra itself refuses several members without -m.
    whole = members[0].overrides if len(members) == 1 else values
    return [*whole, *(a for a in argv if a not in values)]


def _values(argv: list[str]) -> list[str]:
    """The overrides among the arguments."""
    return [a for a in argv if not a.startswith("-") and ("=" in a or a.startswith("~"))]


def _values_first(argv: list[str]) -> list[str]:
    """Values before flags, since Hydra's parser refuses a value that stands behind a flag."""
    values = _values(argv)
    return [*values, *(a for a in argv if a not in values)]


def _composed() -> list[DictConfig]:
    """The config that Hydra composes from the command line; none when a flag such as --cfg only showed something.

    The run starts after Hydra has returned, so that petbench, not Hydra, prints the run's errors.
    """
    found: list[DictConfig] = []

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    def keep(cfg: DictConfig) -> None:
        found.append(cfg)

    keep()
    return found


def _require_start(spec: RunSpec) -> None:
    """Raise UserError, before weights are read, when the run that a recipe's cell starts from is missing."""
    from petbench.tuned.checkpoint import adapter_folder

    if not spec.recipe or not spec.init_from or spec.plan:
        return
    try:
        adapter_folder(spec.init_from, spec.results_dir)
    except UserError as error:
        raise UserError(
            f"recipe {spec.recipe}: this cell starts from run {spec.init_from}, which is not done in "
            f"{spec.results_dir}. `petbench reproduce recipe={spec.recipe}` runs both; init_from=null leaves it out."
        ) from error


def job(cfg: DictConfig, given: Sequence[str] = ()) -> float | None:
    """Validate and run one composed config. Returns the headline score, None for a plan. given: the command line."""
    values = plain_values(cfg)
    check_run(values, given)
    busy("loading torch and transformers")
    from petbench.commands.ending import say_end
    from petbench.commands.tables import params_table, scores_table
    from petbench.training.plan import plan, spec_from
    from petbench.training.prepare import prepare
    from petbench.training.run import run

    busy("planning")
    spec = spec_from(values)
    planned = plan(spec)  # without rows: a plan needs none, and they may have to be downloaded
    _require_start(spec)
    for note in planned.notes:
        say(note)
    row = {
        "adapter": spec.adapter.label,
        "params": planned.params.model_dump(),
        "mergeable": planned.mergeable,
    }
    if spec.plan:
        idle()
        print_table(
            params_table([row], f"Plan: {spec.adapter.label} on {spec.model.label}, {planned.sites} sites")
        )
        return None
    busy("reading rows and files")
    prepared = prepare(spec)
    _say_what_runs(prepared)
    busy("loading the backbone")
    record = run(prepared)
    idle()
    if record.params is not None:
        row["params"] = record.params.model_dump()
    print_table(params_table([row], f"Parameters: {record.adapter} on {record.model}"))
    print_table(scores_table(record))
    say_end(record, spec.results_dir)
    return record.headline.value if record.headline else None


def _say_what_runs(prepared: "Prepared") -> None:
    """Print rows, steps, device, precision and the run's id, as soon as they are known."""
    from petbench.machine.devices import choose_device
    from petbench.tasks.toy import NOTE

    if prepared.content.missing:
        return  # the run will say what is missing
    parts = {name.replace("/", " "): len(rows) for name, rows in prepared.rows.parts().items()}
    rows = ", ".join(f"{count:,} {name}" for name, count in parts.items())
    say(
        f"run {prepared.run_id}: rows {rows}; {prepared.steps:,} steps of {prepared.spec.trainer.batch_size}; "
        f"{choose_device(prepared.spec.trainer.device).type}, {prepared.content.facts.precision}"
    )
    if prepared.splits.source == "toy":
        say(NOTE)
