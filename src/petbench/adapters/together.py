"""Together: compute the small matrices that adapters make of their parameters for all adapters in a few operations.

On a GPU with small batches a step's time goes to kernel launches, not to arithmetic: twenty-four adapters that each
cast two factors and scale one of them launch seventy-two kernels. So in a forward pass with gradients the first
adapter that runs stacks the factors of all adapters of one kind and shape, computes their matrices at once in float32
and casts them once to autocast's dtype. Adapters that read one tensor (an attention's query and value) multiply it
once, by their matrices side by side. On a CPU, and when called outside its model, an adapter computes its own.
"""

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.adapter import Adapter, Attachment, Handle
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

    def joins(self) -> bool:
        """Whether it takes its product with the source from `first_product`, and from the source as it is."""
        return False

    def given(self) -> tuple[Tensor, ...] | None:
        """This adapter's matrices where they were made together; None: the adapter makes its own."""
        if not all(isinstance(part, nn.Parameter) for part in self.parts()):
            return None  # torch.func has put other values in the parameters' place for this call
        return self._together.matrices(self)

    def lowered(self, source: Tensor, like: Tensor) -> Tensor:
        """The source in the dtype of `like`; adapters that read the same tensor share one cast."""
        return self._together.cast(source, like.dtype)

    def first_product(self, source: Tensor) -> Tensor:
        """source downᵀ + constant, (..., k), where `given` is up, down (k, d_in) and, if there is one, constant (k)."""
        return self._together.first_product(self, source)


class Together:
    """The adapters of one model and, during a forward pass, the matrices made for them.

    readers: the adapters, those that read one tensor in one tuple (`readers_of`).
    """

    def __init__(self, readers: Sequence[tuple[TogetherAdapter, ...]]) -> None:
        self._readers = {id(adapter): together for together in readers for adapter in together}
        self._adapters = [adapter for together in readers for adapter in together]
        self._armed = False
        self._made: dict[int, tuple[Tensor, ...]] = {}
        # By the first of those that read one tensor: the rows k of each one's down, and all downs and constants joined.
        self._firsts: dict[int, tuple[list[int], tuple[Tensor, ...]]] = {}
        self._cast: tuple[Tensor, Tensor] | None = None  # the last source, and its cast to another dtype
        # The last source that several adapters read, and the product of each.
        self._products: tuple[Tensor, dict[int, Tensor]] | None = None

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

    def first_product(self, adapter: TogetherAdapter, source: Tensor) -> Tensor:
        """`TogetherAdapter.first_product`; the first of those that read one tensor computes it for all of them."""
        readers = self._readers[id(adapter)]
        if len(readers) == 1:
            own = self._made[id(adapter)][1:]
            return F.linear(self.cast(source, own[0].dtype), *own)
        if self._products is None or self._products[0] is not source or id(adapter) not in self._products[1]:
            sizes, firsts = self._firsts[id(readers[0])]
            parts = F.linear(self.cast(source, firsts[0].dtype), *firsts).split(sizes, dim=-1)
            self._products = source, {id(reader): part for reader, part in zip(readers, parts, strict=True)}
        return self._products[1][id(adapter)]

    def _begin(self, model: Any, arguments: Any) -> None:
        # Under gradient checkpointing, a layer that runs again must not use tensors of the first forward pass. It is
        # asked last: the answer walks through all modules.
        pays = torch.is_grad_enabled() and bound_by_launches(self._adapters[0])
        self._armed = pays and not is_checkpointing(model)

    def _end(self, model: Any, arguments: Any, output: Any) -> None:
        self._armed, self._cast, self._products = False, None, None
        self._made.clear()
        self._firsts.clear()

    def _make(self) -> None:
        alike: dict[Hashable, list[tuple[TogetherAdapter, ...]]] = {}
        for readers in {id(readers): readers for readers in self._readers.values()}.values():
            alike.setdefault(tuple(map(_signature, readers)), []).append(readers)
        for sets in alike.values():
            columns = list(zip(*sets, strict=True))  # the queries' adapters, the values' adapters
            made = [_made_together(adapters) for adapters in columns]
            if len(columns) > 1:
                sizes = [down.shape[1] for _, down, *_ in made]
                firsts = zip(*(matrices[1:] for matrices in made), strict=True)
                joined = zip(*(_each(torch.cat(of_all, dim=1)) for of_all in firsts), strict=True)
                self._firsts |= {id(s[0]): (sizes, of_it) for s, of_it in zip(sets, joined, strict=True)}
                made = [matrices[:1] for matrices in made]
            for adapters, matrices in zip(columns, made, strict=True):
                own = zip(*map(_each, matrices), strict=True)
                self._made |= {id(adapter): of_it for adapter, of_it in zip(adapters, own, strict=True)}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Together":
        return Together(())  # a copy is wired anew, or used without its model

    def __reduce__(self) -> tuple[Any, ...]:
        return Together, ((),)


def readers_of(attachments: Iterable[Attachment]) -> list[tuple[TogetherAdapter, ...]]:
    """The adapters that can compute together, those whose source is one tensor in one tuple: the inputs of the query,
    key and value of one attention, but of cross-attention, whose query reads the other stack, the last two alone."""
    found: dict[Hashable, list[TogetherAdapter]] = {}
    for attachment in attachments:
        adapter, site = attachment.adapter, attachment.site
        if not isinstance(adapter, TogetherAdapter):
            continue
        roles = ("key", "value") if site.attention == "cross" else ("query", "key", "value")
        reads_input = site.role in roles and attachment.at == "output" and attachment.reads is None
        joins = reads_input and adapter.joins()
        where = (type(adapter), site.stack, site.layer, site.attention) if joins else id(adapter)
        together = found.setdefault(where, [])
        if adapter not in together:
            together.append(adapter)
    return [tuple(adapters) for adapters in found.values()]


def _signature(adapter: TogetherAdapter) -> Hashable:
    """What adapters must agree in for their matrices to be made together."""
    return type(adapter), adapter.kind(), tuple(part.shape for part in adapter.parts())


def _made_together(adapters: Sequence[TogetherAdapter]) -> tuple[Tensor, ...]:
    """The matrices of adapters of one signature, each stacked to (n, …), in float32."""
    with torch.autocast(adapters[0].parts()[0].device.type, enabled=False):
        columns = zip(*(adapter.parts() for adapter in adapters), strict=True)
        return adapters[0].matrices_of(*map(_stacked, columns))


def _each(stacked: Tensor) -> tuple[Tensor, ...]:
    """The n matrices of a stack, in autocast's dtype."""
    kind = stacked.device.type
    lower = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else stacked.dtype
    return stacked.to(lower).unbind()


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
