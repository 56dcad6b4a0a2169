"""One member of a sweep, in whatever process the launcher chose."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from petbench.adapters.registry import spec_of
from petbench.compose.hydra import plain_values
from petbench.config.spec import parse
from petbench.console import say
from petbench.errors import RunError, UserError
from petbench.training.claim import Busy
from petbench.training.prepare import prepare
from petbench.training.run import note_failure, run


def member_job(cfg: DictConfig, since: float | None = None) -> float | None:
    """One member, in whatever process the launcher chose. A failure is recorded and does not stop the rest.

    since: when the sweep began (see `run`). Returns the score on the selection rows: what a sweeper may optimise
    without touching the report rows.
    """
    prepared = None
    try:
        prepared = prepare(parse(plain_values(cfg), spec_of))
        record = run(prepared, group=_group(), since=since)
    except Busy as error:
        say(str(error))  # no failure: the sweep waits for it
        return None
    except (UserError, RunError) as error:
        say(f"failed: {error}")
        if prepared is not None and isinstance(error, UserError):
            note_failure(prepared, str(error))
        return None
    if record.headline is None:
        return None
    name, value = record.headline.name, record.headline.value
    say(f"{record.run_id}  {record.adapter} {record.task} seed {record.seed}: {name} {value:.4f}")
    return record.selection_score


def _group() -> str:
    """What holds the members together in W&B: the preset's name, else the time the sweep began."""
    config = HydraConfig.get()
    return str(config.runtime.choices.get("sweep") or Path(config.sweep.dir).name)
