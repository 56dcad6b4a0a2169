"""Precision: parts of a model that compute in float32 where the rest runs under bf16 autocast."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def in_float32(model: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Inside, these modules of the transformers model in `model` (it may be wrapped) compute in float32.

    For scores: bf16 has 8 bits of precision, so logits that differ by less than 1 in 256 become equal. Hooks on
    the modules still see the inputs as the model gives them, and now float32 outputs.
    """
    from transformers import PreTrainedModel  # transformers takes seconds

    core = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
    modules = [core.get_submodule(name) for name in names]
    earlier = [module.__dict__.get("forward") for module in modules]  # a wrapper's own, where one is set
    for module in modules:
        module.forward = _exact(module.forward)
    try:
        yield
    finally:
        for module, forward in zip(modules, earlier, strict=True):
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def _exact(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward call with float inputs cast up and autocast off."""

    @wraps(forward)
    def call(first: Tensor, *arguments: Any, **keywords: Any) -> Any:
        with torch.autocast(first.device.type, enabled=False):
            return forward(
                _up(first), *map(_up, arguments), **{name: _up(value) for name, value in keywords.items()}
            )

    return call


def _up(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
