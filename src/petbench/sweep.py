"""A sweep: expand all members, validate and plan them all, run what is missing, say how each one ended."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from petbench.claim import Busy, owner
from petbench.console import print_table, say
from petbench.errors import RunError, UserError
from petbench.expand import Member, expand, recompose
from petbench.launch import launch
from petbench.record import Record, read_record
from petbench.run import Prepared, prepare, run
from petbench.tuning import is_tuned, tune

POLL_SECONDS = 0.5  # between looks at runs that other processes are training


@dataclass
class Cell:
    """One member of a sweep on its way. Exactly one of `prepared` and `skipped` is set."""

    member: Member
    label: str
    prepared: Prepared | None = None
    skipped: str | None = None  # why it cannot be: one line

    @property
    def record(self) -> Record | None:
        return read_record(self.prepared.folder) if self.prepared else None

    @property
    def owner(self) -> str | None:
        """The live process that is training it."""
        return owner(self.prepared.folder) if self.prepared else None

    def ended_since(self, moment: float) -> bool:
        """Whether its record is newer than a moment (seconds since the epoch) and nobody works on it."""
        assert self.prepared is not None
        path = self.prepared.folder / "record.json"
        return self.owner is None and path.exists() and path.stat().st_mtime >= moment


def sweep_main(argv: list[str]) -> int:
    """`petbench train -m …`: exit 0 when all is done, 1 when a run failed, 2 for a mistake in any member."""
    flags, overrides = _flags(argv)
    members = expand(overrides, flags.config_dir)

    def start(left: Sequence[Cell]) -> None:
        launch(overrides, [cell.member.overrides for cell in left], member_job, flags.config_dir)

    if not is_tuned(members):
        return _exit_status(_sweep(members, start))
    ran: list[Cell] = []

    def run_members(some: list[list[str]]) -> list[Record | None]:
        cells = _sweep(recompose(some), start)
        ran.extend(cells)
        by_overrides = {cell.member.overrides: cell.record for cell in cells}
        return [by_overrides.get(tuple(one)) for one in some]

    for line in tune(members, run_members):
        say(f"tuned: {line}")
    return _exit_status(ran)


def _sweep(members: Sequence[Member], start: Callable[[Sequence[Cell]], None]) -> list[Cell]:
    """Plan all members and run those that are not over; with plan=true only show them."""
    cells = _prepared(members)
    if any(cell.prepared.spec.plan for cell in cells if cell.prepared):
        print_table(plan_table(cells))
        return cells
    waiting = [cell for cell in cells if cell.prepared and not _is_over(cell)]
    _say_what_is_done(cells, waiting)
    if waiting:
        _run_all(waiting, start)
        print_table(outcome_table(cells))
    return cells


def _exit_status(cells: Sequence[Cell]) -> int:
    """1 when a run that should have run did not end well."""
    planned = any(cell.prepared.spec.plan for cell in cells if cell.prepared)
    return 0 if planned or all(_ended(cell) in ("done", "skipped") for cell in cells) else 1


def _run_all(waiting: Sequence[Cell], start: Callable[[Sequence[Cell]], None]) -> None:
    """Launch the cells; then wait for those that another process is training, and take over from dead ones.

    A cell that ends without any record twice (its process was killed from outside) is left.
    """
    began = time.time()
    left, launches = list(waiting), 0
    while left and launches < 2:
        start(left)
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
    parser = argparse.ArgumentParser(prog="petbench train -m", allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true", help="multiply out the values")
    parser.add_argument("--config-dir", "-cd", help="a folder with more config groups")
    parser.add_argument("--no-retry", action="store_true", help="leave cells that failed before")
    flags, overrides = parser.parse_known_args(list(argv))
    unknown = [text for text in overrides if text.startswith("-")]
    if unknown:
        raise UserError(f"unknown flags in a sweep: {' '.join(unknown)}. `petbench train --help` lists them.")
    return flags, [*overrides, *(["retry=false"] if flags.no_retry else [])]


def _prepared(members: Sequence[Member]) -> list[Cell]:
    """Every member validated, planned and its rows cut; equal runs once.

    Raises UserError with the config errors of all members, or when no member can run at all.
    """
    from petbench.adapters.base import spec_of
    from petbench.config import parse

    specs, problems = [], []
    for member in members:
        try:
            specs.append((member, parse(member.values, spec_of)))
        except UserError as error:
            problems.append(f"{' '.join(member.overrides)}\n{error}")
    if problems:
        raise UserError("\n".join(problems))
    cells: list[Cell] = []
    seen: set[str] = set()
    for member, spec in specs:
        label = f"{spec.adapter.label} {spec.task.name} {spec.model.label} seed {spec.seed}"
        try:
            prepared = prepare(spec)
        except UserError as error:
            cells.append(Cell(member, label, skipped=str(error)))
            continue
        if prepared.run_id not in seen:
            seen.add(prepared.run_id)
            cells.append(Cell(member, label, prepared=prepared))
    if cells and all(cell.skipped for cell in cells):
        raise UserError(
            "no member of the sweep can run:\n" + "\n".join(dict.fromkeys(c.skipped or "" for c in cells))
        )
    return cells


def _is_over(cell: Cell) -> bool:
    """Whether nothing is left to run: done, or failed before and not to be tried again."""
    record = cell.record
    if record is None or cell.prepared is None:
        return False
    return record.status == "done" or (
        not cell.prepared.spec.retry and record.status in ("failed", "diverged")
    )


def _say_what_is_done(cells: Sequence[Cell], waiting: Sequence[Cell]) -> None:
    over = [cell for cell in cells if cell.prepared and _is_over(cell)]
    if over:
        ids = [cell.prepared.run_id for cell in over if cell.prepared]
        names = ", ".join(ids[:4]) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")
        say(f"{len(over)} of {len(cells)} runs are over already ({names}): not run again.")
    for cell in cells:
        if cell.skipped:
            say(f"skipped: {cell.label}: {cell.skipped}")
    say(f"{len(waiting)} to run." if waiting else "Nothing to run.")


def member_job(cfg: DictConfig) -> float | None:
    """One member, in whatever process the launcher chose. A failure is recorded and does not stop the rest."""
    from petbench.adapters.base import spec_of
    from petbench.config import parse

    values: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    try:
        spec = parse(values, spec_of)
        record = run(spec, group=_group())
    except Busy as error:
        say(str(error))  # no failure: the sweep waits for it
        return None
    except (UserError, RunError) as error:
        say(f"failed: {error}")
        return None
    headline = record.headline
    if headline is None:
        return None
    say(
        f"{record.run_id}  {record.adapter} {record.task} seed {record.seed}: {headline.name} {headline.value:.4f}"
    )
    return headline.value


def _group() -> str:
    """What holds the members together in W&B: the preset's name, else the time the sweep began."""
    config = HydraConfig.get()
    return str(config.runtime.choices.get("sweep") or Path(config.sweep.dir).name)


def plan_table(cells: Sequence[Cell]) -> Table:
    """All members of a sweep before they run."""
    table = Table(title=f"Plan: {len(cells)} runs", title_justify="left")
    for name in ("run", "adapter", "task", "model", "seed"):
        table.add_column(name)
    for name in ("sites", "adapter params", "trainable", "steps"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for cell in cells:
        if cell.prepared is None:
            table.add_row("", cell.label, "", "", "", "", "", "", "", f"skipped: {cell.skipped}")
            continue
        spec, plan = cell.prepared.spec, cell.prepared.plan
        params = plan.params
        table.add_row(
            cell.prepared.run_id,
            spec.adapter.label,
            spec.task.name,
            spec.model.label,
            str(spec.seed),
            str(plan.sites),
            f"{params.adapter:,}",
            f"{params.trainable:,}",
            str(cell.prepared.steps),
            _ended(cell),
        )
    return table


def outcome_table(cells: Sequence[Cell]) -> Table:
    """How every member ended."""
    table = Table(title="Sweep", title_justify="left")
    for name in ("run", "adapter", "task", "model", "seed", "state", "score", "reason"):
        table.add_column(name)
    for cell in cells:
        if cell.prepared is None:
            table.add_row("", cell.label, "", "", "", "skipped", "", cell.skipped or "")
            continue
        spec, record = cell.prepared.spec, cell.record
        score = f"{record.headline.value:.4f}" if record and record.headline else ""
        reason = (record.reason or "") if record else ""
        place = (spec.adapter.label, spec.task.name, spec.model.label, str(spec.seed))
        table.add_row(cell.prepared.run_id, *place, _ended(cell), score, reason)
    return table


def _ended(cell: Cell) -> str:
    if cell.skipped:
        return "skipped"
    record = cell.record
    return record.status if record else "missing"
