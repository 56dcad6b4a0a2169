"""Evaluate: a model's answers on encoded rows, by a head or as text."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from petbench.decode import label_scores, written_answers
from petbench.models.precision import in_float32
from petbench.tasks.encode import Encoded, collate

Answer = int | float | None  # None: a written answer that is no label
Answerer = Callable[[Any, dict[str, Tensor]], list[Answer]]


def head_answerer(regression: bool, heads: Sequence[str]) -> Answerer:
    """Class with the highest logit, or the head's number; the modules named in `heads` compute in float32."""

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Answer]:
        with in_float32(model, heads):
            logits = model(**batch).logits.float()
        return list((logits.squeeze(-1) if regression else logits.argmax(-1)).tolist())

    return answer


def scoring_answerer(labels: Sequence[Sequence[int]], values: Sequence[int | float]) -> Answerer:
    """The label string with the highest likelihood: exact, always a legal label."""

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Answer]:
        best = label_scores(model, batch, labels).argmax(-1).tolist()
        return [values[index] for index in best]

    return answer


def writing_answerer(
    tokenizer: Any, parse: Callable[[str], int | float | None], max_new_tokens: int
) -> Answerer:
    """What the model writes, greedily, read by `parse`."""

    def answer(model: Any, batch: dict[str, Tensor]) -> list[Answer]:
        return [parse(text) for text in written_answers(model, batch, tokenizer, max_new_tokens)]

    return answer


@torch.no_grad()
def answers(
    accelerator: Accelerator, model: Any, encoded: Encoded, answerer: Answerer, batch_size: int, pad_id: int
) -> list[Answer]:
    """One answer a row, in the rows' order. Rows of like length share a batch; processes share the batches."""
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
    return [by_row[row] for row in range(len(encoded))]
