"""Tuning methods: contract, hooks, one file per method. A method outside petbench imports from this module alone."""

from petbench.adapters.adapter import Adapter, Affine, Attachment
from petbench.adapters.method import Installed, Method, Stage, target_sites
from petbench.adapters.peft_form import LowRank, PeftForm, Ranks, ia3_form, lora_form
from petbench.adapters.registry import register
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError
from petbench.models.sites import Layout, Site

__all__ = [
    "Adapter",
    "AdapterSpec",
    "Affine",
    "Attachment",
    "Installed",
    "Layout",
    "LowRank",
    "Method",
    "PeftForm",
    "Ranks",
    "Site",
    "Stage",
    "UserError",
    "ia3_form",
    "lora_form",
    "register",
    "target_sites",
]
