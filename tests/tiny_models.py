"""Tiny random models and batches for the parity tests, with and without padding."""

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from petbench.adapters.registry import method_named
from petbench.compose.expand import choice
from petbench.config.sections import ModelSpec
from petbench.models.load import Backbone, load, resolve_form
from petbench.models.made_up import made_up
from petbench.tuned.attach import Tuned, attach

CONF = Path(__file__).parents[1] / "conf"


@cache
def _spec(name: str) -> ModelSpec:
    return ModelSpec.model_validate(choice("model", name))


def backbone(name: str, regression: bool = False) -> Backbone:
    """A fresh tiny model, livened up so that it depends on its input; a head has two classes or one number."""
    spec = _spec(name)
    made = load(spec, resolve_form(spec, "auto"), 1 if regression else 2, regression, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return made


def tuned(name: str, method_name: str, made: Backbone | None = None, **fields: Any) -> Tuned:
    """A method on a tiny model, its trained values disturbed so that nothing is zero or one."""
    base = made or backbone(name)
    method = method_named(method_name)
    spec = method.Spec.model_validate({"method": method_name, **fields})
    result = attach(base.model, method, spec, base.layout)
    disturb(result.model, result.adapter_names)
    result.model.eval()
    return result


def disturb(model: nn.Module, names: frozenset[str], scale: float = 0.2) -> None:
    """Add noise to the named parameters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if name in names:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def batch(name: str, padded: bool = True) -> dict[str, Tensor]:
    """Two rows of nine tokens, the second padded from the sixth on; labels for T5 alone."""
    values = made_up(_model(name), (9, 5 if padded else 9), seed=2)
    if "t5" not in name:
        del values["labels"]
    return values


@cache
def _model(name: str) -> nn.Module:
    return backbone(name).model


@torch.no_grad()
def logits(model: nn.Module, values: dict[str, Tensor]) -> Tensor:
    """Evaluation-mode logits."""
    result: Tensor = model.eval()(**values).logits
    return result


def takes_past_key_values(model: Any) -> bool:
    """Whether a model or its body names an argument as PEFT's prefix tuning does (not from transformers 5.24 on)."""
    return any(
        "past_key_values" in inspect.signature(part.forward).parameters for part in (model, model.base_model)
    )


def copy_values(pairs: dict[str, Tensor], into: nn.Module) -> None:
    """Set parameters by name."""
    own = dict(into.named_parameters())
    with torch.no_grad():
        for name, value in pairs.items():
            assert own[name].shape == value.shape, name
            own[name].copy_(value)
