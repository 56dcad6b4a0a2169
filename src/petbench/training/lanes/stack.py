"""Stack: a model whose modules with trained parameters compute for several runs at once, each run with its own values.

    y_l = f(x_l; θ_l, φ)        l = 1..L lanes, θ (L, …) stacked, φ frozen and shared

The rows of all lanes lie side by side, lane after lane: (L·B, …). Frozen modules see nothing else than a larger batch.
A module that owns a trained parameter (an adapter, a norm, a layer of the head, a layer with a trained bias) is read as
a function of its parameters, and `torch.func.vmap` runs it over the lanes; so a method needs no code for lanes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from petbench.errors import RunError
from petbench.models.made_up import made_up
from petbench.tuned.attach import Tuned

PROBE = (5, 3, 5, 4, 2, 5, 3)  # lengths of seven rows: a number that no model has anything else of


@dataclass(frozen=True)
class Owner:
    """A module that runs by lanes. names: its trained parameters, own name -> name in the model."""

    module: nn.Module
    names: dict[str, str]


class Plain(nn.Module):
    """A module's own computation, without the hooks on it, for `functional_call`."""

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self._compute = module, forward

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        return self._compute(*arguments, **keywords)


def owners_of(tuned: Tuned) -> list[Owner]:
    """Adapters whole; of the rest each module that holds a trained parameter itself."""
    trained = {id(p): name for name, p in tuned.model.named_parameters() if name in tuned.trained_names}
    adapters = [attachment.adapter for attachment in tuned.installed.attachments]
    found = [Owner(a, {own: trained[id(p)] for own, p in a.named_parameters()}) for a in adapters]
    inside = {id(module) for adapter in adapters for module in adapter.modules()}
    for module in tuned.model.modules():
        own = {name: trained[id(p)] for name, p in module.named_parameters(recurse=False) if id(p) in trained}
        if own and id(module) not in inside:
            found.append(Owner(module, own))
    return [owner for owner in found if owner.names]


def stacked(lanes: Sequence[Tuned]) -> dict[str, Tensor]:
    """Every trained parameter as (lanes, …). Gradients of the stack flow to the lanes' own parameters."""
    named = [dict(tuned.model.named_parameters()) for tuned in lanes]
    return {name: torch.stack([own[name] for own in named]) for name in sorted(lanes[0].trained_names)}


@contextmanager
def acting(owners: Sequence[Owner], values: Mapping[str, Tensor], lanes: int, rows: int) -> Iterator[None]:
    """Inside, the modules compute with stacked values, on inputs of lanes·rows rows."""
    earlier = [owner.module.__dict__.get("forward") for owner in owners]
    for owner in owners:
        own = {f"module.{name}": values[whole] for name, whole in owner.names.items()}
        owner.module.forward = _by_lane(Plain(owner.module, owner.module.forward), own, lanes, lanes * rows)
    try:
        yield
    finally:
        for owner, forward in zip(owners, earlier, strict=True):
            if forward is None:
                del owner.module.forward
            else:
                owner.module.forward = forward


def _by_lane(plain: Plain, own: dict[str, Tensor], lanes: int, rows: int) -> Callable[..., Any]:
    """The module's forward call over (rows, …) tensors. What takes no tensor gives its result by lane: (lanes, …)."""

    def compute(values: dict[str, Tensor], given: list[Any], shape: Any) -> Any:
        arguments, keywords = tree_unflatten(given, shape)
        return torch.func.functional_call(plain, values, arguments, keywords)

    def forward(*arguments: Any, **keywords: Any) -> Any:
        flat, shape = tree_flatten((arguments, keywords))
        dims = [0 if isinstance(value, Tensor) else None for value in flat]
        given = [_split(value, lanes, rows, plain) for value in flat]
        run = torch.func.vmap(lambda v, g: compute(v, g, shape), in_dims=(0, dims), randomness="different")
        out: Tensor = run(own, given)
        return out.flatten(0, 1) if 0 in dims else out

    return forward


def _split(value: Any, lanes: int, rows: int, plain: Plain) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.shape[0] != rows:
        raise RunError(
            f"lanes: {type(plain.module).__name__} was called with {value.shape[0]} rows where all lanes together have "
            f"{rows}. Run this method without hydra/launcher=lanes."
        )
    return value.unflatten(0, (lanes, -1))


@torch.no_grad()
def sees_rows_alone(tuned: Tuned) -> bool:
    """Whether all that its trained modules are given has the batch's rows first: else lanes cannot lie side by side
    (relative positions that all rows share are an example)."""
    strange: list[int] = []

    def look(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        tensors = [v for v in tree_flatten((arguments, keywords))[0] if isinstance(v, Tensor)]
        strange.extend(len(tensor) for tensor in tensors if len(tensor) != len(PROBE))

    handles = [owner.module.register_forward_pre_hook(look, with_kwargs=True) for owner in owners_of(tuned)]
    was_training = tuned.model.training
    try:
        tuned.model.eval()(**made_up(tuned.model, PROBE))
    finally:
        tuned.model.train(was_training)
        for handle in handles:
            handle.remove()
    return not strange
