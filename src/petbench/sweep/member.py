"""Run one member of a sweep, in the process that the launcher chose for it."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from petbench.compose.hydra import plain_values
from petbench.config.spec import RunSpec
from petbench.console import member_of_sweep, out, say
from petbench.errors import RunError, UserError
from petbench.record.units import score
from petbench.training.claim import Busy
from petbench.training.lanes.lane import current
from petbench.training.plan import spec_from
from petbench.training.prepare import prepare
from petbench.training.run import note_failure, run


def member_job(cfg: DictConfig, since: float | None = None) -> float | None:
    """Run one member. A failure is recorded and does not stop the other members.

    since: when the sweep began (see `run`); None for a search, which has no bar. Returns the score on the selection
    rows, which a sweeper may optimise without using the report rows.
    """
    try:
        spec = spec_from(plain_values(cfg))
    except UserError as error:
        say(f"failed: {error}")
        return None
    # On a terminal the sweep's bar shows the progress of each run; in a log every line carries the run's label.
    bar_shows_it = since is not None and out.is_terminal and spec.trainer.progress == "auto"
    with member_of_sweep(_label(spec), silent=bar_shows_it):
        return _run(spec, since)


def _run(spec: RunSpec, since: float | None) -> float | None:
    prepared = None
    try:
        prepared = prepare(spec)
        record = run(prepared, group=_group(), since=since, way=current())
    except Busy as error:
        say(str(error))  # not a failure: another process trains the run, and the sweep waits for it
        return None
    except (UserError, RunError) as error:
        say(f"failed: {error}")
        if prepared is not None and isinstance(error, UserError):
            note_failure(prepared, str(error))
        return None
    if record.status == "paused":
        say(f"{record.run_id} {record.reason}: selection {score(record.curve[-1].score)}")
    if record.headline is None:
        return None
    trial = spec.tuning is not None and spec.tuning.role != "final"  # a trial shows no score of report rows
    name, value = record.headline.name.replace("_", " "), record.headline.value
    if trial and record.selection_score is not None:
        value = record.selection_score
    say(f"{record.run_id} done: {'selection ' if trial else ''}{name} {score(value)}")
    return record.selection_score


def _label(spec: RunSpec) -> str:
    return f"{spec.adapter.label} {spec.task.name} {spec.model.label} seed {spec.seed}"


def _group() -> str:
    """The W&B group of the members: the name of the sweep's preset, otherwise the time when the sweep began."""
    config = HydraConfig.get()
    return str(config.runtime.choices.get("sweep") or Path(config.sweep.dir).name)
