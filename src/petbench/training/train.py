"""One run with weights in memory, in five verbs: open, fit, measure, record, close."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from petbench.errors import Diverged, Paused
from petbench.machine.clock import reset_peak_memory
from petbench.record import Record, Status, write_record
from petbench.tracking.log import Fanout, Tracker, open_tracker
from petbench.tracking.pictures import send_pictures
from petbench.training.claim import Claim
from petbench.training.fit import Fit
from petbench.training.measure import measure
from petbench.training.outcome import Outcome, finished_record, write_predictions
from petbench.training.prepare import Prepared
from petbench.training.scoring import Scorer
from petbench.training.session import Session, Solo, close_session
from petbench.training.told import send_adapter, settings_of, tell
from petbench.tuned.checkpoint import publish, save_adapter


def train_and_score(
    prepared: Prepared, claim: Claim | None, *, group: str | None, started: float, way: Solo
) -> Record:
    """Train a prepared run to its end. started: when it began, in seconds of `way.now`.

    The record is written after everything else that a run leaves behind, and then its resume state is deleted.
    claim: held by the main process, None in others. Raises Busy when another process took the run over, and Paused
    where the sweep of a trial compares it with the others.
    """
    session = way.open(prepared, claim)
    scorer = Scorer(session)
    fit = Fit(session, scorer)
    load_seconds = session.now() - started
    reset_peak_memory(session.accelerator.device)
    resumed = fit.resume()
    processes = session.accelerator.num_processes
    if processes > 1 and _drops(session.tuned.model):
        fit.note(
            f"{processes} processes draw dropout masks of their own, so values differ from those of one process"
        )
    tracker = _tracker(session, group, resumed)
    status: Status = "failed"
    try:
        state = fit.run(tracker)
        outcome = measure(session, fit, scorer, state, load_seconds)
        record = _record(session, outcome, tracker)
        status = record.status
    except (KeyboardInterrupt, SystemExit):  # SystemExit: the scheduler queues the run again
        status = "interrupted"
        raise
    except Diverged:
        status = "diverged"
        raise
    except Paused:
        status = "paused"
        raise
    finally:
        tracker.finish(status)
        close_session(session, done=status == "done")
    return record


def _record(session: Session, outcome: Outcome, tracker: Tracker) -> Record:
    """Write the adapter, the answers and, last, the record; tell the tracker the same numbers."""
    prepared, spec, main = session.prepared, session.spec, session.accelerator.is_main_process
    adapter: tuple[int, str | None] = (0, None)  # bytes and SHA-256; only the main process writes the adapter
    session.require_claim()
    if main:
        facts = {
            "form": session.backbone.form,
            "task": session.task.name,
            "backbone_digest": session.backbone.digest,
            "content": prepared.content.values(),
            "run_id": prepared.run_id,
        }
        adapter = save_adapter(prepared.folder / "adapter", spec, outcome.state, facts)
        write_predictions(prepared, outcome)
    date = datetime.now(UTC).replace(microsecond=0)
    record = finished_record(prepared, outcome, adapter, date, tracker.reference())
    tell(tracker, record)
    if record.headline is not None and main and (spec.logger.name == "wandb" or spec.logger.pictures):
        answered = outcome.scored[f"report/{record.headline.split}"]
        labels = answered.rows.labels or ()
        tracker.answers(session.task.labels, answered.rows.idx, labels, answered.answers)
        classes, answers, always = session.task.labels, answered.answers, spec.logger.pictures
        send_pictures(tracker, record, prepared.folder, classes, labels, answers, always)
    if spec.logger.artifact and main:
        with TemporaryDirectory() as public:
            publish(prepared.folder / "adapter", Path(public))
            send_adapter(tracker, record, settings_of(prepared), Path(public))
    session.require_claim()
    if main:
        write_record(record, spec.results_dir)
    return record


def _tracker(session: Session, group: str | None, resumed: bool) -> Tracker:
    """The run's log; only the main process keeps one."""
    if not session.accelerator.is_main_process:
        return Fanout([])
    prepared, spec = session.prepared, session.spec
    return open_tracker(
        spec.logger,
        prepared.folder,
        prepared.run_id,
        settings_of(prepared),
        tags=(spec.adapter.label, spec.task.name, spec.model.label),
        group=group,
        job_type="trial" if spec.tuning is not None and spec.tuning.role != "final" else "train",
        name=f"{spec.adapter.label}-{spec.task.name}-{spec.model.label}-s{spec.seed}",
        resume=resumed,
    )


def _drops(model: nn.Module) -> bool:
    """Whether a model uses dropout while it trains."""
    own = any(isinstance(part, nn.Dropout) and part.p > 0 for part in model.modules())
    rates = (value for name, value in vars(getattr(model, "config", model)).items() if "drop" in name)
    return own or any(isinstance(rate, float) and rate > 0 for rate in rates)
