"""An adapter that stock PEFT saved, read as data from an untrusted folder, and the sites that it adapts.

Nothing in its config is run, opened or used as a regular expression: paths and code in it are ignored, sizes are read
off the tensors, and an option is refused unless it is known to be harmless or switched off.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from petbench.errors import UserError
from petbench.models.sites import Layout, Site

PEFT_CONFIG = "adapter_config.json"
PEFT_WEIGHTS = "adapter_model.safetensors"
MOST_CONFIG_BYTES = 1 << 20
PROJECTIONS = ("query", "key", "value", "attention_output", "ffn_input", "ffn_output")
_ROOT = "base_model.model."
_LEAVES = {
    "LORA": r"(lora_[AB])\.weight",
    "IA3": r"(ia3_l)",
    "LOKR": r"(lokr_w[12](?:_[ab])?)",
    "LN_TUNING": r"ln_tuning_layers\.(weight|bias)",
}
# Options that say where a config was used or how values were initialised or dropped out, or that the tensors show.
_HARMLESS = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "modules_to_save", "target_modules", "exclude_modules", "feedforward_modules"),
    *("fan_in_fan_out", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "r"),
    *("lora_alpha", "alpha", "lora_dropout", "rank_dropout", "module_dropout", "rank_dropout_scale"),
    *("use_rslora", "megatron_core", "init_ia3_weights", "init_weights", "decompose_both", "decompose_factor"),
    *("init_lora_weights", "ensure_weight_tying", "runtime_config", "use_effective_conv2d"),
    "qalora_group_size",
}  # fmt: skip
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva", "mini_gaussian")  # others change the backbone


@dataclass(frozen=True)
class Foreign:
    """A saved PEFT adapter. tensors: all of them by name without PEFT's prefix, in float32. parts: those of the
    adapter, module -> leaf, such as `lora_A` -> tensor. beside: the others by name, parameters saved whole."""

    folder: Path
    kind: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    parts: Mapping[str, Mapping[str, Tensor]]
    beside: Mapping[str, Tensor]

    def refusal(self, why: str) -> UserError:
        """The error for an adapter that no native method can hold."""
        return UserError(
            f"{self.folder}: {why}. PEFT itself can load it: adapter=peft/custom adapter.peft_type={self.kind} "
            "'adapter.arguments={…}' as in its adapter_config.json, and the same init_from=."
        )

    def number(self, key: str, module: str, pattern: str, otherwise: float) -> float:
        """A number of the config, or the module's own where the mapping `pattern` has one, by plain names.

        Raises UserError for a key that is no plain name, and for a number that is not finite or not above 0.
        """
        found = self.config.get(key, otherwise)
        for name, value in dict(self.config.get(pattern) or {}).items():
            if not re.fullmatch(r"[\w.]+", name):
                raise self.refusal(
                    f"{pattern} holds the expression {name[:40]!r}, but only plain names are read"
                )
            if module == name or module.endswith(f".{name}"):
                found = value
                break
        if (
            isinstance(found, bool)
            or not isinstance(found, int | float)
            or not math.isfinite(found)
            or found <= 0
        ):
            raise UserError(f"{self.folder}: {key} of {module} is {found!r}. Legal: a number above 0.")
        return float(found)

    def scaling(self, module: str, alpha: str, rank: int | None = None) -> float:
        """alpha / r, or alpha / √r under rslora; r is the tensors' rank where they have one."""
        r = float(rank) if rank is not None else self.number("r", module, "rank_pattern", 8)
        over = math.sqrt(r) if self.config.get("use_rslora") else r
        return self.number(alpha, module, "alpha_pattern", 8) / over

    def part(self, site: Site, *leaves: str) -> tuple[Tensor, ...]:
        """The tensors of a site's module. Raises UserError where it has none."""
        part = self.parts.get(site.module, {})
        if any(leaf not in part for leaf in leaves):
            held = ", ".join(sorted(self.parts)[:3])
            raise UserError(
                f"{self.folder} holds nothing for {site} ({site.module}); its modules are {held}, … "
                "Set adapter.targets and adapter.layers to the adapter's."
            )
        return tuple(part[leaf] for leaf in leaves)


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds an adapter that PEFT saved, not petbench."""
    return (folder / PEFT_CONFIG).is_file() and any(
        (folder / f"adapter_model.{ending}").is_file() for ending in ("safetensors", "bin")
    )


def read_foreign(folder: Path) -> Foreign:
    """Read a saved PEFT adapter. Raises UserError for broken files, pickles, and tensors that are no floating point."""
    config = _config(folder)
    kind = str(config.get("peft_type", "")).upper()[:40]
    if not (folder / PEFT_WEIGHTS).is_file():
        raise UserError(
            f"{folder}: its weights are a pickle, which may run code. Load it in PEFT and save it with "
            "safe_serialization=True."
        )
    try:
        saved = load_file(folder / PEFT_WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder / PEFT_WEIGHTS} is broken: {error}.") from error
    if odd := [key for key, tensor in saved.items() if not tensor.is_floating_point()]:
        raise UserError(f"{folder}: {odd[0][:80]} is {saved[odd[0]].dtype}. Legal: floating point.")
    tensors = {
        key.removeprefix(_ROOT).replace(".modules_to_save.", "."): t.float() for key, t in saved.items()
    }
    pattern = re.compile(rf"(.+)\.{_LEAVES.get(kind, '(?!)')}")
    parts: dict[str, dict[str, Tensor]] = {}
    beside: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if found := pattern.fullmatch(name):
            parts.setdefault(found[1], {})[found[2]] = tensor
        else:
            beside[name] = tensor
    return Foreign(folder, kind, config, tensors, parts, beside)


def require_plain(foreign: Foreign) -> None:
    """Raise UserError for what no native method computes: other types, and options such as DoRA."""
    if foreign.kind not in _LEAVES:
        raise foreign.refusal(f"no native method computes PEFT's {foreign.kind or 'nothing'}")
    for key, value in foreign.config.items():
        if key not in _HARMLESS and value not in (None, False, 0, 0.0, "none", [], {}):
            raise foreign.refusal(f"{str(key)[:40]} is {str(value)[:40]!r}, which the native method lacks")
    start = foreign.config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        raise foreign.refusal(f"init_lora_weights={str(start)[:40]!r} changed the backbone's own weights")
    if not foreign.parts:
        raise UserError(f"{foreign.folder / PEFT_WEIGHTS} holds no {foreign.kind} tensors.")


def places(
    foreign: Foreign, layout: Layout, touches: Callable[[Site], bool], roles: Sequence[str] = PROJECTIONS
) -> list[Site]:
    """The sites that the adapter changes; in a fused module, those of each role that `touches` finds in any layer.

    Raises UserError for a module that is no site of these roles.
    """
    sites = [site for site in layout.all_sites if site.role in roles and site.module in foreign.parts]
    unplaced = foreign.parts.keys() - {site.module for site in sites}
    if unplaced:
        raise foreign.refusal(
            f"{min(unplaced)[:80]} is not a module that petbench's {foreign.kind} adapts in a {layout.family} model"
        )
    touched = {site.role for site in sites if site.columns is None or touches(site)}
    return [site for site in sites if site.role in touched] or sites


def roles_and_layers(foreign: Foreign, layout: Layout, sites: Sequence[Site]) -> dict[str, Any]:
    """`targets` and `layers` that give exactly these sites. Raises UserError where none do."""
    roles = tuple(role for role in PROJECTIONS if any(site.role == role for site in sites))
    layers = tuple(sorted({site.layer for site in sites}))
    for choice in ("all", layers):
        if {s for role in roles for s in layout.sites(role, layers=choice)} == set(sites):
            return {"targets": roles, "layers": choice}
    raise foreign.refusal(f"its modules are not {', '.join(roles)} of the same layers for each role")


def require_neutral(
    foreign: Foreign, sites: Iterable[Site], leaf: str, neutral: float, what: str = "adapter.targets"
) -> None:
    """Raise UserError where values other than `neutral` are in a module, or columns of one, that the method lacks."""
    held = list(sites)
    for module, part in foreign.parts.items():
        here = [site for site in held if site.module == module]
        rest = part[leaf].flatten(1).clone() if part[leaf].dim() > 1 else part[leaf].clone()
        for site in here:
            start, stop = site.columns or (0, len(rest))
            rest[start:stop] = neutral
        if not here or bool((rest != neutral).any()):
            raise UserError(f"{foreign.folder} also adapts {module}. Name its role in {what}.")


def require_shape(foreign: Foreign, site: Site, tensor: Tensor, shape: tuple[int, ...], fix: str) -> None:
    """Raise UserError unless a tensor has this shape; `fix` says what to do."""
    if tuple(tensor.shape) != shape:
        raise UserError(
            f"{foreign.folder}: {site} has shape {tuple(tensor.shape)} in the saved adapter, {shape} in this run. {fix}"
        )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / PEFT_CONFIG
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise UserError(
                f"{path} is larger than {MOST_CONFIG_BYTES:,} bytes. No adapter's config is so large."
            )
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is broken: {error}.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is broken: it does not hold a JSON object.")
    for key in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(key) or {}, dict):
            raise UserError(f"{path}: {key} is not a JSON object.")
    return config
