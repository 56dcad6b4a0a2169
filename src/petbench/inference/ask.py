"""Ask a model: its answers on encoded rows, by a head or as text."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from petbench.config.spec import RunSpec
from petbench.config.task import Task
from petbench.errors import Diverged
from petbench.inference.label_tree import label_scores, written_answers
from petbench.models.load import Form
from petbench.models.precision import in_float32
from petbench.tasks.encode.encode import Encoded, collate, target_ids
from petbench.tasks.wording import wording_of

Answer = int | float | None  # None: a written answer that is not a label


class Reply(NamedTuple):
    """What a model says of one row: its answer, and a score for every class."""

    answer: Answer  # NaN where the row's logits are not all finite
    odds: tuple[
        float, ...
    ] = ()  # logits of a head, log-likelihoods of label strings; empty for a number or a written answer


Answerer = Callable[[Any, dict[str, Tensor]], list[Reply]]  # (model, batch) -> one reply a row


def head_answerer(
    regression: bool, heads: Sequence[str], scale: tuple[float, float] = (0.0, 1.0)
) -> Answerer:
    """Answers of a head: the class with the highest logit or, for a regression, first + second · output in the label's
    units, where scale = (first, second). The modules named in `heads` compute in float32."""
    first, second = scale

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Reply]:
        with in_float32(model, heads):
            logits = model(**batch).logits.float()
        finite = logits.isfinite().all(-1)
        if regression:
            return _replies(finite, [first + second * value for value in logits.squeeze(-1).tolist()], None)
        return _replies(finite, logits.argmax(-1).tolist(), logits)

    return answer


def scoring_answerer(labels: Sequence[Sequence[int]], values: Sequence[int | float]) -> Answerer:
    """Answers by scoring: the label string with the highest likelihood, computed exactly; always a legal label."""

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Reply]:
        scores = label_scores(model, batch, labels)
        chosen = [values[index] for index in scores.argmax(-1).tolist()]
        # The strings of a regression are points of a grid: only the chosen number counts.
        odds = scores if all(isinstance(value, int) for value in values) else None
        return _replies(scores.isfinite().all(-1), chosen, odds)

    return answer


def writing_answerer(
    tokenizer: Any, parse: Callable[[str], int | float | None], max_new_tokens: int
) -> Answerer:
    """Answers by writing: what the model writes, greedily, read by `parse`."""

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Reply]:
        texts, finite = written_answers(model, batch, tokenizer, max_new_tokens)
        return _replies(finite, [parse(text) for text in texts], None)

    return answer


def _replies(finite: Tensor, answers: Sequence[Answer], odds: Tensor | None) -> list[Reply]:
    """One reply a row, with NaN where the logits are NaN or infinite. finite: (rows); odds: (rows, classes)."""
    held = [()] * len(answers) if odds is None else map(tuple, odds.tolist())
    rows = zip(answers, finite.tolist(), held, strict=True)
    return [Reply(answer if good else math.nan, odds) for answer, good, odds in rows]


@torch.no_grad()
def replies(
    accelerator: Accelerator, model: Any, encoded: Encoded, answerer: Answerer, batch_size: int, pad_id: int
) -> list[Reply]:
    """One reply a row, in the rows' order. Rows of similar length share a batch; processes share the batches.

    Raises Diverged, in every process, when the logits of any row are not finite.
    """
    model.eval()
    by_length = sorted(range(len(encoded)), key=lambda row: encoded.lengths[row])
    batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    # The wrapper that autocasts `forward` stays: removing it would change the training that continues.
    plain = accelerator.unwrap_model(model)
    found: list[tuple[int, Reply]] = []
    for rows in batches[accelerator.process_index :: accelerator.num_processes]:
        batch = {
            k: v.to(accelerator.device) for k, v in collate(encoded, rows, pad_id).items() if k != "labels"
        }
        with accelerator.autocast():
            found += zip(rows, answerer(plain, batch), strict=True)
    if accelerator.num_processes > 1:
        found = gather_object(found)
    by_row = dict(found)
    said = [reply.answer for reply in by_row.values()]
    if wrong := sum(answer is not None and math.isnan(answer) for answer in said):
        raise Diverged(f"the logits of {wrong} of {len(encoded)} rows are NaN or infinite")
    return [by_row[row] for row in range(len(encoded))]


def reads_literally(spec: RunSpec) -> bool:
    """Whether written STS-B answers are read and counted as in the Compacter code, as its protocol says."""
    return spec.protocol.name == "compacter"


def answerer_of(spec: RunSpec, task: Task, form: Form, tokenizer: Any, heads: Sequence[str]) -> Answerer:
    """How a run's model answers: by its head (`heads` names its modules), by the likeliest label string, or by
    what it writes."""
    if form == "head":
        return head_answerer(task.regression, heads, task.units)
    wording = wording_of(spec.task)
    labels = target_ids(wording, tokenizer)
    if spec.eval.decode == "score":
        return scoring_answerer(labels, wording.values)
    parse = wording.parse_literally if reads_literally(spec) else wording.parse
    return writing_answerer(tokenizer, parse, max(map(len, labels)))
