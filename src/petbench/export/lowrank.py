"""Low-rank weight changes as one PEFT LoRA, and the value that describes any PEFT form."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from petbench.adapters.adapter import Attachment
from petbench.models.sites import Layout, Site
from petbench.tuned.attach import Tuned

ROOT = "base_model.model."  # where PEFT puts the wrapped model


@dataclass(frozen=True)
class PeftForm:
    """A PEFT type, the arguments of its config, and values by parameter name in the PEFT model.

    norms_in_form: trained norms are part of `values`, not modules saved whole beside the adapter.
    relative_error: of the weight changes, Frobenius norm; 0 where the form is exact.
    """

    peft_type: str
    arguments: dict[str, Any]
    values: dict[str, Tensor] = field(repr=False)
    note: str = ""
    norms_in_form: bool = False
    relative_error: float = 0.0


@dataclass(frozen=True)
class LowRank:
    """A site's weight change up @ down in PyTorch's layout: down (k, d_in), up (d_out, k)."""

    site: Site
    down: Tensor
    up: Tensor
    squares: tuple[float, float]  # squared Frobenius norms of the whole change and of what was left out


def attachments_of(tuned: Tuned) -> list[Attachment]:
    """The adapters of a native method with their sites."""
    return list(tuned.installed.attachments)  # type: ignore[attr-defined]


def lora_form(changes: list[LowRank], layout: Layout, note: str = "") -> PeftForm:
    """Low-rank changes of sites as one PEFT LoRA of scaling 1.

    Sites of one fused projection stand one below the other, each writing to its own columns; shorter ones
    are filled up with zeros, so that all modules have one rank.
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
