"""A method on the caller's own model: attached by its name, or loaded from a folder that `Tuned.save` wrote."""

import copy
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from torch import nn

from petbench.adapters.registry import method_named, spec_of
from petbench.config.mistakes import mistakes
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError
from petbench.models.families import layout_of
from petbench.tuned.attach import Before, Tuned, attach
from petbench.tuned.checkpoint import (
    FROZEN,
    adapter_folder,
    load_adapter,
    read_adapter_config,
    tensors_digest,
)
from petbench.tuned.load import adapter_spec, load_run, require_described


def attach_by_name(model: nn.Module, adapter: str, *, seed: int = 0, **fields: Any) -> Tuned:
    """`petbench.attach`: put a method on any supported Hugging Face model, in place.

    adapter: a name that `petbench list adapters` shows, such as `krona`. fields: values that differ from
    that choice's, such as factor_shape=(32, 24). The backbone is frozen, adapters and head train; give an
    optimiser only the parameters that require gradients. `tuned.remove()` takes the method off again: for that, a
    copy of the model's own parameters that train (head, norms) is kept. Raises UserError on unknown names, wrong
    values and sizes that do not fit, naming field, value and site, and where the model has a method already.
    """
    return _attach(model, adapter_spec(adapter, fields), seed)


def load_tuned(
    run_or_folder: str | Path,
    results_dir: str | Path = "results",
    model: str | nn.Module | None = None,
    tokenizer: str | None = None,
) -> Tuned:
    """`petbench.load`: a tuned model, to call, to switch off or to merge.

    A finished run is loaded with its backbone; model, tokenizer: where they are now, if not where they were at
    training; they must be the same by content. A folder of `tuned.save` is put on `model`, a transformers model with
    the weights that it was trained on, in place.
    """
    if isinstance(model, nn.Module):
        return _load_onto(adapter_folder(run_or_folder, results_dir), model)
    return load_run(run_or_folder, results_dir, model, tokenizer).tuned


def _load_onto(folder: Path, model: nn.Module) -> Tuned:
    """What `Tuned.save` wrote, on this model, in evaluation mode. Raises UserError, and leaves the model as it was, for
    a run's folder, broken files, and a model other than the one of the training."""
    saved = read_adapter_config(folder)
    if FROZEN not in saved:
        raise UserError(
            f"{folder} is a run's adapter, which is loaded with its own backbone: model=FOLDER says where that is now, "
            "or leave model= out."
        )
    spec, state = _spec_in(saved, folder), load_adapter(folder)
    bare = _without_weights(model)
    require_described(
        attach(bare, method_named(spec.method), spec, layout_of(cast(Any, bare))), state, folder
    )
    tuned = _attach(model, spec, seed=0)
    try:
        if saved[FROZEN] != tensors_digest(tuned.frozen()):
            raise UserError(
                f"{folder}: trained on another model ('{saved['config']['model']['name']}', weights "
                f"{saved[FROZEN][:12]}…) than the one given. Give the same weights in the same dtype, with a "
                "head of the same size."
            )
        tuned.load_state(state)
    except UserError:
        tuned.remove()
        raise
    tuned.model.eval()
    return tuned


def _spec_in(saved: dict[str, Any], folder: Path) -> AdapterSpec:
    try:
        values = dict(saved["config"]["adapter"])
        spec_class = spec_of(str(values["method"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}: its adapter_config.json holds no method. Save it again.") from error
    try:
        return spec_class.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join([f"{folder}:", *mistakes(error, spec_class, prefix="adapter")])) from error


def _attach(model: nn.Module, spec: AdapterSpec, seed: int) -> Tuned:
    """The method on the model, with what `remove` must restore."""
    if hasattr(model, "petbench") or hasattr(model, "peft_config"):
        raise UserError("petbench.attach: a method is on this model already. tuned.remove() takes it off.")
    trained_before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    tuned = attach(model, method_named(spec.method), spec, layout_of(cast(Any, model)), seed=seed)
    now = {p for name, p in tuned.model.named_parameters() if name in tuned.trained_names}
    before: Before = [
        (parameter, trained, parameter.detach().clone() if parameter in now else None)
        for parameter, trained in trained_before.items()
    ]
    tuned.before = before
    return tuned


def _without_weights(model: nn.Module) -> nn.Module:
    """A copy of the model on the meta device, which takes no memory."""
    empty: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in model.buffers()}
    for parameter in model.parameters():
        empty[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    return copy.deepcopy(model, empty)
