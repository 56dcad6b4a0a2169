"""Any method of huggingface/peft as a petbench method, through `get_peft_model` alone.

The formula, the initial values and the merge are PEFT's. petbench names the modules to adapt (roles become
exact module names, and PEFT must adapt just those) and keeps one head: PEFT never holds a second copy.
The parameters that PEFT adds are the adapter. They are counted on PEFT's own modules, built without a
backbone (`config.count_peft`). Only AdaLoRA acts after steps (rank allocation).

A fused projection (GPT-2's c_attn, ModernBERT's Wqkv) is one module to PEFT and is adapted whole.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from petbench.adapters.adapter import Attachment
from petbench.adapters.method import Installed, Method
from petbench.adapters.peft.config import PeftSpec, count_peft, peft_config, target_modules
from petbench.adapters.peft.heads import check_prompt_head, keep_one_head, unwrap_heads
from petbench.adapters.peft.own_form import values_by_name
from petbench.adapters.peft_form import PeftForm, Ranks
from petbench.adapters.peft_in import Foreign
from petbench.adapters.registry import register
from petbench.errors import UserError
from petbench.models.notices import without_notices
from petbench.models.sites import Layout
from petbench.models.source import first_line, quiet

# PEFT's `merge_adapter` merges these exactly into the layers that they wrap.
_MERGEABLE = (
    *("LORA", "ADALORA", "LOKR", "LOHA", "VERA", "IA3", "OFT", "BOFT", "FOURIERFT", "LN_TUNING"),
    *("HRA", "C3A", "SHIRA", "RANDLORA", "WAVEFT", "ROAD", "MISS", "DELORA", "GRALORA", "VBLORA"),
)
_IN_A_CACHE = ("PREFIX_TUNING", "CARTRIDGE")  # their learned keys and values enter as a key-value cache
# Scales and prompts that PEFT stores in two dimensions: weight decay skips them as vectors. AdaLoRA's lora_E is
# not among them: it is a diagonal matrix.
_VECTORS = {"ia3_l", "boft_s", "randlora_lambda", "randlora_gamma", "embedding"}
# Arguments that say where a config is used, not what the method is.
_OF_THE_MODEL = ("peft_type", "task_type", "inference_mode", "modules_to_save", "base_model_name_or_path")
_IMPORTANCE = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # of AdaLoRA's allocator


class PeftInstalled:
    """A model that PEFT wraps; `method.Installed` describes the methods."""

    def __init__(self, model: Any, adapter_names: frozenset[str], spec: PeftSpec) -> None:
        self.model = model
        self.adapter_names = adapter_names
        self.attachments: list[Attachment] = []
        self.vector_names = frozenset(n for n in adapter_names if _VECTORS.intersection(n.split(".")))
        self._allocates = spec.kind == "ADALORA"
        self._is_prompt = spec.is_prompt
        self._off: AbstractContextManager[None] | None = None
        self._saved: dict[str, Tensor] | None = None

    def enable(self, on: bool) -> None:
        if self._is_prompt:
            # PEFT's own switch fails for models that generate nothing.
            for name in ("forward", "generate"):
                self.model.__dict__.pop(name, None)
                if not on and hasattr(self.model.base_model, name):
                    self.model.__dict__[name] = getattr(self.model.base_model, name)
        elif on and self._off is not None:
            self._off.__exit__(None, None, None)
            self._off = None
        elif not on and self._off is None:
            self._off = self.model.disable_adapter()
            self._off.__enter__()

    @torch.no_grad()
    def merge(self) -> None:
        if self._saved is None:
            # PEFT unmerges by subtracting, which does not restore the last bits: keep the weights.
            self._saved = {name: p.detach().clone() for name, p in self.model.named_parameters()}
            self.model.merge_adapter()

    @torch.no_grad()
    def unmerge(self) -> None:
        if self._saved is None:
            return
        with without_notices():  # PEFT's unmerging is inexact, but the weights are set below
            self.model.unmerge_adapter()
        for name, parameter in self.model.named_parameters():
            parameter.copy_(self._saved[name])
        self._saved = None

    def plain(self, folded: bool = False) -> nn.Module:
        """The backbone and head out of a copy of the PEFT model."""
        wrapped = copy.deepcopy(self.model)
        if self._is_prompt:
            return wrapped.get_base_model()
        return wrapped.merge_and_unload() if folded else wrapped.unload()

    def remove(self) -> None:
        """Take PEFT's layers out of the model that was wrapped."""
        self.enable(True)
        base = self.model.get_base_model() if self._is_prompt else self.model.unload()
        unwrap_heads(base)
        base.__dict__.pop("peft_config", None)

    def start(self, total_steps: int) -> None:
        """Fit AdaLoRA's schedule to the number of optimiser steps: no rank allocation in the first 10% and last 30%."""
        if not self._allocates:
            return
        config = self.model.peft_config["default"]
        if config.total_step == 10**6:  # the user gave no schedule of their own
            config.tinit, config.tfinal = total_steps // 10, 3 * total_steps // 10
            config.deltaT = max(1, total_steps // 100)
            self.model.base_model.rankallocator.set_total_step(total_steps)

    def after_step(self, step: int) -> None:
        """AdaLoRA's rank allocation; reads the gradients of the step, so call it before they are cleared."""
        if self._allocates:
            with _nondeterminism_allowed():
                self.model.base_model.update_and_allocate(step)

    def memory(self) -> dict[str, Tensor]:
        """AdaLoRA's running importance of every entry, and the ranks that it settled on."""
        if not self._allocates:
            return {}
        allocator = self.model.base_model.rankallocator
        kept = {f"{part}/{n}": t for part in _IMPORTANCE for n, t in getattr(allocator, part).items()}
        ranks = self.model.peft_config["default"].rank_pattern or {}
        return kept | {f"ranks/{name}": torch.tensor(pattern) for name, pattern in ranks.items()}

    def remember(self, memory: dict[str, Tensor]) -> None:
        """Give AdaLoRA back what `memory` took."""
        if not self._allocates:
            return
        device = next(self.model.parameters()).device
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in (*_IMPORTANCE, "ranks")}
        for key, tensor in memory.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor.to(device)
        for part in _IMPORTANCE:
            setattr(self.model.base_model.rankallocator, part, parts[part])
        ranks = {name: tensor.tolist() for name, tensor in parts["ranks"].items()}
        self.model.peft_config["default"].rank_pattern = ranks or None


@contextmanager
def _nondeterminism_allowed() -> Iterator[None]:
    """Inside, operations without a deterministic form may run on CUDA.

    AdaLoRA's allocation takes a threshold from `kthvalue`. Among equal values the index may differ from call to
    call, but only the value is read.
    """
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


@register
class Peft(Method[PeftSpec]):
    """Any PEFT method by type and arguments."""

    name = "peft"
    Spec = PeftSpec

    def attachments(self, spec: PeftSpec, layout: Layout) -> Iterable[Attachment]:
        return ()

    def count(self, spec: PeftSpec, layout: Layout) -> int:
        return count_peft(spec, layout)

    def identity_at_init(self, spec: PeftSpec) -> bool:
        random = spec.kind == "FOURIERFT" and not spec.arguments.get("init_weights", False)
        return not (spec.is_prompt or random)

    def learned_positions(self, spec: PeftSpec) -> int:
        return int(spec.arguments.get("num_virtual_tokens", 0)) if spec.is_prompt else 0

    def mergeable(self, spec: PeftSpec, layout: Layout) -> bool:
        return spec.kind in _MERGEABLE

    def no_checkpointing(self, spec: PeftSpec) -> str:
        if spec.kind not in _IN_A_CACHE:
            return ""
        return (
            f"checkpointed layers drop the cache that holds the keys and values of adapter={spec.label} "
            "(use adapter=prefix_tuning, which needs no cache)"
        )

    def may_rest(self, spec: PeftSpec, name: str) -> str:
        if spec.kind == "ADALORA" and (".lora_A." in name or ".lora_B." in name):
            return "its gradient comes through lora_E, all of which the rank allocation may set to zero"
        return ""

    def peft_form(self, spec: PeftSpec, layout: Layout, installed: Installed, ranks: Ranks) -> PeftForm:
        """The installed PEFT adapter itself."""
        own = dict(installed.model.named_parameters())
        config: dict[str, Any] = installed.model.peft_config["default"].to_dict()  # type: ignore[union-attr, index]
        arguments = {key: value for key, value in config.items() if key not in _OF_THE_MODEL}
        return PeftForm(spec.kind, arguments, {n: own[n].detach() for n in installed.adapter_names})

    def values_of_peft(
        self, foreign: Foreign, spec: PeftSpec, layout: Layout, installed: Installed
    ) -> dict[str, Tensor]:
        """The saved tensors under the names that PEFT has in memory."""
        return values_by_name(foreign, spec, installed)

    def install(self, model: nn.Module, spec: PeftSpec, layout: Layout) -> Installed:
        """Wrap the model. Raises UserError when PEFT refuses, or adapts other modules than were asked for."""
        from peft import get_peft_model  # peft takes seconds

        if spec.is_prompt and layout.head_modules:
            check_prompt_head(spec, layout)
        body = {id(parameter): name for name, parameter in model.named_parameters()}
        config = peft_config(spec, layout)
        try:
            with without_notices():
                wrapped: Any = get_peft_model(model, config)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise UserError(
                f"adapter={spec.label}: PEFT cannot put {spec.kind} on this {layout.family} model: {error}"
            ) from error
        keep_one_head(wrapped)
        _check(wrapped, spec, layout, body)
        added = {
            name: parameter for name, parameter in wrapped.named_parameters() if id(parameter) not in body
        }
        if spec.kind in _IN_A_CACHE and (trouble := no_keys_in(wrapped, list(added.values()))):
            instead = "prefix_tuning" if layout.more_keys else "prompt_tuning"
            raise UserError(f"adapter={spec.label}: {trouble}. Use adapter={instead}.")
        # AdaLoRA's rank counters are parameters that never train (on the meta device they seem to).
        names = frozenset(n for n, p in added.items() if p.requires_grad and ".ranknum." not in n)
        return PeftInstalled(wrapped, names, spec)


def no_keys_in(wrapped: Any, learned: Sequence[Tensor]) -> str:
    """Why PEFT's learned keys and values do not reach this model's attention; empty where they do.

    Tested by one call on two tokens, also on the meta device: PEFT passes them as transformers' key-value cache, in
    an argument whose name has changed more than once, and a model silently ignores an argument that it does not read.
    """
    table = wrapped.get_input_embeddings().weight
    given = {"inputs_embeds": table.new_zeros(1, 2, table.shape[1])}
    if wrapped.config.is_encoder_decoder:
        given["decoder_inputs_embeds"] = given["inputs_embeds"]
    try:
        with quiet(), without_notices(), torch.enable_grad():
            logits = wrapped(**given).logits
        reached = torch.autograd.grad(logits.sum(), learned, allow_unused=True)
        trouble = "" if any(gradient is not None for gradient in reached) else "the model does not read them"
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        trouble = first_line(error).rstrip(".")
    if not trouble:
        return ""
    versions = ", ".join(f"{name} {version(name)}" for name in ("peft", "transformers"))
    return (
        f"PEFT's keys and values do not reach a {wrapped.config.model_type} model's attention ({versions}): "
        f"{trouble}"
    )


def _check(wrapped: Any, spec: PeftSpec, layout: Layout, body: dict[int, str]) -> None:
    """Raise UserError unless exactly the targets are adapted and the backbone's own tensors are still there."""
    wanted = target_modules(spec, layout)
    if wanted is not None:
        found = set(wrapped.targeted_module_names)
        if found != set(wanted):
            odd = sorted(found ^ set(wanted))[0]
            raise UserError(
                f"adapter={spec.label}: {len(wanted)} modules asked for, PEFT adapted {len(found)}; "
                f"the first that differs is {odd}. Check adapter.targets and adapter.arguments."
            )
    wanted_factors = spec.arguments.get("boft_n_butterfly_factor", 1)
    if wanted_factors > 1 and any(not getattr(m, "fbd_cuda_available", True) for m in wrapped.modules()):
        raise UserError(
            f"adapter.arguments.boft_n_butterfly_factor: got {wanted_factors}, but PEFT computes one factor on "
            "this machine, where its CUDA extension does not compile. Legal here: 1."
        )
    lost = body.keys() - {id(parameter) for parameter in wrapped.parameters()}
    if lost:
        raise UserError(
            f"adapter={spec.label}: PEFT's {spec.kind} replaces {len(lost)} of the backbone's weights "
            f"(such as {body[next(iter(lost))]}), so it cannot be compared here. Choose another type."
        )
