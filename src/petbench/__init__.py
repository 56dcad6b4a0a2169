"""petbench: a GLUE benchmarking harness for parameter-efficient tuning.

    tuned = petbench.load("results/runs/3f2a…")                                   # a finished run
    tuned = petbench.attach(model, adapter="krona", factor_shape=(32, 24))       # a method on a model
    classify = petbench.pipeline("results/runs/3f2a…")                           # a transformers pipeline of a run

The first two give `petbench.tuned.attach.Tuned`: call it, or its `.model`; `.disabled()`, `.merge()`,
`.merged()`, `.save(folder)`, `.remove()`. A saved folder is loaded again with `petbench.load(folder, model=model)`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def attach(model: Any, adapter: str, *, seed: int = 0, **fields: Any) -> Any:
    """A method on a transformers model; see `petbench.tuned.own_model.attach_by_name`."""
    return import_module("petbench.tuned.own_model").attach_by_name(model, adapter, seed=seed, **fields)


def load(run_or_folder: Any, results_dir: Any = "results", model: Any = None, tokenizer: Any = None) -> Any:
    """A finished run, or a folder of `tuned.save` on the model given; see `petbench.tuned.own_model.load_tuned`."""
    return import_module("petbench.tuned.own_model").load_tuned(run_or_folder, results_dir, model, tokenizer)


def pipeline(run: Any, results_dir: Any = "results", **options: Any) -> Any:
    """A `transformers` pipeline of a finished run; see `petbench.inference.pipeline.pipeline`."""
    return import_module("petbench.inference.pipeline").pipeline(run, results_dir, **options)
