"""Predict: finished runs label new text, one run alone or several as an ensemble."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from petbench.errors import UserError
from petbench.inference.ask import Answer, answerer_of, replies
from petbench.machine.accelerator import accelerator_for
from petbench.tasks.encode.encode import encode, warn_of_cuts
from petbench.tasks.splits import Split
from petbench.tuned.load import Loaded


@dataclass(frozen=True)
class Predictions:
    """Answers on n rows. `odds`: (n, classes) logits, or log-likelihoods of label strings; None for numbers and written
    answers."""

    answers: list[Answer]
    odds: np.ndarray | None
    labels: tuple[str, ...]
    seconds: float  # of the forward passes, without loading

    @property
    def shown(self) -> list[str]:
        """The label name of every row, or its number; empty where a written answer is not a label."""
        return [_shown(answer, self.labels) for answer in self.answers]

    @property
    def probabilities(self) -> np.ndarray:
        """(n, classes), each row summing to 1. Raises UserError where the run gives none."""
        if self.odds is None:
            what = "a number" if not self.labels else "what it writes (eval.decode=generate)"
            raise UserError(f"this run answers with {what}, so it has no probabilities of classes.")
        above = np.exp(self.odds - self.odds.max(-1, keepdims=True))
        shares: np.ndarray = above / above.sum(-1, keepdims=True)
        return shares


def predict(
    loaded: Loaded, rows: Split, *, device: str = "auto", batch_size: int | None = None
) -> Predictions:
    """A run's answers on new rows, in their order.

    The run's own precision, wording and way of answering (`eval.decode`) are used. `batch_size`: rows at
    once, by default the run's `trainer.eval_batch_size`.
    """
    spec, tokenizer = loaded.spec, loaded.tokenizer
    accelerator, _ = accelerator_for(spec.trainer, device)
    model = loaded.tuned.model.to(accelerator.device)
    encoded = encode(rows, loaded.task, spec.task, loaded.backbone.form, tokenizer, spec.cache_dir)
    warn_of_cuts(encoded, "new rows", spec.task.max_length)
    heads = loaded.tuned.layout.head_modules
    answerer = answerer_of(spec, loaded.task, loaded.backbone.form, tokenizer, heads)
    size = batch_size or spec.trainer.eval_batch_size
    started = time.perf_counter()
    found = replies(accelerator, model, encoded, answerer, size, tokenizer.pad_token_id)
    seconds = time.perf_counter() - started
    odds = np.array([reply.odds for reply in found]) if found and found[0].odds else None
    return Predictions([reply.answer for reply in found], odds, loaded.task.labels, seconds)


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """The class with the highest mean logit over several runs, or the mean number.

    Raises UserError for written answers, which have no mean.
    """
    first, seconds = members[0], sum(member.seconds for member in members)
    if len(members) == 1:
        return first
    if not first.labels:
        columns = zip(*(member.answers for member in members), strict=True)
        numbers = [[math.nan if answer is None else float(answer) for answer in row] for row in columns]
        means: list[Answer] = [
            None if math.isnan(mean) else mean for mean in map(float, np.mean(numbers, -1))
        ]
        return Predictions(means, None, (), seconds)
    odds = [member.odds for member in members if member.odds is not None]
    if len(odds) < len(members):
        raise UserError(
            "a run that writes its answers (eval.decode=generate) has no logits to take the mean of."
        )
    mean = np.mean(odds, 0)
    return Predictions([int(code) for code in mean.argmax(-1)], mean, first.labels, seconds)


def _shown(answer: Answer, labels: tuple[str, ...]) -> str:
    if answer is None:
        return ""
    return labels[int(answer)] if labels else f"{answer:.3f}"
