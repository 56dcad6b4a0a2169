"""A session: one run with its weights in memory, opened for training and closed again."""

import os
import time
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from petbench.config.spec import RunSpec
from petbench.config.task import Task
from petbench.console import say, warn
from petbench.inference.ask import Answerer
from petbench.machine.accelerator import accelerator_for
from petbench.machine.clock import StepClock
from petbench.machine.devices import require_threads
from petbench.machine.gpus import present, unseen
from petbench.models.checkpointing import enable_checkpointing
from petbench.models.checks import check_first_rows
from petbench.models.load import Backbone
from petbench.training.claim import Claim
from petbench.training.prepare import Prepared
from petbench.training.resume import drop_resume
from petbench.tuned.attach import Tuned
from petbench.tuned.checkpoint import adapter_folder
from petbench.tuned.content import content_of, refuse_another
from petbench.tuned.held import hold_frozen
from petbench.tuned.load import load_and_attach
from petbench.tuned.start import start_from


@dataclass(frozen=True)
class Together:
    """How a run trained: with how many others (itself counted) in one pass, and the share of the passes' tokens that
    was padding between them."""

    lanes: int = 1
    padding: float | None = None


ALONE = Together()


@dataclass(frozen=True)
class Session:
    """What fitting, measuring and recording a run have in common.

    What a run in a group of lanes (`petbench.training.lanes`) has otherwise is asked of the session: who answers, what
    time it is, when to save.
    """

    prepared: Prepared
    accelerator: Accelerator
    precision: str  # the one that is used, never `auto`
    backbone: Backbone
    tuned: Tuned
    model: Any  # the tuned model as Accelerate wraps it: on the device, autocast as the precision says
    claim: Claim | None = None  # on the run's folder, held by the main process; None in others

    def require_claim(self) -> None:
        """Raise Busy when another process took the run over: only that process may write from here on."""
        if self.claim is not None:
            self.claim.require()

    @property
    def spec(self) -> RunSpec:
        return self.prepared.spec

    @property
    def task(self) -> Task:
        return self.prepared.plan.task

    @property
    def pad_id(self) -> int:
        """The token that fills short rows of a batch."""
        pad_id: int = self.backbone.tokenizer.pad_token_id
        return pad_id

    def answerer(self, own: Answerer) -> Answerer:
        """Who answers a batch; own: this run's model by itself."""
        return own

    def now(self) -> float:
        """Seconds of a clock that counts what this run costs."""
        return time.perf_counter()

    def step_clock(self, earlier: list[float] | None = None) -> StepClock:
        """A clock of this run's training steps; earlier: seconds of those before a stop."""
        return StepClock(self.accelerator.device, earlier)

    def saves(self, is_time: bool) -> bool:
        """Whether the resume state is written between two evaluations; is_time: the last one is old enough."""
        return is_time

    @property
    def captures(self) -> bool:
        """Whether the passes of training become CUDA graphs."""
        trainer, one = self.spec.trainer, self.accelerator.num_processes == 1
        wanted = trainer.cuda_graph == "auto" and self.accelerator.device.type == "cuda"
        return wanted and one and not trainer.gradient_checkpointing

    @property
    def together(self) -> Together:
        """How the run trained."""
        return ALONE


def open_session(prepared: Prepared, claim: Claim | None = None) -> Session:
    """Load the backbone and put the method on it, on the run's device. Raises UserError where files do not fit."""
    spec = prepared.spec
    require_threads(spec.trainer)
    accelerator, precision = accelerator_for(spec.trainer, spec.trainer.device)
    if note := unseen(spec.trainer.device, accelerator.device.type, present(), os.environ):
        warn(note)
    backbone, tuned = load_and_attach(spec, prepared.plan.task)
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
    if precision == "bf16":
        hold_frozen(tuned.model)
    # In evaluation mode Accelerate leaves processes apart: `processes.averaged` joins them stage by stage.
    model = accelerator.prepare_model(tuned.model, evaluation_mode=True)
    for note in backbone.notes:
        say(note)
    check_first_rows(spec.model, prepared.rows.train, backbone.tokenizer)
    return Session(prepared, accelerator, precision, backbone, tuned, model, claim)


class Solo:
    """The usual way of a run: weights of its own, and all the time that passes is its."""

    def open(self, prepared: Prepared, claim: Claim | None) -> Session:
        """As `open_session`."""
        return open_session(prepared, claim)

    def now(self) -> float:
        """Seconds of a performance counter."""
        return time.perf_counter()


SOLO = Solo()


def close_session(session: Session, done: bool) -> None:
    """Free the memory, and delete a finished run's resume state unless `trainer.keep_resume_state`."""
    session.accelerator.free_memory()
    if done and session.accelerator.is_main_process and not session.spec.trainer.keep_resume_state:
        drop_resume(session.prepared.folder)
