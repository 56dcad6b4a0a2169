"""The task head of a model that PEFT wraps: kept once, read at the right position, and put back."""

from torch import nn

from petbench.adapters.peft.config import PeftSpec
from petbench.errors import UserError
from petbench.models.sites import Layout


def check_prompt_head(spec: PeftSpec, layout: Layout) -> None:
    """Raise UserError where under PEFT's prompt learners the head would silently read a wrong position."""
    decoder_only = set(layout.layers) == {"decoder"}
    prefix = spec.kind == "PREFIX_TUNING"
    if layout.encoder_decoder:
        reason, instead = "takes no input vectors", "adapter=prompt_tuning or adapter=prefix_tuning"
    elif decoder_only and not prefix:
        reason, instead = "no longer knows which tokens are padding", "adapter=prompt_tuning"
    elif prefix and not decoder_only and not layout.pooled_head:
        reason, instead = (
            "is not called by PEFT's prefix tuning",
            ("adapter=prefix_tuning" if layout.more_keys else "adapter=prompt_tuning"),
        )
    else:
        return
    raise UserError(f"adapter={spec.label}: under PEFT the head of {layout.family} {reason}. Use {instead}.")


def keep_one_head(wrapped: nn.Module) -> None:
    """Let PEFT's copy of a head be the head itself: it trains, is counted and is saved once."""
    from peft.utils import ModulesToSaveWrapper  # peft takes seconds

    for module in wrapped.modules():
        if isinstance(module, ModulesToSaveWrapper):
            module.modules_to_save["default"] = module.original_module


def unwrap_heads(base: nn.Module) -> None:
    """Put heads back into the places where PEFT wrapped them."""
    from peft.utils import ModulesToSaveWrapper  # peft takes seconds

    for name, module in list(base.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            base.set_submodule(name, module.original_module)
