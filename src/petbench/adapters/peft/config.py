"""PEFT's config made from a spec: roles become exact module names.

PEFT is imported inside the functions: it takes seconds, and most runs do not need it.
"""

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import nn

from petbench.adapters.method import target_sites
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError, unknown
from petbench.models.notices import without_notices
from petbench.models.sites import Layout, Site, Stack

if TYPE_CHECKING:  # peft takes seconds, and only its own methods need it
    from peft import PeftConfig

# These types learn input vectors, or keys and values, and need a task type; all others change modules.
PROMPT_TYPES = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")


class PeftSpec(AdapterSpec):
    """Any method of PEFT: its type, its arguments under PEFT's own names, and where it goes in roles."""

    peft_type: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    targets: tuple[str, ...] | None = None  # null: PEFT chooses by the architecture
    feedforward: tuple[str, ...] = ()  # IA3 alone: those of `targets` whose input is scaled

    @property
    def kind(self) -> str:
        """The type as PEFT's registry writes it."""
        return self.peft_type.upper()

    @property
    def is_prompt(self) -> bool:
        return self.kind in PROMPT_TYPES


def target_modules(spec: PeftSpec, layout: Layout, roles: Iterable[str] | None = None) -> list[str] | None:
    """Exact module names, each once; None when PEFT is to choose.

    A fused projection is one module to PEFT: it is adapted whole when any of its parts is named.
    """
    chosen = spec.targets if roles is None else roles
    if chosen is None or spec.is_prompt:
        return None
    return list(dict.fromkeys(site.module for site in target_sites(chosen, spec, layout)))


def peft_config(spec: PeftSpec, layout: Layout) -> "PeftConfig":
    """The config to pass to `get_peft_model`.

    Raises UserError for an unknown type, an unknown argument, or a value that PEFT refuses.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING  # peft takes seconds

    known = {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if spec.kind not in known:
        raise unknown("adapter.peft_type", spec.peft_type, known)
    config_class = known[spec.kind]
    legal = set(inspect.signature(config_class).parameters)
    arguments = {**_derived(spec, layout, legal), **spec.arguments}
    for name in arguments:
        if name not in legal:
            raise unknown(f"adapter.arguments of {spec.kind}", name, legal)
    try:
        return config_class(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"adapter.arguments: PEFT refuses them for {spec.kind}: {error}") from error


def _derived(spec: PeftSpec, layout: Layout, legal: set[str]) -> dict[str, Any]:
    """Arguments that follow from the model: targets, sizes, the task type of prompt learners."""
    if spec.is_prompt:
        return _prompt_sizes(spec, layout)
    derived: dict[str, Any] = {}
    names = target_modules(spec, layout)
    if names is not None:
        if "target_modules" not in legal:
            raise UserError(f"adapter.targets: PEFT's {spec.kind} takes no targets. Leave them out (null).")
        derived["target_modules"] = names
        if "fan_in_fan_out" in legal:
            derived["fan_in_fan_out"] = any(s.transposed for s in layout.all_sites if s.module in names)
    if spec.feedforward:
        derived["feedforward_modules"] = target_modules(spec, layout, spec.feedforward)
    if spec.kind == "ADALORA":
        derived["total_step"] = 10**6  # replaced when the run knows its steps: see PeftInstalled.start
    return derived


def _prompt_sizes(spec: PeftSpec, layout: Layout) -> dict[str, Any]:
    """Sizes from the layout: PEFT would guess wrongly under grouped-query attention, which has fewer key heads."""
    stack: Stack = "decoder" if "decoder" in layout.layers else "encoder"
    keys = layout.sites("key", stack=stack, attention="self")
    prefix = spec.kind == "PREFIX_TUNING"
    first: Stack = "encoder" if "encoder" in layout.layers else "decoder"  # where input vectors enter
    sizes: dict[str, Any] = {
        "num_layers": layout.layers[stack],
        "token_dim": keys[0].d_out if prefix else layout.sites("embedding", stack=first)[0].d_out,
        "num_attention_heads": keys[0].heads,
        "task_type": _task_type(layout),
    }
    if not prefix:  # PEFT would make a second, unused set for the decoder
        sizes["num_transformer_submodules"] = 1
    return sizes


def _task_type(layout: Layout) -> str:
    if layout.head_modules:
        return "SEQ_CLS"
    return "SEQ_2_SEQ_LM" if layout.encoder_decoder else "CAUSAL_LM"


def count_peft(spec: PeftSpec, layout: Layout) -> int:
    """The number of trainable parameters, counted on PEFT's own modules, built for the right shapes without a backbone.

    Raises UserError when `targets` is null: what PEFT then chooses depends on the whole model.
    """
    import peft  # peft takes seconds

    config: Any = peft_config(spec, layout)
    if spec.is_prompt:
        with torch.device("meta"):
            if spec.kind == "PREFIX_TUNING":
                encoder: nn.Module = peft.PrefixEncoder(config)
            elif spec.kind == "P_TUNING":
                encoder = peft.PromptEncoder(config)
            else:
                return config.num_virtual_tokens * config.token_dim
        return sum(p.numel() for p in encoder.parameters())
    if spec.targets is None:
        raise UserError(
            "adapter.targets: got null. Name roles, so that parameters can be counted before the run."
        )
    stub = _stub(target_sites(spec.targets, spec, layout), layout)
    before = {id(p) for p in stub.parameters()}
    with without_notices():
        wrapped = peft.get_peft_model(stub, config)
    return sum(p.numel() for p in wrapped.parameters() if p.requires_grad and id(p) not in before)


def _stub(sites: list[Site], layout: Layout) -> nn.Module:
    """A tree of nothing but the target modules, under their names and in their sizes; its weights mean nothing."""
    from transformers.pytorch_utils import Conv1D  # transformers takes seconds

    root = nn.Module()
    for site in sites:
        *path, leaf = site.module.split(".")
        parent = root
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        whole = max(
            s.columns[1] if s.columns else s.d_out for s in layout.all_sites if s.module == site.module
        )
        if site.role.endswith("_norm"):
            module: nn.Module = nn.LayerNorm(site.d_out, bias=site.bias)  # LN_TUNING trains what the norm has
        elif site.transposed:
            module = Conv1D(whole, site.d_in)
        else:
            module = nn.Linear(site.d_in, whole)
        parent.add_module(leaf, module)
    return root
