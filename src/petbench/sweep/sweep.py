"""A sweep: expand all members, validate and plan them all, run what is missing, say how each one ended."""

import argparse
import shlex
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from petbench.commands.arguments import Arguments, folder
from petbench.compose.expand import Member, expand, recompose, without_sweeps
from petbench.compose.hydra import key_of, plain_values
from petbench.console import say, warn
from petbench.errors import RunError, UserError
from petbench.record import write_record
from petbench.report.cells import is_trial
from petbench.sweep.launch import launch, require_precision, search
from petbench.sweep.members import Cell, cells_of, why_not
from petbench.sweep.tables import ended, show_outcome, show_plan
from petbench.sweep.trials import (
    Chosen,
    as_overrides,
    choose,
    final_note,
    is_tuned,
    of_search,
    seconds_of,
    selection_score,
    tuned_cells,
)
from petbench.training.claim import Busy
from petbench.training.run import note_failure, run

POLL_SECONDS = 0.5  # between looks at runs that other processes are training
Start = Callable[[Sequence[Cell], float], None]  # cells, and when their sweep began


def sweep_main(argv: list[str]) -> int:
    """`petbench train -m …`: exit 0 when all is done, 1 when a run failed, 2 for a mistake in any member."""
    flags, overrides = _flags(argv)
    sweepers = [o.partition("=")[2] for o in overrides if o.startswith("hydra/sweeper=")]
    if sweepers and sweepers != ["basic"]:
        return exit_status(_searched(overrides, flags.config_dir))
    members = expand(overrides, flags.config_dir)
    require_precision(overrides, [member.values for member in members], flags.config_dir)
    if is_tuned(members):
        start = starter(overrides, flags.config_dir)
        return exit_status(_tuned(members, start, flags.config_dir))
    return exit_status(sweep(members, starter(overrides, flags.config_dir)))


def starter(overrides: Sequence[str], config_dir: str | None = None) -> Start:
    """What launches cells through the launcher that the command line chose."""

    def start(left: Sequence[Cell], began: float) -> None:
        job = partial(member_job, since=began)
        launch(overrides, [cell.member.overrides for cell in left], job, config_dir)

    return start


def sweep(members: Sequence[Member], start: Start) -> list[Cell]:
    """Plan all members and run those that are not over; with plan=true only show them."""
    began = time.time()  # before the records are read: what ends from here on ends in this round
    cells = cells_of(members)
    if len(cells) < len(members):
        say(f"{len(members) - len(cells)} of {len(members)} members are the same run as another: run once.")
    if any(cell.spec.plan for cell in cells):
        show_plan(cells, whole=True)
        return cells
    _say_what_is_left_out(cells)
    waiting = [cell for cell in cells if cell.waiting]
    if not waiting:
        say("Nothing to run.")
        return cells
    show_plan(waiting, whole=False)
    _run_all(waiting, start, began)
    show_outcome(cells)
    return cells


def _tuned(members: Sequence[Member], start: Start, config_dir: str | None) -> list[Cell]:
    """Trials of all cells, then the final runs of what the selection rows chose."""

    cells, trials, left_out = [], [], []
    for cell in tuned_cells(members):
        try:
            trials.append(cell.trials(why_not))
            cells.append(cell)
        except UserError as error:
            left_out.append(f"{cell.name}: {error}")
    if not cells:
        raise UserError("\n".join(left_out))
    say("\n".join([*(f"skipped: {line}" for line in left_out), f"Trials of {len(cells)} methods and tasks:"]))
    ran = sweep(recompose([t.overrides for some in trials for t in some], config_dir), start)
    if any(cell.spec.plan for cell in ran):
        say(
            f"Then {sum(len(cell.seeds) for cell in cells)} final runs of the settings that the trials choose."
        )
        return ran
    found = {cell.member.overrides: cell.record for cell in ran}
    finals: list[tuple[str, ...]] = []
    failed = 0
    for cell, some in zip(cells, trials, strict=True):
        chosen = choose(some, [found.get(trial.overrides) for trial in some])
        if chosen is None:
            failed += 1
            warn(f"{cell.name}: no trial ended, so nothing is chosen.")
            continue
        say(f"chosen: {cell.name}: {_in_words(chosen)}")
        finals += cell.finals(chosen)
    if not finals:
        return ran
    ran += (last := sweep(recompose(finals, config_dir), start))
    for final in last:
        _note_tuning(final)
    return ran


def _in_words(chosen: Chosen) -> str:
    setting = " ".join(override.lstrip("+") for override in as_overrides(chosen.setting))
    return f"{setting} (selection {chosen.score:.4f}, {chosen.runs} trials, {chosen.seconds:.0f} s)"


def _note_tuning(cell: Cell) -> None:
    """A final run that was there before, of an ordinary sweep: its record gets the note of what choosing cost."""
    record, note = cell.record, cell.spec.tuning
    if record is None or record.status != "done" or note is None:
        return
    if record.provenance.get("tuning") != note.model_dump():
        say(f"{record.run_id} was done before; its record now carries the cost of tuning.")
        provenance = record.provenance | {"tuning": note.model_dump()}
        write_record(record.model_copy(update={"provenance": provenance}), cell.spec.results_dir)


def _searched(overrides: list[str], config_dir: str | None) -> list[Cell]:
    """A sweeper that chooses members by their selection scores: they are trials, which the report leaves out.

    One member is validated before it starts. Raises UserError with a recipe, whose cells are not searched.
    """
    if any(key_of(override) == "recipe" for override in overrides):
        raise UserError(
            "hydra/sweeper with recipe=: a recipe fixes its settings, so there is nothing to search. "
            "Leave recipe= out and give its values, or `sweep=tuned` for a grid."
        )
    more = of_search(overrides)
    cells_of(expand([*without_sweeps(overrides), *more], config_dir))
    launched = search(overrides, member_job, config_dir, more)
    cells: list[Cell] = []
    for member in recompose(launched, config_dir):
        try:
            cells += cells_of([member])
        except UserError as error:
            warn(str(error))
    cells = list({cell.run_id: cell for cell in cells}.values())
    for cell in cells:
        cell.before = None  # whether it ran now or before, the sweeper has asked for it
    done = [(cell, record) for cell in cells if (record := cell.record) and record.status == "done"]
    if cells:
        show_outcome(cells)
    if done:
        best, record = max(done, key=lambda pair: selection_score(pair[1]))
        left_out = ("seed", "tuning", "trainer.threads")
        own = [o.lstrip("+") for o in best.member.overrides if key_of(o) not in left_out]
        note = final_note(len(cells), sum(seconds_of(trial) for _, trial in done)).lstrip("+")
        say(f"best on the selection rows: {best.run_id}, {selection_score(record):.4f}: {' '.join(own)}")
        say("These runs are trials, and `petbench report` leaves them out. The choice on seeds of its own:")
        say(f"  petbench train -m seed=0,1,2 {shlex.join([*own, note])}")
    return cells


def _run_all(waiting: Sequence[Cell], start: Start, began: float) -> None:
    """Launch the cells; then wait for those that another process is training, and take over from dead ones.

    A cell that ends without any record twice (its process was killed from outside) is left.
    """
    left, launches = [cell for cell in waiting if not cell.ended_since(began)], 0
    while left and launches < 2:
        try:
            start(left, began)
        except RunError as error:
            warn(str(error))
            if not any(cell.ended_since(began) for cell in left):
                return  # it started nothing, so it would not the next time
        launches += 1
        left = [cell for cell in left if not cell.ended_since(began)]
        said = False
        while any(cell.owner for cell in left):
            if not said:
                say(f"waiting for {sum(bool(c.owner) for c in left)} runs that other processes are training.")
                said, launches = True, 0  # what they leave unfinished is ours to launch afresh
            time.sleep(POLL_SECONDS)
            left = [cell for cell in left if not cell.ended_since(began)]


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


def _say_what_is_left_out(cells: Sequence[Cell]) -> None:
    over = [cell for cell in cells if cell.over]
    for state, words in (("done", "done already"), ("failed", "failed before and are left")):
        ids = [
            cell.run_id
            for cell in over
            if (cell.before and cell.before.status == "done") == (state == "done")
        ]
        if ids:
            names = ", ".join(ids[:4]) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")
            say(
                f"{len(ids)} of {len(cells)} runs {words if state == 'failed' else 'are ' + words} ({names})."
            )
    trials = [cell for cell in over if cell.before and is_trial(cell.before) and not cell.spec.tuning]
    if trials:
        say(
            f"{len(trials)} of them were trials of a search: `petbench report` leaves them out. Give other seeds."
        )
    for cell in cells:
        if cell.skipped:
            say(f"skipped: {cell.label}: {cell.skipped}")


def exit_status(cells: Sequence[Cell]) -> int:
    """1 when a run that should have run did not end well."""
    planned = any(cell.spec.plan for cell in cells)
    return 0 if planned or all(ended(cell) in ("done", "skipped") for cell in cells) else 1


def member_job(cfg: DictConfig, since: float | None = None) -> float | None:
    """One member, in whatever process the launcher chose. A failure is recorded and does not stop the rest.

    since: when the sweep began (see `run`). Returns the score on the selection rows: what a sweeper may optimise
    without touching the report rows.
    """
    from petbench.adapters.method import spec_of
    from petbench.config.spec import parse

    spec = None
    try:
        spec = parse(plain_values(cfg), spec_of)
        record = run(spec, group=_group(), since=since)
    except Busy as error:
        say(str(error))  # no failure: the sweep waits for it
        return None
    except (UserError, RunError) as error:
        say(f"failed: {error}")
        if spec is not None and isinstance(error, UserError):
            note_failure(spec, str(error))
        return None
    if record.headline is None:
        return None
    name, value = record.headline.name, record.headline.value
    say(f"{record.run_id}  {record.adapter} {record.task} seed {record.seed}: {name} {value:.4f}")
    return selection_score(record)


def _group() -> str:
    """What holds the members together in W&B: the preset's name, else the time the sweep began."""
    config = HydraConfig.get()
    return str(config.runtime.choices.get("sweep") or Path(config.sweep.dir).name)
