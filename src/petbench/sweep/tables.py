"""Tables of a sweep: what is to run, with an estimate of time and memory; and how each member ended."""

from collections import Counter
from collections.abc import Sequence

from petbench.config.sections import TrainerSpec
from petbench.config.tree import key_of
from petbench.console import Grid, print_table, say
from petbench.record import read_records
from petbench.sweep.estimate import Estimate, Measured
from petbench.sweep.members import Cell

ROWS_SHOWN = 40  # of members that need no attention


_HAVE_COLUMNS = ("adapter", "task", "model", "seed", "tuning")


def show_plan(cells: Sequence[Cell], *, whole: bool) -> None:
    """The table of members before they run, the first of them unless `whole`, and a line with the sums."""
    planned = [cell for cell in cells if cell.prepared is not None]
    estimates = _estimates(planned)
    table = Grid(title=f"Plan: {len(cells)} runs", title_justify="left")
    settings = _settings(cells)
    for name in ("run", "adapter", "task", "model", "seed", *_setting_column(settings)):
        table.add_column(name)
    for name in ("sites", "tuned params", "trainable", "steps", "time", "memory"):
        table.add_column(name, justify="right")
    table.add_column("state")
    shown = cells if whole else cells[:ROWS_SHOWN]
    for cell in shown:
        if cell.prepared is None:
            table.add_row(*_place(cell, settings), *[""] * 6, f"skipped: {cell.skipped}")
            continue
        params, estimate = cell.prepared.plan.params, estimates[cell.run_id]
        table.add_row(
            *_place(cell, settings),
            str(cell.prepared.plan.sites),
            f"{params.tuned:,}",
            f"{params.trainable:,}",
            f"{cell.prepared.steps:,}",
            _approximate(estimate, duration(estimate.seconds)),
            _approximate(estimate, _memory(estimate.memory_bytes)),
            _planned_state(cell),
        )
    print_table(table)
    if len(shown) < len(cells):
        say(f"… and {len(cells) - len(shown)} more (plan=true shows all).")
    say(_sums([cell for cell in planned if cell.waiting], estimates))


def show_outcome(cells: Sequence[Cell]) -> None:
    """How every member ended. What was done before is left out where the table would grow long."""
    table = Grid(title="Sweep", title_justify="left")
    settings = _settings(cells)
    for name in ("run", "adapter", "task", "model", "seed", *_setting_column(settings)):
        table.add_column(name)
    for name in ("state", "score", "reason"):
        table.add_column(name)
    counts = Counter(ended(cell) for cell in cells)
    short = len(cells) <= ROWS_SHOWN
    for cell in cells:
        record, state = cell.record, ended(cell)
        if state == "skipped" and cell.over and not short:
            continue
        score = f"{record.headline.value:.4f}" if record and record.headline else ""
        reason = cell.skipped or ("done before" if cell.over and state == "skipped" else None)
        reason = reason or (record.reason if record else "not started, or killed from outside") or ""
        table.add_row(*_place(cell, settings), state, score, " ".join(reason.split()))
    print_table(table)
    say(", ".join(f"{counts[state]} {state}" for state in sorted(counts, key=_order.index)) + ".")


_order = ("done", "skipped", "failed", "diverged", "interrupted", "missing")


def ended(cell: Cell) -> str:
    """done, skipped (done before, or impossible), failed, diverged, interrupted or missing."""
    if cell.skipped is not None:
        return "skipped"
    record = cell.record
    if record is None:
        return "missing"
    return "skipped" if cell.over and record.status == "done" else record.status


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.4 h`; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _estimates(planned: Sequence[Cell]) -> dict[str, Estimate]:
    """By run id, from what this results folder has measured on the device that would be used."""
    from petbench.errors import UserError
    from petbench.machine.devices import choose_device
    from petbench.machine.provenance import device_name

    measured: dict[tuple[str, str], Measured] = {}
    out = {}
    for cell in planned:
        assert cell.prepared is not None
        trainer: TrainerSpec = cell.spec.trainer
        key = (cell.spec.results_dir, trainer.device)
        if key not in measured:
            try:
                device = device_name(choose_device(trainer.device))
            except UserError:  # a device of another machine: a plan needs none
                device = ""
            measured[key] = Measured(read_records(cell.spec.results_dir), device)
        out[cell.run_id] = measured[key].of(cell.prepared.spec, cell.prepared.steps)
    return out


def _sums(waiting: Sequence[Cell], estimates: dict[str, Estimate]) -> str:
    """`12 runs to train, 3,400 steps; about 12 min one after another.`"""
    if not waiting:
        return "Nothing to run."
    steps = sum(cell.prepared.steps for cell in waiting if cell.prepared)
    seconds = [estimates[cell.run_id].seconds for cell in waiting]
    known = [value for value in seconds if value is not None]
    text = f"{len(waiting)} runs to train, {steps:,} steps"
    if not known:
        return f"{text}; time and memory not measured: no like run is in the results folder yet."
    rest = len(seconds) - len(known)
    more = f", and {rest} without a like run to measure by" if rest else ""
    return f"{text}; about {duration(sum(known))} one after another{more}."


def _settings(cells: Sequence[Cell]) -> dict[tuple[str, ...], str]:
    """By a member's overrides: the values that not all members share, less what has a column of its own."""
    own = {
        cell.member.overrides: [
            override.lstrip("+")
            for override in cell.member.overrides
            if key_of(override) not in _HAVE_COLUMNS
        ]
        for cell in cells
    }
    shared = set.intersection(*map(set, own.values())) if own else set()
    return {member: " ".join(o for o in some if o not in shared) for member, some in own.items()}


def _setting_column(settings: dict[tuple[str, ...], str]) -> list[str]:
    return ["setting"] if any(settings.values()) else []


def _place(cell: Cell, settings: dict[tuple[str, ...], str]) -> tuple[str, ...]:
    spec = cell.spec
    place = (cell.run_id, spec.adapter.label, spec.task.name, spec.model.label, str(spec.seed))
    return (*place, settings[cell.member.overrides]) if any(settings.values()) else place


def _planned_state(cell: Cell) -> str:
    if cell.before is None:
        return "resume" if (cell.folder / "resume.safetensors").is_file() else "new"
    if cell.over:
        return cell.before.status
    return "resume" if cell.before.status == "interrupted" else f"retry ({cell.before.status})"


def _approximate(estimate: Estimate, text: str) -> str:
    return f"≈ {text}" if text and estimate.near else text or "not measured"


def _memory(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:,.0f} MiB"


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
    trials = [cell for cell in over if cell.before and cell.before.is_trial and not cell.spec.tuning]
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
