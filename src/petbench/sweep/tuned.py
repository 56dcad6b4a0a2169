"""Run a tuned sweep: trials of every cell, then final runs with the settings that the selection rows chose."""

from collections.abc import Sequence

from petbench.compose.expand import Composed, recompose
from petbench.console import say, warn
from petbench.errors import UserError
from petbench.record import write_record
from petbench.record.units import measured, seconds, whole
from petbench.sweep.members import Member, as_planned
from petbench.sweep.sweep import Start, sweep
from petbench.sweep.trials import (
    Chosen,
    Trial,
    as_overrides,
    better,
    choose,
    cost_of,
    pruner,
    tuned_cells,
)
from petbench.training.prepare import prepare


def run_tuned(composed: Sequence[Composed], start: Start, config_dir: str | None) -> list[Member]:
    """Run the trials of all cells, then the final runs with the chosen settings. Returns the members of both.

    Raises UserError when no cell has a trial that is possible.
    """

    cells, trials, left_out = [], [], []
    for cell in tuned_cells(composed):
        try:
            trials.append(cell.trials(as_planned))
            cells.append(cell)
        except UserError as error:
            left_out.append(f"{cell.name}: {error}")
    if not cells:
        raise UserError("\n".join(left_out))
    say("\n".join([*(f"skipped: {line}" for line in left_out), f"Trials of {len(cells)} methods and tasks:"]))
    halving = pruner(composed[0].values) == "halving"
    first = [t.pausing if halving else t.overrides for some in trials for t in some]
    ran = sweep(recompose(first, config_dir), start)
    if any(member.spec.plan for member in ran):
        say(
            f"Then {sum(len(cell.seeds) for cell in cells)} final runs of the settings that the trials choose."
        )
        return ran
    if halving:
        ran += _go_on(ran, trials, start, config_dir)
    found = {member.composed.overrides: member.record for member in ran}
    finals: list[tuple[str, ...]] = []
    for cell, some in zip(cells, trials, strict=True):
        ended = [found.get(trial.overrides) or found.get(trial.pausing) for trial in some]
        if stopped := sum(record is not None and record.status == "interrupted" for record in ended):
            warn(
                f"{cell.name}: {stopped} of {len(some)} trials were stopped, so no setting is chosen yet. "
                "The same command goes on with them."
            )
            continue
        chosen = choose(some, ended)
        if chosen is None:
            warn(f"{cell.name}: no trial finished, so no setting is chosen.")
            continue
        say(f"chosen: {cell.name}: {_in_words(chosen)}")
        finals += cell.finals(chosen)
    if not finals:
        return ran
    ran += (last := sweep(recompose(finals, config_dir), start))
    for final in last:
        _note_tuning(final)
    return ran


def _go_on(
    paused: Sequence[Member], trials: Sequence[Sequence[Trial]], start: Start, config_dir: str | None
) -> list[Member]:
    """Train the better trials of every cell from where they paused to their ends; returns these members."""
    found = {member.composed.overrides: member for member in paused}
    going: list[Trial] = []
    for some in trials:
        own = [found.get(trial.pausing) for trial in some]
        known = next(member for member in own if member is not None)
        steps = prepare(known.spec).steps
        going += better(some, [None if member is None else member.record for member in own], steps)
    say(
        f"{len(going)} of {sum(map(len, trials))} trials go on: the better third of every method and task, and equals "
        "of its last."
    )
    return sweep(recompose([trial.overrides for trial in going], config_dir), start)


def _in_words(chosen: Chosen) -> str:
    setting = " ".join(override.lstrip("+") for override in as_overrides(chosen.setting))
    steps, took = cost_of(chosen.records)
    cost = f"{chosen.runs} trials, {whole(steps)} steps, {seconds(took)}"
    return f"{setting} (selection {measured(chosen.score)}, {cost})"


def _note_tuning(member: Member) -> None:
    """Add the cost of tuning to the record of a final run that an earlier, ordinary sweep had already trained."""
    record, note = member.record, member.spec.tuning
    if record is None or record.status != "done" or note is None:
        return
    if record.provenance.tuning != note:
        say(f"{record.run_id} was done before; its record now carries the cost of tuning.")
        provenance = record.provenance.model_copy(update={"tuning": note})
        write_record(record.model_copy(update={"provenance": provenance}), member.spec.results_dir)
