"""petbench: a GLUE benchmarking harness for parameter-efficient tuning.

    tuned = petbench.load("results/runs/3f2a…")                                   # a finished run
    tuned = petbench.attach(model, adapter="krona", factor_shape=(32, 24))       # a method on a model
    classify = petbench.pipeline("results/runs/3f2a…")                           # a transformers pipeline of a run

`load` and `attach` return a `petbench.tuned.attach.Tuned`. Call it as you would call its `.model`; it also has
`.disabled()`, `.merge()`, `.merged()`, `.save(folder)` and `.remove()`. `petbench.load(folder, model=model)` loads
what `.save(folder)` wrote.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def attach(model: Any, adapter: str, *, seed: int = 0, **fields: Any) -> Any:
    """Put a method on a transformers model; see `petbench.tuned.own_model.attach_by_name`."""
    return import_module("petbench.tuned.own_model").attach_by_name(model, adapter, seed=seed, **fields)


def load(run_or_folder: Any, results_dir: Any = "results", model: Any = None, tokenizer: Any = None) -> Any:
    """Load a finished run, or put what `tuned.save` wrote on `model`; see `petbench.tuned.own_model.load_tuned`."""
    return import_module("petbench.tuned.own_model").load_tuned(run_or_folder, results_dir, model, tokenizer)


def pipeline(run: Any, results_dir: Any = "results", **options: Any) -> Any:
    """Make a `transformers` pipeline of a finished run; see `petbench.inference.pipeline.pipeline`."""
    return import_module("petbench.inference.pipeline").pipeline(run, results_dir, **options)
