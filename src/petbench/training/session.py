"""A session: the part of a run with weights in memory, from loading the backbone to the finished record."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from petbench.adapters.registry import method_named
from petbench.console import say
from petbench.errors import Diverged
from petbench.machine.clock import peak_memory_bytes, reset_peak_memory
from petbench.machine.devices import choose_device, choose_precision, prepare_process, require_threads
from petbench.machine.seeds import derive_seed
from petbench.measure.latency import tuned_latency
from petbench.measure.merge_effect import merge_effect
from petbench.models.checkpointing import enable_checkpointing
from petbench.models.checks import check_first_rows
from petbench.models.load import Backbone, load
from petbench.record import Record, Status, write_record
from petbench.tracking.log import Fanout, Tracker, open_tracker
from petbench.training.claim import Claim
from petbench.training.fit import Fit
from petbench.training.outcome import Outcome, finished_record, write_predictions
from petbench.training.prepare import Prepared
from petbench.training.resume import drop_resume
from petbench.training.scoring import Scorer
from petbench.tuned.attach import Tuned, attach
from petbench.tuned.checkpoint import adapter_folder, publish, save_adapter, start_from
from petbench.tuned.content import content_of, refuse_another


def train_and_score(prepared: Prepared, claim: Claim | None, *, group: str | None, started: float) -> Record:
    """Load, attach, train, evaluate, save the adapter, write the record, and only then drop the resume state.

    claim: what the main process holds; None in the others. Raises Busy when another took the run over.
    """
    spec = prepared.spec
    require_threads(spec.trainer)
    prepare_process(spec.trainer)
    device = choose_device(spec.trainer.device)
    precision = choose_precision(spec.trainer.precision, device)
    AcceleratorState._reset_state(reset_partial_state=True)  # another run of this process may have differed
    accelerator = Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no", cpu=device.type == "cpu"
    )
    backbone, tuned = build(prepared)
    model = accelerator.prepare(tuned.model)
    for note in backbone.notes:
        say(note)
    check_first_rows(spec.model, prepared.rows.train, backbone.tokenizer)
    scorer = Scorer(prepared, backbone, accelerator, model)
    fit = Fit(prepared, backbone, tuned, accelerator, model, scorer, claim)
    load_seconds = time.perf_counter() - started
    if prepared.splits.source == "toy":
        say("The rows are generated (data=toy): scores say nothing about GLUE.")
    reset_peak_memory(device)

    resumed = fit.resume()
    if accelerator.num_processes > 1 and drops(tuned.model):
        fit.note(
            f"{accelerator.num_processes} processes draw dropout apart, each for its own rows: values differ from "
            "those of one process (without dropout they do not)"
        )
    tracker = _tracker(prepared, group, resumed) if accelerator.is_main_process else Fanout([])
    status: Status = "failed"
    try:
        state = fit.run(tracker)
        peak = peak_memory_bytes(device)  # now: merging and measuring copy weights, which no training does
        tuned.load_state(state)
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # no autocast but where it is asked for
        with fit.naming_the_step():  # nothing is measured on a model that gives no numbers
            scored = scorer.report()
            merge = merge_effect(tuned, backbone, scorer.encoded(prepared.rows.selection), scorer.label_ids)
        with accelerator.autocast():
            latency_ms = tuned_latency(tuned)
        padding = scorer.padding_fraction
        adapter_bytes, adapter_sha256 = 0, None
        if claim is not None:
            claim.require()
        if accelerator.is_main_process:
            facts = {
                "form": backbone.form,
                "task": spec.task.name,
                "backbone_digest": backbone.digest,
                "content": prepared.content.values(),
                "run_id": prepared.run_id,
            }
            adapter_bytes, adapter_sha256 = save_adapter(prepared.folder / "adapter", spec, state, facts)
        outcome = Outcome(
            fit.progress,
            fit.clock,
            scored,
            merge,
            latency_ms,
            padding,
            load_seconds,
            peak,
            precision,
            adapter_bytes,
            adapter_sha256,
            scorer.cut_rows,
        )
        if accelerator.is_main_process:
            write_predictions(prepared, outcome, scorer.no_number)
        record = finished_record(prepared, backbone, tuned, outcome, device, tracker)
        if record.headline is not None and spec.logger.name == "wandb":
            from petbench.tracking.pictures import send_pictures  # only W&B shows them

            answered = scored[f"report/{record.headline.split}"]
            send_pictures(
                tracker,
                record,
                prepared.folder,
                prepared.plan.task.labels,
                answered.rows.labels or (),
                answered.answers,
            )
        if spec.logger.artifact and accelerator.is_main_process:
            with TemporaryDirectory() as public:
                publish(prepared.folder / "adapter", Path(public))
                tracker.artifact("adapter", Path(public))
        if claim is not None:
            claim.require()
        if accelerator.is_main_process:
            write_record(record, spec.results_dir)  # after everything else that a run leaves behind
        status = record.status
    except (KeyboardInterrupt, SystemExit):  # SystemExit: the scheduler queues the run again
        status = "interrupted"
        raise
    except Diverged:
        status = "diverged"
        raise
    finally:
        tracker.finish(status)
        accelerator.free_memory()
    if accelerator.is_main_process and not spec.trainer.keep_resume_state:
        drop_resume(prepared.folder)
    return record


def drops(model: nn.Module) -> bool:
    """Whether a model draws dropout while it trains."""
    own = any(isinstance(part, nn.Dropout) and part.p > 0 for part in model.modules())
    rates = (value for name, value in vars(getattr(model, "config", model)).items() if "drop" in name)
    return own or any(isinstance(rate, float) and rate > 0 for rate in rates)


def build(prepared: Prepared) -> tuple[Backbone, Tuned]:
    """The backbone with the method on it, every start value from the run's seed or from `init_from`."""
    spec, task = prepared.spec, prepared.plan.task
    head_seed = derive_seed(spec.seed, "head")
    backbone = load(spec.model, prepared.plan.form, task.num_labels, task.regression, head_seed, task)
    tuned = attach(
        backbone.model,
        method_named(spec.adapter.method),
        spec.adapter,
        backbone.layout,
        seed=derive_seed(spec.seed, "adapter"),
        new_modules=backbone.new_modules,
    )
    if spec.init_from:
        start_from(tuned, adapter_folder(spec.init_from, spec.results_dir), backbone.digest)
    refuse_another(
        "files of the run changed while it was starting (was → now)",
        prepared.content.values(),
        content_of(spec, prepared.content.facts.rows).values(),
        "Start it again.",
    )
    if spec.trainer.gradient_checkpointing:
        enable_checkpointing(backbone.model)
    return backbone, tuned


def _tracker(prepared: Prepared, group: str | None, resumed: bool) -> Tracker:
    spec = prepared.spec
    return open_tracker(
        spec.logger,
        prepared.folder,
        prepared.run_id,
        spec.canonical(),
        tags=(spec.adapter.label, spec.task.name, spec.model.label),
        group=group,
        job_type="trial" if spec.tuning is not None and spec.tuning.role == "trial" else "train",
        name=f"{spec.adapter.label}-{spec.task.name}-{spec.model.label}-s{spec.seed}",
        resume=resumed,
    )
