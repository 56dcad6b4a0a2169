"""Pause: where a trial of `sweep=tuned pruner=halving` stops, so that its sweep can compare it with the others."""

from petbench.config.sections import TuningNote
from petbench.errors import Paused
from petbench.training.resume import Progress


def pause(note: TuningNote | None, progress: Progress, total_steps: int) -> None:
    """Raise Paused for a trial that has an evaluation from the share of its steps on that `TuningNote.pause` names.

    Only at evaluations that the run makes anyway: one more could choose another checkpoint.
    """
    share = None if note is None else note.pause
    if share is None or progress.step == total_steps:
        return
    if any(point["step"] >= share * total_steps for point in progress.curve):
        raise Paused(f"paused at step {progress.step} of {total_steps}", progress.curve)


def stays_paused(note: TuningNote | None) -> bool:
    """Whether a trial that is paused is where this call wants it; another call lets it go on."""
    return note is not None and note.pause is not None
