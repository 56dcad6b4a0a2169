"""The plan of a sweep as a table: what is to run, an estimate of time and memory, and what is left out."""

from collections import Counter
from collections.abc import Sequence

from petbench.compose.overrides import apart
from petbench.config.sections import TrainerSpec
from petbench.console import Grid, print_table, say
from petbench.errors import UserError
from petbench.machine.devices import choose_device
from petbench.machine.provenance import device_name
from petbench.record import RESUME_FILE, read_records
from petbench.record.units import seconds, size
from petbench.sweep.estimate import Estimate, Measured
from petbench.sweep.members import Member

ROWS_SHOWN = 40  # most lines of the plan that is printed before a sweep runs
_HAVE_COLUMNS = ("adapter", "task", "model", "seed", "tuning")


def show_plan(members: Sequence[Member], *, whole: bool) -> None:
    """Print the table of members before they run, and a line with the sums. whole: one line for each member, otherwise
    one line for each setting with all its seeds."""
    planned = [member for member in members if member.prepared is not None]
    estimates, settings = _estimates(planned), settings_of(members)
    models = dict.fromkeys(member.spec.model.label for member in planned)
    place = ["adapter", "task", *(["model"] if len(models) > 1 else []), *_setting_column(settings)]
    table = Grid(title=f"Plan: {len(members)} runs{f' on {next(iter(models))}' if len(models) == 1 else ''}")
    if whole:
        table.add_column("run", no_wrap=True)
    for name in place:
        table.add_column(name)
    for name in ("seed", "sites", "tuned params", "trainable", "steps", "time", "memory"):
        table.add_column(name, justify="right")
    table.add_column("state")
    groups: dict[tuple[str, ...], list[Member]] = {}
    for member in planned:
        spec, setting = member.spec, settings[member.composed.overrides]
        known = {
            "adapter": spec.adapter.label,
            "task": spec.task.name,
            "model": spec.model.label,
            "setting": setting,
        }
        own = tuple(known[name] for name in place)
        groups.setdefault((member.run_id, *own) if whole else own, []).append(member)
    for texts, some in list(groups.items())[: None if whole else ROWS_SHOWN]:
        table.add_row(*texts, *_planned(some, estimates))
    print_table(table)
    if not whole and len(groups) > ROWS_SHOWN:
        say(f"… and {len(groups) - ROWS_SHOWN} more settings (plan=true shows all).")
    if whole:
        say_skips(members)
    say(_sums([member for member in planned if member.waiting], estimates))


def _planned(members: Sequence[Member], estimates: dict[str, Estimate]) -> tuple[str, ...]:
    """Seeds, sizes, steps, time, memory and state of the members of one line; steps and time are sums over them."""
    first = members[0].prepared
    assert first is not None
    params, found = first.plan.params, [estimates[member.run_id] for member in members]
    times = [estimate.seconds for estimate in found if estimate.seconds is not None]
    steps = sum(member.prepared.steps for member in members if member.prepared)
    states = Counter(map(_planned_state, members))
    return (
        ", ".join(str(member.spec.seed) for member in members),
        str(first.plan.sites),
        f"{params.tuned:,}",
        f"{params.trainable:,}",
        f"{steps:,}",
        _approximate(found[0], seconds(sum(times), 0) if times else ""),
        _approximate(found[0], "" if found[0].memory_bytes is None else size(found[0].memory_bytes)),
        ", ".join(state if len(members) == 1 else f"{number} {state}" for state, number in states.items()),
    )


def what_is_left(members: Sequence[Member]) -> str:
    """`12 runs to train, 3,400 steps; about 12 min one after another.`"""
    planned = [member for member in members if member.prepared is not None]
    return _sums([member for member in planned if member.waiting], _estimates(planned))


def _estimates(planned: Sequence[Member]) -> dict[str, Estimate]:
    """Run id -> estimate, from the records of the results folder on the device that would be used."""
    measured: dict[tuple[str, str], Measured] = {}
    out = {}
    for member in planned:
        assert member.prepared is not None
        trainer: TrainerSpec = member.spec.trainer
        key = (member.spec.results_dir, trainer.device)
        if key not in measured:
            try:
                device = device_name(choose_device(trainer.device))
            except UserError:  # the device is not on this machine, and a plan needs none
                device = ""
            measured[key] = Measured(read_records(member.spec.results_dir), device)
        out[member.run_id] = measured[key].of(member.prepared.spec, member.prepared.steps)
    return out


def _sums(waiting: Sequence[Member], estimates: dict[str, Estimate]) -> str:
    """`12 runs to train, 3,400 steps; about 12 min one after another.`"""
    if not waiting:
        return "Nothing to run."
    steps = sum(member.prepared.steps for member in waiting if member.prepared)
    times = [estimates[member.run_id].seconds for member in waiting]
    known = [value for value in times if value is not None]
    text = f"{len(waiting)} runs to train, {steps:,} steps"
    if not known:
        return f"{text}; time and memory unknown: the results folder has no similar run yet."
    rest = len(times) - len(known)
    more = f", and {rest} without a similar run to estimate by" if rest else ""
    return f"{text}; about {seconds(sum(known), 0)} one after another{more}."


def settings_of(members: Sequence[Member]) -> dict[tuple[str, ...], str]:
    """A member's overrides -> those that not all members share, without those that have a column of their own."""
    own = apart((member.composed.overrides for member in members), _HAVE_COLUMNS)
    return {overrides: " ".join(some) for overrides, some in own.items()}


def _setting_column(settings: dict[tuple[str, ...], str]) -> list[str]:
    return ["setting"] if any(settings.values()) else []


def _planned_state(member: Member) -> str:
    if member.before is None:
        return "resume" if (member.folder / RESUME_FILE).is_file() else "new"
    if member.over:
        return member.before.status
    return (
        "resume" if member.before.status in ("interrupted", "paused") else f"retry ({member.before.status})"
    )


def _approximate(estimate: Estimate, text: str) -> str:
    return f"≈ {text}" if text and estimate.near else text or "not measured"


def say_what_is_left_out(members: Sequence[Member]) -> None:
    over = [member for member in members if member.over]
    for state, words in (("done", "done already"), ("failed", "failed before and are not tried again")):
        ids = [
            member.run_id
            for member in over
            if (member.before and member.before.status == "done") == (state == "done")
        ]
        if ids:
            names = ", ".join(ids[:4]) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")
            verb = "" if state == "failed" else "is " if len(ids) == 1 else "are "
            say(f"{len(ids)} of {len(members)} runs {verb}{words} ({names}).")
    trials = [
        member for member in over if member.before and member.before.is_trial and not member.spec.tuning
    ]
    if trials:
        say(
            f"{len(trials)} of them were trials of a search: `petbench report` leaves them out. Give other seeds."
        )
    say_skips(members)


def say_skips(members: Sequence[Member]) -> None:
    """Print each reason why members are impossible once, with their number."""
    by_reason: dict[str, list[Member]] = {}
    for member in members:
        if member.skipped:
            by_reason.setdefault(member.skipped, []).append(member)
    for reason, some in by_reason.items():
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        say(f"skipped: {some[0].label}{more}: {reason}")
