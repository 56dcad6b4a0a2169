"""Loading: a finished run with its backbone back in memory; and a method's spec by its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from petbench.adapters.registry import method_named, spec_of
from petbench.config.mistakes import mistakes
from petbench.config.sections import AdapterSpec, hyper_parameters
from petbench.config.spec import RunSpec, parse
from petbench.config.task import Task
from petbench.config.tree import option_path, yaml_values
from petbench.errors import UserError
from petbench.machine.seeds import derive_seed
from petbench.models.load import Backbone, load, resolve_form, skeleton
from petbench.tuned.attach import Tuned, attach
from petbench.tuned.backbone_check import backbone_of, require_weights
from petbench.tuned.checkpoint import (
    CONFIG_FILE,
    adapter_folder,
    load_adapter,
    read_adapter_config,
    require_run,
)


@dataclass(frozen=True)
class Loaded:
    """A trained run in memory, on the CPU, in evaluation mode.

    `spec` is the run's whole config, with the size that a budget chose filled in. `folder` is the adapter
    folder; `run_id` is empty where the folder names no run.
    """

    tuned: Tuned
    backbone: Backbone
    spec: RunSpec
    task: Task
    folder: Path
    run_id: str

    @property
    def tokenizer(self) -> Any:
        """The backbone's tokenizer."""
        return self.backbone.tokenizer


def load_run(
    run: str | Path,
    results_dir: str | Path = "results",
    model: str | None = None,
    tokenizer: str | None = None,
) -> Loaded:
    """A run given as its id, its folder or its adapter folder: backbone, adapter, head and trained norms.

    model, tokenizer: where the backbone and its tokenizer are now, if not where they were at training. Raises
    UserError when there is no such run, its files are broken, its backbone is gone, or the backbone that is there
    is not the one that it was trained on: other weights, another config or another tokenizer.
    """
    folder = adapter_folder(run, results_dir)
    saved = read_adapter_config(folder)
    require_run(saved, folder)
    try:
        values = dict(saved["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / CONFIG_FILE} holds no config. Train the run again.") from error
    spec = parse(values, spec_of)
    own = {"results_dir": str(results_dir), "cache_dir": None, "init_from": None}
    own |= {part: getattr(spec, part).model_copy(update=_OF_THE_MACHINE[part]) for part in _OF_THE_MACHINE}
    model_spec = backbone_of(spec.model, saved, folder, model, tokenizer)
    spec = spec.model_copy(update={**own, "model": model_spec})
    task = spec.task
    state = load_adapter(folder)
    _require_size(spec, task, state, folder)
    backbone, tuned = load_and_attach(spec, task)
    require_weights(saved, backbone.digest, folder)
    tuned.load_state(state)
    tuned.model.eval()
    return Loaded(tuned, backbone, spec, task, folder, str(saved.get("run_id", "")))


def load_and_attach(spec: RunSpec, task: Task | None) -> tuple[Backbone, Tuned]:
    """The backbone with the method on it, all initial values drawn from the run's seed.

    task: whose labels the head gives; None: two classes and a new head, for measuring a model without rows. Raises
    UserError as `load` and `attach` do.
    """
    form = resolve_form(spec.model, spec.task.form)
    labels, regression = (2, False) if task is None else (task.num_labels, task.regression)
    backbone = load(spec.model, form, labels, regression, derive_seed(spec.seed, "head"), task)
    tuned = attach(
        backbone.model,
        method_named(spec.adapter.method),
        spec.adapter,
        backbone.layout,
        seed=derive_seed(spec.seed, "adapter"),
        new_modules=backbone.new_modules,
    )
    return backbone, tuned


# Fields of a saved config that describe the machine of the training, with values for any other machine.
_OF_THE_MACHINE: dict[str, dict[str, Any]] = {
    "data": {"dir": None, "file": None},
    "trainer": {"threads": None, "device": "auto"},
    "logger": {"name": "none", "mode": "disabled"},
}


def _require_size(spec: RunSpec, task: Task, state: Mapping[str, Tensor], folder: Path) -> None:
    """Raise UserError when a saved config describes more trained values than are saved. They are counted on a model
    without weights, so that a forged config cannot make this process allocate without bound."""
    form = resolve_form(spec.model, spec.task.form)
    model, layout = skeleton(spec.model, form, task.num_labels, task.regression)
    tuned = attach(model, method_named(spec.adapter.method), spec.adapter, layout)
    require_described(tuned, state, folder)


def require_described(bare: Tuned, state: Mapping[str, Tensor], folder: Path) -> None:
    """Raise UserError when more values would train than are saved. bare: the method on a model without weights."""
    described = sum(p.numel() for name, p in bare.model.named_parameters() if name in bare.trained_names)
    saved = sum(tensor.numel() for tensor in state.values())
    if saved < described:  # modules that a checkpoint lacks are trained and saved too
        raise UserError(
            f"{folder}: {CONFIG_FILE} describes {described:,} trained values, but {saved:,} are saved. "
            "Put the right files together, or train the run again."
        )


def adapter_spec(name: str, fields: Mapping[str, Any]) -> AdapterSpec:
    """The spec of a named choice of `conf/adapter`, with some fields changed. Raises UserError on wrong values."""
    values = yaml_values(option_path("adapter", name))
    spec_class = spec_of(str(values["method"]))
    try:
        return spec_class.model_validate({"name": name, **hyper_parameters(values), **fields})
    except ValidationError as error:
        raise UserError("\n".join(mistakes(error, spec_class, prefix="adapter"))) from error
