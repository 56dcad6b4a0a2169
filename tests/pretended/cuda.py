"""`torch.cuda` for the pretended device: imported first, it makes a CPU build of torch believe in one CUDA device.

Attention is one operation forward and one backward, as a fused kernel is; what computes it is not counted.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
import torch._dynamo  # the optimisers import it; it tables functions by their names, so it comes before the changes
from torch import Tensor

pretended = torch.ops.pretended
NAME = "Pretended H100"


@contextmanager
def uncounted() -> Iterator[None]:
    """Inside, operations are computed and not counted."""
    pretended.pause(1)
    try:
        yield
    finally:
        pretended.pause(-1)


class _Attention(torch.autograd.Function):
    """softmax(Q Kᵀ) V, with the numbers of PyTorch's own formula, the count of a fused kernel and its layouts: what
    comes out lies in memory as the query does, gradients as what they are of."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        pretended.count("attention")
        with uncounted(), torch.enable_grad():
            given = [query, key, value, *([] if mask is None else [mask])]
            ctx.given = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in given]
            ctx.made = torch.ops.aten._scaled_dot_product_attention_math(
                *ctx.given, *([None] if mask is None else []), **options
            )[0]
            return torch.empty_like(query).copy_(ctx.made.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pretended.count("attention backward")
        wanted = [tensor for tensor in ctx.given if tensor.requires_grad]
        with uncounted():
            found = torch.autograd.grad(ctx.made, wanted, gradients[0], retain_graph=True)
            laid = [torch.empty_like(of).copy_(gradient) for of, gradient in zip(wanted, found, strict=True)]
        by_id = dict(zip(map(id, wanted), laid, strict=True))
        return (*(by_id.get(id(tensor)) for tensor in ctx.given), *([None] * (5 - len(ctx.given))))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if not query.is_cuda:
        return _plain_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    mask = attn_mask
    if torch.is_autocast_enabled("cuda"):  # as autocast's list says
        lower = torch.get_autocast_dtype("cuda")
        query, key, value = (tensor.to(lower) for tensor in (query, key, value))
        mask = mask if mask is None or mask.dtype == torch.bool else mask.to(lower)
    kinds = {tensor.dtype for tensor in (query, key, value)} | (
        {mask.dtype} - {torch.bool} if mask is not None else set()
    )
    if len(kinds) > 1 or (mask is not None and not mask.is_cuda):
        raise RuntimeError(f"attention of {kinds}, a mask on {None if mask is None else mask.device}")
    options = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    return _Attention.apply(query, key, value, mask, options)


class _Event:
    """A time on the device: here, of the host. Reading it before the device has come by waits for it."""

    def __init__(self, enable_timing: bool = False, **_: Any) -> None:
        self._at: float | None = None

    def record(self, stream: Any = None) -> None:
        self._at = time.perf_counter()

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pretended.wait()

    def elapsed_time(self, other: "_Event") -> float:
        assert self._at is not None and other._at is not None
        return 1000 * (other._at - self._at)


class _Device:
    """`with torch.cuda.device(…)`: there is one."""

    def __init__(self, device: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        pass


_plain_attention = torch.nn.functional.scaled_dot_product_attention
_PROPERTIES = SimpleNamespace(name=NAME, major=9, minor=0, total_memory=80 << 30, multi_processor_count=132)


def _nothing(*_: Any, **__: Any) -> None:
    """What needs no doing here."""


def _install() -> None:
    torch.set_num_threads(1)
    torch.nn.functional.scaled_dot_product_attention = _attention
    torch._C._nn.scaled_dot_product_attention = _attention
    values: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_is_in_bad_fork": lambda: False,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda device=None: NAME,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: _PROPERTIES,
        "is_bf16_supported": lambda *_, **__: True,
        "synchronize": lambda device=None: pretended.wait(),
        "memory_allocated": lambda device=None: pretended.bytes()[0],
        "memory_reserved": lambda device=None: pretended.bytes()[0],
        "max_memory_allocated": lambda device=None: pretended.bytes()[1],
        "reset_peak_memory_stats": lambda device=None: pretended.forget_peak(),
        "manual_seed": pretended.seed,
        "manual_seed_all": pretended.seed,
        "get_rng_state": lambda device="cuda": pretended.random_state(),
        "set_rng_state": lambda state, device="cuda": pretended.set_random_state(state),
        "get_rng_state_all": lambda: [pretended.random_state()],
        "set_rng_state_all": lambda states: pretended.set_random_state(states[0]),
        "Event": _Event,
        "device": _Device,
        **dict.fromkeys(("_lazy_init", "set_device", "empty_cache", "init"), _nothing),
    }
    for name, value in values.items():
        setattr(torch.cuda, name, value)


_install()
