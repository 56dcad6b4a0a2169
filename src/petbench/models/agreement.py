"""Whether a checkpoint and its config agree: missing, mismatched and unread tensors, and what becomes of the head.

A head that the checkpoint holds is used when its labels are the task's: as it is (`kept`), or with its outputs put in
the task's order (`reordered`). Labels are compared by name (id2label), case and blanks aside. Names such as LABEL_0
say nothing, so such a head is used only when the config's `finetuning_task` names the task, as petbench and
transformers' own GLUE script write it. The same holds for the head of a regression task, whose output has no name.
Every other head belongs to another task and is drawn anew (`new`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from petbench.config.task import Task
from petbench.errors import UserError
from petbench.models.families import family_of
from petbench.models.sites import Layout
from petbench.tasks.glue import TASKS

if TYPE_CHECKING:  # transformers takes seconds, and no mistake should wait for it
    from transformers import PreTrainedConfig, PreTrainedModel

Head = Literal["new", "kept", "reordered"]

NAMED = 3  # tensors of each list that a message names
# Constants that older versions of transformers saved beside the weights; current models compute them.
CONSTANTS = re.compile(r"(position_ids|inv_freq|attn\.bias|masked_bias)$")
_NAMELESS = re.compile(r"label_\d+|\d+")


@dataclass(frozen=True)
class HeadLabels:
    """What a checkpoint's config says of its head: label names in output order, and the task that it was tuned on."""

    names: tuple[str, ...]
    task: str

    @classmethod
    def of(cls, config: "PreTrainedConfig") -> "HeadLabels":
        """The labels of the checkpoint: read them before the task's labels replace them in the config."""
        by_output = {int(number): str(name) for number, name in (config.id2label or {}).items()}
        names = tuple(by_output[number] for number in sorted(by_output))
        return cls(names, str(getattr(config, "finetuning_task", None) or "").lower())


@dataclass(frozen=True)
class Agreement:
    """How a loaded model and its checkpoint agree.

    fresh: parameters to be drawn from the run's seed. new_modules: modules outside the head that hold some of them.
    """

    fresh: tuple[str, ...]
    new_modules: tuple[str, ...]
    head: Head | None  # None: the model has no task head
    notes: tuple[str, ...]


def agree(
    name: str,
    model: "PreTrainedModel",
    layout: Layout,
    loaded: Mapping[str, Any],
    labels: HeadLabels,
    task: Task | None,
) -> Agreement:
    """Judge the three lists of a loading call (`output_loading_info`), and put a kept head's outputs in order.

    Raises UserError, naming tensors and sizes, when anything but a head or a pooler is missing, has another size or
    is left unread; and when only some of a head's labels are the task's.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    missing = set(loaded["missing_keys"])
    sizes = {key: (tuple(there), tuple(here)) for key, there, here in loaded["mismatched_keys"]}
    in_head = {key for key in shapes if _inside(key, layout.head_modules)}
    new = _new_to_checkpoints(model, layout)
    may_miss = in_head | {key for key in shapes if _inside(key, new)}
    _refuse(
        name,
        {key: f"{key} {shapes.get(key, '')}".strip() for key in sorted(missing - may_miss)},
        {
            key: f"{key}: {there} in the file, {here} by the config"
            for key, (there, here) in sorted(sizes.items())
            if key not in in_head
        },
        sorted(key for key in loaded["unexpected_keys"] if _of_the_body(key, model, layout)),
    )
    lost = missing | sizes.keys()
    head = _head(name, model, layout, in_head, lost, labels, task)
    if head == "new" and not _only_the_output_is_missing(layout, in_head, missing, sizes):
        lost |= in_head
    fresh = tuple(key for key, _ in model.named_parameters() if key in lost)
    modules = dict.fromkeys(key.rpartition(".")[0] for key in fresh if key not in in_head)
    notes = _notes(name, layout, head, tuple(modules), labels, loaded["unexpected_keys"])
    return Agreement(fresh, tuple(modules), head, notes)


def _inside(key: str, modules: Iterable[str]) -> bool:
    return any(key.startswith(f"{module}.") for module in modules)


def _body(model: "PreTrainedModel") -> tuple[str, Any]:
    """The body and its prefix in parameter names."""
    body = model.base_model
    return (f"{model.base_model_prefix}." if body is not model else ""), body


def _new_to_checkpoints(model: "PreTrainedModel", layout: Layout) -> tuple[str, ...]:
    """Modules of the body that a checkpoint need not hold."""
    prefix, _ = _body(model)
    return tuple(f"{prefix}{module}" for module in family_of(layout.family).new)


def _of_the_body(key: str, model: "PreTrainedModel", layout: Layout) -> bool:
    """Whether an unread tensor belongs to the pretrained body: then the loaded model lacks a part of it."""
    _, body = _body(model)
    key = key.removeprefix(f"{model.base_model_prefix}.")
    first = key.partition(".")[0]
    if first in family_of(layout.family).new or CONSTANTS.search(key):
        return False
    return first in dict(body.named_children())


def _refuse(name: str, missing: Mapping[str, str], sizes: Mapping[str, str], unread: list[str]) -> None:
    parts = []
    if missing:
        parts.append(f"{_count(missing)} of the backbone missing ({_some(missing.values())})")
    if sizes:
        parts.append(f"{_count(sizes)} of another size ({_some(sizes.values())})")
    if unread:
        parts.append(f"{_count(unread)} of the backbone left unread ({_some(unread)})")
    if parts:
        raise UserError(
            f"model.name: the weights of '{name}' do not fit its config: {'; '.join(parts)}.\n"
            "Fetch it again, correct its config.json, or give another folder."
        )


def _count(tensors: Any) -> str:
    return f"{len(tensors)} tensor{'s' if len(tensors) > 1 else ''}"


def _some(tensors: Iterable[str]) -> str:
    found = list(tensors)
    return ", ".join(found[:NAMED]) + (", …" if len(found) > NAMED else "")


def _output_names(layout: Layout, in_head: set[str]) -> set[str]:
    """Parameters of the head's last layer."""
    last = [site.module for site in layout.all_sites if site.role == "head"]
    return {key for key in in_head if _inside(key, last)}


def _only_the_output_is_missing(
    layout: Layout, in_head: set[str], missing: set[str], sizes: Mapping[str, Any]
) -> bool:
    """Whether only the head's last layer is missing: the rest is pretrained, as ModernBERT's is, and stays."""
    return _output_names(layout, in_head) <= missing and not in_head & sizes.keys()


def _head(
    name: str,
    model: "PreTrainedModel",
    layout: Layout,
    in_head: set[str],
    lost: set[str],
    labels: HeadLabels,
    task: Task | None,
) -> Head | None:
    if not in_head:
        return None
    if in_head & lost or task is None:
        return "new"
    order = head_order(name, labels, task)
    if order is None:
        return "new"
    if order == list(range(len(order))):
        return "kept"
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for key in _output_names(layout, in_head):
            parameters[key].copy_(parameters[key][order])
    return "reordered"


def head_order(name: str, labels: HeadLabels, task: Task) -> list[int] | None:
    """The output of a head for each of the task's labels; None when the head is another task's.

    Raises UserError when only some of its labels are those of a GLUE task. The labels of a user's own task may be
    the same words by chance, so there the head counts as another task's.
    """
    same = labels.task == task.name
    if labels.task in TASKS and not same:
        return None
    if task.regression:
        return [0] if same else None
    found = [re.sub(r"[\s-]+", "_", label.strip().casefold()) for label in labels.names]
    if all(map(_NAMELESS.fullmatch, found)):
        return list(range(task.num_labels)) if same else None
    if sorted(found) == sorted(task.labels):
        return [found.index(label) for label in task.labels]
    if set(found) & set(task.labels) and task.glue is not None:
        raise UserError(
            f"model.name: the head of '{name}' has the labels {', '.join(labels.names)} (id2label), but task.name="
            f"{task.name} has {', '.join(task.labels)}: its outputs cannot be put in order.\nName all of them in its "
            "config.json as the task does; or name none (LABEL_0, …) to have the head drawn anew."
        )
    return None


def _notes(
    name: str,
    layout: Layout,
    head: Head | None,
    modules: tuple[str, ...],
    labels: HeadLabels,
    unread: Iterable[str],
) -> tuple[str, ...]:
    """One line on the head, and one on tensors that nothing reads."""
    drawn = f"; so is {', '.join(modules)}, which the checkpoint lacks" if modules else ""
    said: dict[Head | None, list[str]] = {
        None: [],
        "new": [f"The head is new: drawn from the run's seed, not taken from '{name}'{drawn}."],
        "kept": [f"The head of '{name}' is kept: its labels are the task's."],
        "reordered": [
            f"The head of '{name}' is kept and reordered: its labels were {', '.join(labels.names)}."
        ],
    }
    others = sorted({key.partition(".")[0] for key in unread if not CONSTANTS.search(key)})
    if others:
        said[head].append(f"Not read from '{name}', parts of another head: {', '.join(others)}.")
    return tuple(said[head])
