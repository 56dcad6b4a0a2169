"""The form in which a method is exported: a PEFT type that computes the same, its arguments and its values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from petbench.adapters.adapter import At
from petbench.models.sites import Layout, Site

ROOT = "base_model.model."  # where PEFT puts the wrapped model


@dataclass(frozen=True)
class Ranks:
    """The rank of a LoRA that replaces another change of weights: up to `most` where it is exact, else `approximate`
    for the nearest one (None: an approximation is refused)."""

    most: int = 16
    approximate: int | None = None


@dataclass(frozen=True)
class PeftForm:
    """A PEFT type, the arguments of its config, and values by parameter name in the PEFT model.

    norms_in_form: trained norms are part of `values`, not modules saved whole beside the adapter.
    relative_error: Frobenius norm of what the form leaves out, over that of all weight changes; 0 where it is exact.
    """

    peft_type: str
    arguments: dict[str, Any]
    values: dict[str, Tensor] = field(repr=False)
    note: str = ""
    norms_in_form: bool = False
    relative_error: float = 0.0


@dataclass(frozen=True)
class LowRank:
    """A site's weight change up @ down in PyTorch's layout: down (k, d_in), up (d_out, k).

    squares: squared Frobenius norms of the whole change and of what was left out of it.
    """

    site: Site
    down: Tensor
    up: Tensor
    squares: tuple[float, float] = (0.0, 0.0)


def lora_form(changes: Sequence[LowRank], layout: Layout, note: str = "") -> PeftForm:
    """Low-rank changes of sites as one PEFT LoRA of scaling 1.

    The sites of a fused projection become one LoRA: their factors are stacked, and each writes to its own output
    columns. Smaller ranks are filled up with zeros, so that all modules have the same one.
    """
    by_module: dict[str, list[LowRank]] = {}
    for change in changes:
        by_module.setdefault(change.site.module, []).append(change)
    rank = max(sum(change.down.shape[0] for change in group) for group in by_module.values())
    values = {}
    for module, group in by_module.items():
        like = group[0].down
        down, up = like.new_zeros(rank, like.shape[1]), like.new_zeros(width_of(layout, module), rank)
        start = 0
        for change in group:
            stop = start + change.down.shape[0]
            first, last = change.site.columns or (0, change.site.d_out)
            down[start:stop] = change.down
            up[first:last, start:stop] = change.up
            start = stop
        values[f"{ROOT}{module}.lora_A.default.weight"] = down
        values[f"{ROOT}{module}.lora_B.default.weight"] = up
    arguments = {
        "r": rank,
        "lora_alpha": rank,
        "target_modules": list(by_module),
        "fan_in_fan_out": any(change.site.transposed for change in changes),
    }
    whole, left_out = (sum(change.squares[i] for change in changes) for i in (0, 1))
    error = (left_out / whole) ** 0.5 if whole > 0 else 0.0
    return PeftForm("LORA", arguments, values, note or f"LoRA of rank {rank}", relative_error=error)


def width_of(layout: Layout, module: str) -> int:
    """Output width of a module, which may hold several sites."""
    return max(s.columns[1] if s.columns else s.d_out for s in layout.all_sites if s.module == module)


def ia3_form(scales: Iterable[tuple[Site, At, Tensor]], layout: Layout, note: str = "(IA)^3") -> PeftForm:
    """Factors on the inputs (d_in) or outputs (d_out) of sites as one PEFT (IA)^3."""
    values: dict[str, Tensor] = {}
    inputs: list[str] = []
    modules: dict[str, None] = {}
    transposed = False
    for site, at, vector in scales:
        name = f"{ROOT}{site.module}.ia3_l.default"
        modules |= {site.module: None}
        transposed |= site.transposed
        if at == "input":
            inputs.append(site.module)
            values[name] = vector.detach()[None, :]
            continue
        whole = values.setdefault(name, vector.detach().new_ones(width_of(layout, site.module), 1))
        start, stop = site.columns or (0, site.d_out)
        whole[start:stop, 0] = vector.detach()
    arguments = {"target_modules": list(modules), "feedforward_modules": inputs, "fan_in_fan_out": transposed}
    return PeftForm("IA3", arguments, values, note)
