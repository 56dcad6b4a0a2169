"""Predict: a finished run labels new text."""

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from petbench.inference.ask import Answer, answerer_of, answers
from petbench.machine.devices import choose_device, choose_precision, prepare_process
from petbench.tasks.encode.encode import encode, warn_of_cuts
from petbench.tasks.splits import Split
from petbench.tuned.load import Loaded


def predict(loaded: Loaded, rows: Split, *, device: str = "auto", batch_size: int | None = None) -> list[str]:
    """The label name of every row, in order; STS-B: a number. Empty where a written answer is no label.

    The run's own precision, wording and way of answering (`eval.decode`) are used. `batch_size`: rows at
    once, by default the run's `trainer.eval_batch_size`.
    """
    spec, tokenizer = loaded.spec, loaded.tokenizer
    prepare_process(spec.trainer)
    place = choose_device(device)
    precision = choose_precision(spec.trainer.precision, place)
    AcceleratorState._reset_state(reset_partial_state=True)  # another run of this process may have differed
    accelerator = Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no", cpu=place.type == "cpu"
    )
    model = loaded.tuned.model.to(accelerator.device)
    encoded = encode(rows, loaded.task, spec.task, loaded.form, tokenizer, spec.cache_dir)
    warn_of_cuts(encoded, "new rows", spec.task.max_length)
    heads = loaded.tuned.layout.head_modules
    answerer = answerer_of(spec, loaded.task, loaded.form, tokenizer, heads)
    size = batch_size or spec.trainer.eval_batch_size
    found = answers(accelerator, model, encoded, answerer, size, tokenizer.pad_token_id)
    return [_shown(answer, loaded.task.labels) for answer in found]


def _shown(answer: Answer, labels: tuple[str, ...]) -> str:
    if answer is None:
        return ""
    return labels[int(answer)] if labels else f"{answer:.3f}"
