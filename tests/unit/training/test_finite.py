"""NaN and infinity never become an answer: trained values, and logits read in every way."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from petbench.config.sections import TaskSpec
from petbench.errors import Diverged
from petbench.inference.ask import Answerer, head_answerer, replies, scoring_answerer, writing_answerer
from petbench.models.load import load, resolve_form
from petbench.tasks.encode.encode import Encoded, encode, target_ids
from petbench.tasks.glue import task_named
from petbench.tasks.splits import Split
from petbench.tasks.wording import wording_of
from petbench.training.finite import LARGEST, finite
from tiny_models import _spec


@pytest.mark.parametrize(
    ("value", "good"),
    [(0.0, True), (-1e18, True), (LARGEST / 2, True), (2 * LARGEST, False), (-1e30, False), (math.inf, False),
     (-math.inf, False), (math.nan, False)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_one_bad_entry_of_one_tensor_is_enough(value: float, good: bool, dtype: torch.dtype) -> None:
    tensors = [torch.zeros(3, 2, dtype=dtype), torch.ones(4, dtype=dtype), torch.zeros(0)]
    tensors[1][2] = value
    assert finite(tensors) == good
    assert finite([nn.Parameter(tensor) for tensor in tensors]) == good


def test_nothing_trained_is_finite() -> None:
    assert finite([])


ROWS = Split(
    "x", [0, 1, 2, 3], {"sentence1": ["a b", "c", "d e", "f"], "sentence2": ["g", "h", "i j k", "l"]}, None
)
# Family, task, how it answers.
WAYS = [
    *[(model, task, "head") for model in ("tiny_bert", "tiny_gpt2", "tiny_llama") for task in ("rte", "stsb")],
    *[("tiny_t5", task, way) for task in ("rte", "stsb") for way in ("score", "write")],
    *[("tiny_t5_gated", "rte", way) for way in ("score", "write")],
]  # fmt: skip


def asked(model: str, name: str, way: str) -> tuple[Any, Encoded, Answerer, int]:
    """A fresh tiny model, four rows and the way to read its answers."""
    spec, task = _spec(model), task_named(name)
    task_spec = TaskSpec(name=name)
    form = resolve_form(spec, "auto")
    made = load(spec, form, task.num_labels, task.regression, 0)
    encoded = encode(ROWS, task, task_spec, form, made.tokenizer)
    if way == "head":
        return (
            made.model,
            encoded,
            head_answerer(task.regression, made.layout.head_modules),
            made.tokenizer.pad_token_id,
        )
    wording = wording_of(task_spec)
    labels = target_ids(wording, made.tokenizer)
    answerer = (
        scoring_answerer(labels, wording.values)
        if way == "score"
        else writing_answerer(made.tokenizer, wording.parse, max(map(len, labels)))
    )
    return made.model, encoded, answerer, made.tokenizer.pad_token_id


def spoilt(value: float) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """A hook on the output layer that spoils one logit of every token of the first row that it sees, once."""
    over: list[bool] = []

    def spoil(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        if over or not len(output):  # scoring calls the layer on no rows first: see `decode._kept_from`
            return output
        over.append(True)
        output = output.clone()
        output[0, ..., 0] = value
        return output

    return spoil


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("model", "task", "way"), WAYS)
def test_a_row_with_a_logit_that_is_not_finite_has_no_answer(
    model: str, task: str, way: str, value: float
) -> None:
    made, encoded, answerer, pad = asked(model, task, way)
    place = Accelerator(cpu=True)
    assert len(replies(place, made, encoded, answerer, 2, pad)) == 4
    name = next(n for n in ("lm_head", "classifier", "score") if hasattr(made, n))
    getattr(made, name).register_forward_hook(spoilt(value))
    with pytest.raises(Diverged, match=r"^the logits of 1 of 4 rows are NaN or infinite$"):
        replies(place, made, encoded, answerer, 2, pad)
