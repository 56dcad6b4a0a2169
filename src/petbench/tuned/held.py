"""Held: frozen layers keep a copy of their weights in autocast's dtype, made once instead of at every call.

Autocast casts the float32 weights of a frozen layer in each forward pass, two operations a layer and step. A held
layer gives its own code a cast copy in place of each frozen parameter, so it computes the same bits. Saving, merging
and counting still see the float32 parameters; a copy is made again when its parameter changes.
"""

from functools import cache
from typing import Any

import torch
from torch import nn

from petbench.adapters.folding import Fold


class _Held:
    """The first base of a held layer's class; the second is the layer's own class."""

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
        # The layer's own code, whatever it is, reads its parameters here; for this call it finds the copies.
        self.__dict__["_parameters"] = {**own, **dict(zip(frozen, copies, strict=True))}
        try:
            return plain.forward(x)
        finally:
            self.__dict__["_parameters"] = own


@cache
def _held(kind: Any) -> Any:
    return type(f"Held{kind.__name__}", (_Held, kind), {})


def hold_frozen(model: nn.Module) -> None:
    """Let every linear layer of a model keep copies of its frozen parameters for calls under autocast.

    nn.Linear and GPT-2's Conv1D: layers whose whole computation is on autocast's list of lower precision.
    """
    from transformers.pytorch_utils import Conv1D  # transformers takes seconds

    module: Any
    for module in model.modules():
        kind: Any = type(module)
        if kind in (nn.Linear, Conv1D):
            module.__class__ = _held(kind)
            module._lower = Fold()
