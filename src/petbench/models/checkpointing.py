"""Gradient checkpointing: whether a backbone has it, switching it on, and whether it is on."""

from typing import Any

from petbench.models.notices import silence_cache_notices


def no_checkpointing(model: Any) -> str:
    """Why a backbone has no gradient checkpointing; empty when it has."""
    if model.supports_gradient_checkpointing:
        return ""
    return f"transformers offers none for {model.config.model_type} models"


def enable_checkpointing(model: Any) -> None:
    """Let every layer keep only its input and run again in the backward pass."""
    silence_cache_notices()
    # Older releases of transformers have only the old name.
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()


def is_checkpointing(model: Any) -> bool:
    """Whether gradient checkpointing is on: layers run again in the backward pass."""
    name = "is_activation_checkpointing"
    return bool(getattr(model, name if hasattr(type(model), name) else "is_gradient_checkpointing", False))
