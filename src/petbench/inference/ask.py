"""Evaluate: a model's answers on encoded rows, by a head or as text."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from petbench.config.spec import RunSpec
from petbench.errors import Diverged
from petbench.inference.label_tree import label_scores, written_answers
from petbench.models.load import Form
from petbench.models.precision import in_float32
from petbench.tasks.encode.encode import Encoded, collate, target_ids
from petbench.tasks.glue import Task
from petbench.tasks.wording import wording_of

if TYPE_CHECKING:
    pass


Answer = int | float | None  # None: a written answer that is no label


# From a model and a batch; NaN for a row whose logits are not all finite.
Answerer = Callable[[Any, dict[str, Tensor]], list[Answer]]


def head_answerer(regression: bool, heads: Sequence[str]) -> Answerer:
    """Class with the highest logit, or the head's number; the modules named in `heads` compute in float32."""

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Answer]:
        with in_float32(model, heads):
            logits = model(**batch).logits.float()
        chosen = logits.squeeze(-1) if regression else logits.argmax(-1)
        return _where(logits.isfinite().all(-1), chosen.tolist())

    return answer


def scoring_answerer(labels: Sequence[Sequence[int]], values: Sequence[int | float]) -> Answerer:
    """The label string with the highest likelihood: exact, always a legal label."""

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Answer]:
        scores = label_scores(model, batch, labels)
        return _where(scores.isfinite().all(-1), [values[index] for index in scores.argmax(-1).tolist()])

    return answer


def writing_answerer(
    tokenizer: Any, parse: Callable[[str], int | float | None], max_new_tokens: int
) -> Answerer:
    """What the model writes, greedily, read by `parse`."""

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Answer]:
        texts, finite = written_answers(model, batch, tokenizer, max_new_tokens)
        return _where(finite, [parse(text) for text in texts])

    return answer


def _where(finite: Tensor, answers: Sequence[Answer]) -> list[Answer]:
    """The answers, with NaN in place of those that came out of NaN or infinity. finite: (rows)."""
    return [answer if good else math.nan for answer, good in zip(answers, finite.tolist(), strict=True)]


@torch.no_grad()
def answers(
    accelerator: Accelerator, model: Any, encoded: Encoded, answerer: Answerer, batch_size: int, pad_id: int
) -> list[Answer]:
    """One answer a row, in the rows' order. Rows of like length share a batch; processes share the batches.

    Raises Diverged, in every process, when the logits of any row are not finite.
    """
    model.eval()
    by_length = sorted(range(len(encoded)), key=lambda row: encoded.lengths[row])
    batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    # The wrapper that autocasts `forward` stays: taking it off would change the training that goes on.
    plain = accelerator.unwrap_model(model)
    found: list[tuple[int, Answer]] = []
    for rows in batches[accelerator.process_index :: accelerator.num_processes]:
        batch = {
            k: v.to(accelerator.device) for k, v in collate(encoded, rows, pad_id).items() if k != "labels"
        }
        with accelerator.autocast():
            found += zip(rows, answerer(plain, batch), strict=True)
    if accelerator.num_processes > 1:
        found = gather_object(found)
    by_row = dict(found)
    if wrong := sum(answer is not None and math.isnan(answer) for answer in by_row.values()):
        raise Diverged(f"the logits of {wrong} of {len(encoded)} rows are NaN or infinite")
    return [by_row[row] for row in range(len(encoded))]


def reads_literally(spec: RunSpec) -> bool:
    """Whether written STS-B answers are read and counted as in the Compacter code, as its protocol says."""
    return spec.protocol.name == "compacter"


def answerer_of(spec: RunSpec, task: Task, form: Form, tokenizer: Any, heads: Sequence[str]) -> Answerer:
    """How a run's model answers: by its head (`heads` names its modules), by the likeliest label string, or by
    what it writes."""
    if form == "head":
        return head_answerer(task.regression, heads)
    wording = wording_of(spec.task)
    labels = target_ids(wording, tokenizer)
    if spec.eval.decode == "score":
        return scoring_answerer(labels, wording.values)
    parse = wording.parse_literally if reads_literally(spec) else wording.parse
    return writing_answerer(tokenizer, parse, max(map(len, labels)))
