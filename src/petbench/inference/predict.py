"""Predict: a finished run labels new text."""

from petbench.inference.ask import Answer, answerer_of, replies
from petbench.machine.accelerator import accelerator_for
from petbench.tasks.encode.encode import encode, warn_of_cuts
from petbench.tasks.splits import Split
from petbench.tuned.load import Loaded


def predict(loaded: Loaded, rows: Split, *, device: str = "auto", batch_size: int | None = None) -> list[str]:
    """The label name of every row, in order; STS-B: a number. Empty where a written answer is no label.

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
    found = replies(accelerator, model, encoded, answerer, size, tokenizer.pad_token_id)
    return [_shown(reply.answer, loaded.task.labels) for reply in found]


def _shown(answer: Answer, labels: tuple[str, ...]) -> str:
    if answer is None:
        return ""
    return labels[int(answer)] if labels else f"{answer:.3f}"
