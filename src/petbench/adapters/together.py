"""Together: compute the small matrices that adapters make of their parameters for all adapters in a few operations.

On a GPU with small batches a step's time goes to kernel launches, not to arithmetic: twenty-four adapters that each
cast two factors and scale one of them launch seventy-two kernels. So in a forward pass with gradients the first
adapter that runs stacks the factors of all adapters of one kind and shape, computes their matrices at once in float32
and casts them once to autocast's dtype. On a CPU, and when called outside its model, an adapter computes its own.
"""

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from petbench.adapters.adapter import Adapter, Handle
from petbench.models.checkpointing import is_checkpointing


class TogetherAdapter(Adapter):
    """An adapter whose forward begins with matrices made from its own parameters alone."""

    def __init__(self) -> None:
        super().__init__()
        self._together = Together(())

    @abstractmethod
    def parts(self) -> tuple[Tensor, ...]:
        """The parameters that the matrices are computed from."""

    @abstractmethod
    def matrices_of(self, *stacked: Tensor) -> tuple[Tensor, ...]:
        """The matrices of n adapters of one kind, from their `parts`, each stacked to (n, …)."""

    def kind(self) -> Hashable:
        """What adapters must share, besides class and shapes of their parts, for their matrices to be made together."""
        return None

    def given(self) -> tuple[Tensor, ...] | None:
        """This adapter's matrices where they were made together; None: the adapter makes its own."""
        if not all(isinstance(part, nn.Parameter) for part in self.parts()):
            return None  # torch.func has put other values in the parameters' place for this call
        return self._together.matrices(self)

    def lowered(self, source: Tensor, like: Tensor) -> Tensor:
        """The source in the dtype of `like`; adapters that read the same tensor share one cast."""
        return self._together.cast(source, like.dtype)


class Together:
    """The adapters of one model and, during a forward pass, the matrices made for them."""

    def __init__(self, adapters: Sequence[TogetherAdapter]) -> None:
        self._adapters = list(adapters)
        self._armed = False
        self._made: dict[int, tuple[Tensor, ...]] = {}
        self._cast: tuple[Tensor, Tensor] | None = None  # the last source, and its cast to another dtype

    def hang(self, model: nn.Module) -> list[Handle]:
        """Add hooks to the model, by which this acts in every forward pass until the handles are removed."""
        if not self._adapters:
            return []
        for adapter in self._adapters:
            adapter._together = self
        return [
            model.register_forward_pre_hook(self._begin),
            model.register_forward_hook(self._end, always_call=True),
        ]

    def matrices(self, adapter: TogetherAdapter) -> tuple[Tensor, ...] | None:
        """The matrices made for an adapter. Made at the first call: autocast starts after the model's hooks."""
        if not self._armed:
            return None
        if not self._made:
            self._make()
        return self._made[id(adapter)]

    def cast(self, source: Tensor, dtype: torch.dtype) -> Tensor:
        """The source in this dtype, cast once for consecutive calls with the same source."""
        if source.dtype == dtype:
            return source
        if self._cast is None or self._cast[0] is not source or self._cast[1].dtype != dtype:
            self._cast = (source, source.to(dtype))
        return self._cast[1]

    def _begin(self, model: Any, arguments: Any) -> None:
        # Under gradient checkpointing, a layer that runs again must not use tensors of the first forward pass. It is
        # asked last: the answer walks through all modules.
        pays = torch.is_grad_enabled() and bound_by_launches(self._adapters[0])
        self._armed = pays and not is_checkpointing(model)

    def _end(self, model: Any, arguments: Any, output: Any) -> None:
        self._armed, self._cast = False, None
        self._made.clear()

    def _make(self) -> None:
        groups: dict[Hashable, list[TogetherAdapter]] = {}
        for adapter in {id(adapter): adapter for adapter in self._adapters}.values():
            shapes = tuple(part.shape for part in adapter.parts())
            groups.setdefault((type(adapter), adapter.kind(), shapes), []).append(adapter)
        for alike in groups.values():
            columns = zip(*(adapter.parts() for adapter in alike), strict=True)
            device = alike[0].parts()[0].device.type
            lower = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
            with torch.autocast(device, enabled=False):
                made = alike[0].matrices_of(*map(_stacked, columns))
                made = tuple(each if lower is None else each.to(lower) for each in made)
            own = zip(*(each.unbind() for each in made), strict=True)
            self._made |= {id(adapter): of_it for adapter, of_it in zip(alike, own, strict=True)}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Together":
        return Together(())  # a copy is wired anew, or used without its model

    def __reduce__(self) -> tuple[Any, ...]:
        return Together, ((),)


class _Stack(torch.autograd.Function):
    """torch.stack whose gradients are slices of a contiguous tensor; slices of an expanded one would each be copied."""

    @staticmethod
    def forward(ctx: Any, *values: Tensor) -> Tensor:
        return torch.stack(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return gradients[0].contiguous().unbind()


def _stacked(values: Sequence[Tensor]) -> Tensor:
    """The values stacked to (n, …). A tensor that all share is expanded: gradients of copies would be summed singly."""
    first = values[0]
    if all(value is first for value in values):
        return first.expand(len(values), *first.shape)
    stacked: Tensor = _Stack.apply(*values)
    return stacked


def bound_by_launches(adapter: nn.Module) -> bool:
    """Whether launching an adapter's kernels costs more than their arithmetic: true on CUDA."""
    return next(adapter.parameters()).is_cuda
