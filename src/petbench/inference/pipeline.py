"""A finished run as a transformers pipeline, and its head in the label's own units."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from petbench.errors import UserError
from petbench.tuned.attach import Tuned
from petbench.tuned.load import Loaded, load_run


def pipeline(run: str | Path, results_dir: str | Path = "results", **options: Any) -> Any:
    """A `transformers` text-classification pipeline of a run with a head: label names, the run's tokenizer and length.

    A pair is {"text": …, "text_pair": …}; a number comes as the score, in the label's units. options: of
    `transformers.pipeline`, such as device or batch_size. Raises UserError for a run in text form.
    """
    import transformers  # transformers takes seconds

    make: Any = transformers.pipeline  # its overloads name the tasks one by one
    loaded = load_run(run, results_dir)
    if loaded.backbone.form != "head":
        raise UserError(
            f"{run} answers in text form, but a text-classification pipeline needs a head. Use `petbench predict`."
        )
    in_units(loaded)
    name_labels(loaded.tuned.model.config, loaded.task.labels)
    ways: dict[str, Any] = {"truncation": True, "max_length": loaded.spec.task.max_length}
    if loaded.task.regression:
        ways["function_to_apply"] = "none"
    return make(
        "text-classification", model=loaded.tuned.model, tokenizer=loaded.tokenizer, **ways, **options
    )


def name_labels(config: Any, names: tuple[str, ...]) -> None:
    """Give a model's config the task's label names, as transformers' pipelines show them."""
    if names and getattr(config, "num_labels", 0) == len(names):
        config.id2label = dict(enumerate(names))
        config.label2id = {name: number for number, name in enumerate(names)}


@torch.no_grad()
def in_units(loaded: Loaded) -> None:
    """Make the head of a loaded run give numbers in the label's units: w' = s·w, b' = s·b + m, for a scale (m, s).

    Does nothing where the scale is (0, 1), as for classes and STS-B. Raises UserError where the output has no bias.
    """
    first, second = loaded.task.units
    if loaded.backbone.form != "head" or (first, second) == (0.0, 1.0):
        return
    for output in _outputs(loaded.tuned):
        if output.bias is None:
            raise UserError(
                f"the head of {loaded.spec.model.label} has no bias, so a plain checkpoint cannot hold the offset "
                "of this task's numbers. Use `petbench predict`."
            )
        output.weight.mul_(second)
        output.bias.mul_(second).add_(first)


def _outputs(tuned: Tuned) -> list[nn.Linear]:
    """The layers of the head with one output, PEFT's copies included."""
    inside = tuple(f"{name}." for name in tuned.layout.head_modules)
    return [
        module
        for name, module in tuned.model.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == 1
        and any(part in f"{name}." for part in inside)
    ]
