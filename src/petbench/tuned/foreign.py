"""A PEFT adapter in memory as the native method that computes the same, on a backbone that the caller names."""

import re
from pathlib import Path

from petbench.adapters.peft_in import Foreign, read_foreign, require_plain
from petbench.adapters.registry import methods
from petbench.config.sections import ModelSpec
from petbench.config.spec import RunSpec
from petbench.errors import UserError
from petbench.models.load import load, resolve_form
from petbench.tuned.attach import attach
from petbench.tuned.load import Loaded
from petbench.tuned.start import values_of


def load_foreign(folder: Path, spec: RunSpec, model: str | None, tokenizer: str | None) -> Loaded:
    """The adapter with its head, in evaluation mode, answering the task of `spec`.

    model: a folder or hub id; None: the hub id in the adapter's config, where there is one (a path in it is
    ignored). PEFT does not say which weights an adapter was trained on, so they are taken as named. Raises UserError
    where no native method computes the same, and where a head of the task's size is not saved with it.
    """
    foreign = read_foreign(folder)
    require_plain(foreign)
    name = model or _hub_id(foreign)
    spec = spec.model_copy(update={"model": ModelSpec(name=name, tokenizer=tokenizer or "same")})
    task = spec.task
    form = resolve_form(spec.model, task.form)
    backbone = load(spec.model, form, task.num_labels, task.regression, 0, task)
    method = next(each for each in methods().values() if each.peft_type == foreign.kind)
    adapter = method.spec_of_peft(foreign, backbone.layout)
    tuned = attach(backbone.model, method, adapter, backbone.layout, new_modules=backbone.new_modules)
    if absent := tuned.load_state(values_of(foreign, tuned), strict=False):
        raise UserError(
            f"{folder} lacks {absent[0]}, so it cannot answer. Save that with PEFT's modules_to_save, or train "
            f"on: petbench train adapter={method.name} init_from={folder}."
        )
    tuned.model.eval()
    return Loaded(tuned, backbone, spec.model_copy(update={"adapter": adapter}), task, folder, "")


def _hub_id(foreign: Foreign) -> str:
    name = foreign.config.get("base_model_name_or_path")
    named = isinstance(name, str) and re.fullmatch(
        r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", name
    )
    if not named or Path(str(name)).exists():
        raise UserError(f"{foreign.folder} names no backbone of the hub. Say where it is: --model FOLDER.")
    return str(name)
