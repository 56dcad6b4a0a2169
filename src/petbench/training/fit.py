"""Fit: train through the method's stages, evaluate, keep the best values and the state to resume from."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from petbench.adapters.method import Stage
from petbench.console import say, warn
from petbench.errors import Diverged, RunError, TakeAgain
from petbench.machine import signals
from petbench.machine.seeds import derive_seed
from petbench.tracking.log import Tracker, drop_after
from petbench.tracking.wandb import SELECTION
from petbench.training.feed import Feed
from petbench.training.finite import finite
from petbench.training.graph import graphed
from petbench.training.guard import Guard
from petbench.training.loop import eager_pass, train
from petbench.training.optim import make_optimizer, make_schedule
from petbench.training.pause import pause
from petbench.training.processes import averaged
from petbench.training.resume import (
    BrokenState,
    Progress,
    drop_resume,
    load_resume,
    other_threads,
    require_same,
    save_resume,
)
from petbench.training.scoring import Scored, Scorer
from petbench.training.screen import RunScreen
from petbench.training.session import Session


class Fit:
    """Trains one run to its chosen values."""

    RESUME_EVERY_SECONDS = 60.0  # between evaluations, in long epochs

    def __init__(self, session: Session, scorer: Scorer) -> None:
        self.session, self.scorer = session, scorer
        self.prepared, self.spec = session.prepared, session.spec
        self.tuned, self.accelerator = session.tuned, session.accelerator
        rows = scorer.encode(self.prepared.rows.train)
        self.feed = Feed(self.spec, rows, session.pad_id, self.accelerator)
        self.steps_per_epoch = self.feed.steps_per_epoch
        self.total_steps = self.prepared.steps
        self.last_stage = len(self.tuned.stages()) - 1
        every = self.spec.trainer.eval_every
        self.eval_every = self.steps_per_epoch if every == "epoch" else every
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.chosen: Scored | None = None  # answers of the chosen values on the selection rows, where known
        self._last: Scored | None = None  # of the last evaluation
        self.clock, self.rate = session.step_clock(), self.spec.optim.lr  # rate: of the last step
        self._graded = -1  # the step whose gradients are complete: the optimiser may have begun it
        self._resumed: Any = None
        self._last_resume = time.monotonic()

    def resume(self) -> bool:
        """Restore the state of an interrupted run; False when there is none."""
        try:
            self._resumed = load_resume(self.prepared.folder)
        except BrokenState as error:
            warn(f"{error}. The run begins afresh.")
            drop_resume(self.prepared.folder)
        if self._resumed is None:
            return False
        require_same(self._resumed, self.prepared.folder, self.prepared.identity)
        self.progress = self._resumed.progress
        self.best = self._resumed.part("best")
        self.clock = self.session.step_clock(self.progress.step_seconds)
        self.tuned.load_state(self._resumed.part("trained"))
        self.feed.accumulation = self.progress.accumulation or self.feed.accumulation
        drop_after(self.prepared.folder, self.progress.step)
        say(f"{self.prepared.run_id}: going on from step {self.progress.step}.")
        for change in other_threads(self.progress):
            self.note(change)
        return True

    def note(self, change: str) -> None:
        """Warn of a deviation from the config, and keep it for the record."""
        if change not in self.progress.changes:
            self.progress.changes.append(change)
            warn(f"{self.prepared.run_id}: {change}.")

    def run(self, tracker: Tracker) -> dict[str, Tensor]:
        """Train through all stages; gives the values with the best selection score, or the last (trainer.select).
        Raises Paused where the sweep of a trial compares it with the others."""
        spec, progress = self.spec, self.progress
        pause(spec.tuning, progress, self.total_steps)  # a stopped run may stand there already
        title = f"{spec.adapter.label} on {spec.task.name}"
        screen = RunScreen(title, self.total_steps, progress.step, spec.trainer.progress)
        stages = self.tuned.stages()
        self.tuned.installed.start(self.total_steps)
        ends = [round(self.total_steps * sum(s.share for s in stages[: n + 1])) for n in range(len(stages))]
        torch.manual_seed(derive_seed(spec.seed, "dropout"))
        try:
            with signals.held():  # a signal does not cut a step: `_settle` stops between two
                for number in range(progress.stage, len(stages)):
                    start = ends[number - 1] if number else 0
                    self._train_stage(number, stages[number], start, ends[number], tracker, screen)
        finally:
            screen.close()
        if spec.trainer.select == "best" and self.best:
            return self.best
        self.chosen = self._last  # the last step is evaluated always
        progress.best_step, progress.best_epoch = progress.step, progress.step / self.steps_per_epoch
        progress.seconds_to_best = self.clock.total
        return self.tuned.state()

    def _train_stage(
        self, number: int, stage: Stage, start: int, stop: int, tracker: Tracker, screen: RunScreen
    ) -> None:
        """Take the steps of one stage that are left, from `start` or from where a stopped run stood."""
        spec, progress = self.spec, self.progress
        self.tuned.set_stage(stage)
        named = self.tuned.model.named_parameters()
        optimizer = make_optimizer(named, spec.optim, self.tuned.vector_names)
        schedule = make_schedule(optimizer, spec.optim, stop - start)
        if self._resumed is not None:
            self._resumed.restore(optimizer, schedule)
            self.tuned.installed.remember(self._resumed.part("memory"))
            self._resumed = None
        progress.stage = number
        if progress.due_loss is not None:  # the run was stopped during an evaluation
            self._settle(tracker, screen, optimizer, schedule)
        guard = Guard(self.tuned, stage, progress.step - start)
        rests = any(self.tuned.method.may_rest(self.tuned.spec, name) for name in self.tuned.names_in(stage))
        model = averaged(self.session.model, self.accelerator, rests)

        def on_gradients(loss: Tensor) -> None:
            self.rate, self._graded = optimizer.param_groups[0]["lr"], progress.step
            guard.gradients(loss, optimizer)

        go = graphed(self.session, eager_pass(self.accelerator, model, guard.loss), optimizer, self.note)
        going_on = partial(
            train, self.accelerator, model, optimizer, schedule, go=go, clip_norm=spec.trainer.clip_norm,
            clock=self.clock, on_gradients=on_gradients, after_step=self._after_step,
            on_step=self._observer(tracker, screen, optimizer, schedule),
        )  # fmt: skip
        while progress.step < stop:
            try:
                going_on(self.feed.batches(progress.step, stop))
                return
            except TakeAgain as error:
                self.note(f"step {progress.step + 1}: {error}")
                continue
            except torch.OutOfMemoryError as error:
                reason = str(error)
            # Outside the except block, whose error keeps the step's tensors in memory.
            self._halve_micro_batches(optimizer, reason)

    def _halve_micro_batches(self, optimizer: Any, reason: str) -> None:
        """After the device ran out of memory, let the step run again in twice as many micro-batches. Raises RunError
        where that cannot help: they are single rows, the optimiser had begun, other processes wait."""
        was, begun = self.feed.accumulation, self._graded == self.progress.step
        if begun or self.accelerator.num_processes > 1 or not self.feed.halve():
            raise RunError(
                f"out of memory with {was} micro-batches a step ({reason.splitlines()[0]}). Try a smaller "
                "trainer.batch_size or task.max_length, or trainer.gradient_checkpointing=true."
            )
        optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.progress.accumulation = self.feed.accumulation
        self.note(
            f"out of memory at step {self.progress.step + 1}: from there on {2 * was} micro-batches a step in place of "
            f"{was}, the same batch in smaller pieces"
        )

    def _after_step(self) -> None:
        self.progress.step += 1
        examples, tokens = self.feed.taken()
        self.progress.examples += examples
        self.progress.tokens += tokens
        self.tuned.installed.after_step(self.progress.step)

    def _observer(
        self, tracker: Tracker, screen: RunScreen, optimizer: Any, schedule: Any
    ) -> Callable[[Tensor], None]:
        progress, trainer = self.progress, self.spec.trainer

        def on_step(loss: Tensor) -> None:
            last = progress.step == self.total_steps
            due = progress.step % self.eval_every == 0 or last
            self.session.require_claim()  # before anything is written
            value = None
            if progress.step % trainer.log_every == 0 or due:
                value = self._checked(loss)
                epoch = progress.step / self.steps_per_epoch
                values = {"loss": value, "lr": schedule.get_last_lr()[0]}
                tracker.log(progress.step, values, epoch, self.clock.total)
            screen.step(progress.step, None if due else value)  # the evaluation's own line shows the loss
            if due:
                self._require_finite_values()
                progress.due_loss = value
            self._settle(tracker, screen, optimizer, schedule)

        return on_step

    def _settle(self, tracker: Tracker, screen: RunScreen, optimizer: Any, schedule: Any) -> None:
        """Between two steps: evaluate where it is due, save the state where it is time, stop where a signal asks.

        The state after the last step is saved too, since scoring and measuring may still be interrupted.
        """
        due = self.progress.due_loss
        try:
            signals.check()
            if due is not None:
                self._evaluate(tracker, screen, due)
        except (KeyboardInterrupt, SystemExit):
            self._keep(optimizer, schedule)
            say(
                f"{self.prepared.run_id}: stopped at step {self.progress.step}; the same command goes on there."
            )
            raise
        is_time = time.monotonic() - self._last_resume > self.RESUME_EVERY_SECONDS
        if due is not None or self.session.saves(is_time):
            self._keep(optimizer, schedule)
        if due is not None:
            pause(self.spec.tuning, self.progress, self.total_steps)

    def _checked(self, loss: Tensor) -> float:
        value = float(self.accelerator.reduce(loss, "mean"))  # over processes
        if not math.isfinite(value):
            start = max(1, self.progress.step - self.spec.trainer.log_every + 1)
            raise self.diverged(f"the loss became {value} between steps {start} and {self.progress.step}")
        self.progress.finite_step = self.progress.step - 1  # the loss is that of the values before the step
        return value

    def _require_finite_values(self) -> None:
        named = self.tuned.model.named_parameters()
        if not finite(p for name, p in named if name in self.tuned.trained_names):
            raise self.diverged("trained values became NaN or infinite")

    def diverged(self, what: str) -> Diverged:
        """The error for what is not finite, with the step, its learning rate and the last step that was finite."""
        return Diverged(
            f"{what} (step {self.progress.step}, learning rate {self.rate:g}; last finite at step "
            f"{self.progress.finite_step}). Try a smaller optim.lr than {self.spec.optim.lr:g}, or "
            "trainer.precision=fp32."
        )

    @contextmanager
    def naming_the_step(self) -> Iterator[None]:
        """Inside, the error for answers that are not finite also names the step."""
        try:
            yield
        except Diverged as error:
            raise self.diverged(str(error)) from error

    def _evaluate(self, tracker: Tracker, screen: RunScreen, loss: float) -> None:
        progress = self.progress
        began = self.session.now()
        with (
            self.naming_the_step(),
            signals.at_once(),
        ):  # scoring changes nothing: a signal may end it anywhere
            self._last = self.scorer.selection()
        scores = self._last.metrics
        progress.due_loss, progress.finite_step = None, progress.step
        progress.eval_seconds += self.session.now() - began
        name = self.session.task.headline
        epoch, seconds = progress.step / self.steps_per_epoch, self.clock.total
        # With several stages only the last counts: before it the method itself has not trained.
        better = progress.stage == self.last_stage and (
            progress.best_score is None or scores[name] > progress.best_score
        )
        if better:
            progress.best_score, progress.best_step, progress.best_epoch = scores[name], progress.step, epoch
            progress.seconds_to_best = seconds
            self.best, self.chosen = self.tuned.state(), self._last
        at = {"step": progress.step, "epoch": epoch, "seconds": seconds}
        progress.curve.append({**at, "loss": loss, "score": scores[name], "selection_loss": self._last.loss})
        shown = {f"selection/{key}": value for key, value in scores.items()} | {SELECTION: scores[name]}
        tracker.log(progress.step, shown, epoch, seconds)
        screen.evaluated(progress.step, epoch, loss, name, scores[name], better)

    def _keep(self, optimizer: Any, schedule: Any) -> None:
        """Write the resume state: the run can go on from here."""
        if not self.accelerator.is_main_process:
            return
        self.session.require_claim()
        self.progress.step_seconds = self.clock.seconds
        self.progress.threads = torch.get_num_threads()
        state, memory = self.tuned.state(), self.tuned.installed.memory()
        identity = self.prepared.identity
        save_resume(
            self.prepared.folder, self.progress, state, self.best, optimizer, schedule, memory, identity
        )
        self._last_resume = time.monotonic()
