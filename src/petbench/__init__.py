"""petbench: a GLUE benchmarking harness for parameter-efficient tuning.

    tuned = petbench.load("results/runs/3f2a…")                                   # a finished run
    tuned = petbench.attach(model, adapter="krona", factor_shape=(32, 24))       # a method on a model

Both give `petbench.tuned.attach.Tuned`: call it, or its `.model`; `.disabled()`, `.merge()`, `.state()`.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"


class AttachModule(ModuleType):
    """The class of the module `petbench.attach`: calling it puts a method on a model."""

    def __call__(self, model: Any, adapter: str, *, seed: int = 0, **fields: Any) -> Any:
        """See `petbench.tuned.load.attach_by_name`."""
        return import_module("petbench.tuned.load").attach_by_name(model, adapter, seed=seed, **fields)


def load(run_or_folder: Any, results_dir: Any = "results", model: Any = None, tokenizer: Any = None) -> Any:
    """The tuned model of a finished run, given as its id or folder; see `petbench.tuned.load.load_run`."""
    return import_module("petbench.tuned.load").load_tuned(run_or_folder, results_dir, model, tokenizer)


def __getattr__(name: str) -> Any:
    """Import `petbench.attach` when it is first used: `import petbench` stays light."""
    if name == "attach":
        return import_module("petbench.tuned.attach")
    raise AttributeError(f"module 'petbench' has no attribute '{name}'")
