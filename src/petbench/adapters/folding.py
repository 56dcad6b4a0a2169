"""Folding: in evaluation, compute dense tensors from their factors once and keep them until a factor changes."""

from collections.abc import Callable, Sequence
from operator import is_not
from typing import Any, Self

import torch
from torch import Tensor, nn

from petbench.adapters.adapter import Adapter


def may_fold(module: nn.Module) -> bool:
    """Whether a module may use folded tensors now: in evaluation mode and with gradients off."""
    return not (module.training or torch.is_grad_enabled() or torch.compiler.is_compiling())


def _stamps(values: Sequence[Tensor]) -> list[object]:
    """Autocast's dtype, and version and address of each value: while these are equal, folded tensors are too."""
    kind = values[0].device.type
    precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return [precision, *((value._version, value.data_ptr()) for value in values)]


class Fold:
    """The last folded tensors and the values that they were made from.

    A value counts as unchanged when it is the same tensor, at the same address, with the same version
    number: optimiser steps, loading and moves between devices all change one of them. Tensors folded under
    autocast have its dtype, so they are reused only under autocast of the same dtype.
    """

    def __init__(self) -> None:
        self._values: Sequence[Tensor] = ()
        self._stamps: list[object] = []
        self._folded: tuple[Tensor, ...] = ()

    def get(self, values: Sequence[Tensor], make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The result of make(), computed again only when one of these values has changed."""
        same = len(values) == len(self._values) and not any(map(is_not, values, self._values))
        if same and self._stamps == _stamps(values):
            return self._folded
        if not all(isinstance(value, nn.Parameter) for value in values):
            return make()  # torch.func passes plain tensors, which end with the call
        self._values, self._stamps, self._folded = values, _stamps(values), make()
        return self._folded

    def clear(self) -> None:
        """Forget everything."""
        self._values, self._stamps, self._folded = (), [], ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Fold":
        return Fold()

    def __reduce__(self) -> tuple[type["Fold"], tuple[()]]:
        return Fold, ()


class FoldingAdapter(Adapter):
    """An adapter that computes with tensors made from its parameters, and keeps them in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self._fold = Fold()

    def folded(self, values: Sequence[Tensor], make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The result of make(), a function of the values alone; kept between calls where `may_fold` allows it."""
        return self._fold.get(values, make) if may_fold(self) else make()

    def train(self, mode: bool = True) -> Self:
        self._fold.clear()
        return super().train(mode)
