"""Held: frozen layers keep their weights in autocast's format, made once and not at every call.

Autocast casts the float32 weight of a frozen layer at each forward pass, two operations a layer and step. A held layer
hands its own code a cast copy in the place of each frozen parameter, so it computes the same bits. Parameters stay
float32, the ones that saving, merging and counting see; a copy is made again when its parameter changes.
"""

from functools import cache
from typing import Any

import torch
from torch import nn

from petbench.adapters.folding import Fold


class _Held:
    """The first base of a held layer's class; the second is the class it had."""

    _lower: Fold
    _parameters: dict[str, nn.Parameter | None]

    def forward(self, x: torch.Tensor) -> Any:
        plain: Any = super()
        kind = x.device.type
        own = self._parameters
        # What stands in a parameter's place for a call (torch.func) may train and not say so.
        frozen = {n: p for n, p in own.items() if isinstance(p, nn.Parameter) and not p.requires_grad}
        if not frozen or not torch.is_autocast_enabled(kind) or torch.compiler.is_compiling():
            return plain.forward(x)
        lower = torch.get_autocast_dtype(kind)
        values = list(frozen.values())
        copies = self._lower.get(values, lambda: tuple(value.detach().to(lower) for value in values))
        # In the instance's own dictionary, for this call: the layer's code reads it, whatever the code is.
        self.__dict__["_parameters"] = {**own, **dict(zip(frozen, copies, strict=True))}
        try:
            return plain.forward(x)
        finally:
            self.__dict__["_parameters"] = own


@cache
def _held(kind: Any) -> Any:
    return type(f"Held{kind.__name__}", (_Held, kind), {})


def hold_frozen(model: nn.Module) -> None:
    """Let every matrix layer of a model hold what of it is frozen, at a call under autocast.

    nn.Linear and GPT-2's Conv1D: layers whose whole computation is on autocast's list of lower precision.
    """
    from transformers.pytorch_utils import Conv1D  # it takes seconds

    module: Any
    for module in model.modules():
        kind: Any = type(module)
        if kind in (nn.Linear, Conv1D):
            module.__class__ = _held(kind)
            module._lower = Fold()
