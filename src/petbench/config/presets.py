"""Presets of conf/ as plain values, read quickly without Hydra, to show what a run changed of them."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from petbench.config.tree import conf_dir, option_path, yaml_values
from petbench.config.values import flat
from petbench.errors import UserError

GROUPS = ("model", "adapter", "task", "data", "protocol", "trainer")


@cache
def preset(group: str, name: str) -> Mapping[str, Any]:
    """The values of a choice, by dotted paths (`adapter.rank`); its own override those of its base. Raises UserError
    for an unknown name."""
    own = yaml_values(option_path(group, name))
    whole: dict[str, Any] = {}
    for entry in own.pop("defaults", []):
        if isinstance(entry, str) and entry.startswith("/base/"):
            whole |= yaml_values(conf_dir() / f"{entry.partition('@')[0].lstrip('/')}.yaml")
    return flat({group: whole | own})


@cache
def common() -> Mapping[str, Any]:
    """The values that config.yaml itself sets, by dotted paths."""
    values = yaml_values(conf_dir() / "config.yaml")
    return flat({key: value for key, value in values.items() if key not in ("defaults", "hydra")})


def composed(choices: Mapping[str, str]) -> dict[str, Any]:
    """The values of a run with these choices and no other overrides; a group that is not in `choices` adds none."""
    values = dict(common())
    for group in GROUPS:
        if group in choices:
            values |= _preset_if_known(group, choices[group])
    values["optim.lr"] = values.get("adapter.tuning.lr")
    return values


@cache
def _preset_if_known(group: str, name: str) -> Mapping[str, Any]:
    """`preset`, or nothing for a name of an outside package that is not installed here."""
    try:
        return preset(group, name)
    except UserError:
        return {}


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same setting: YAML reads `1e-3` as text, Hydra as a number; a tuple equals a list."""
    if isinstance(one, str) != isinstance(other, str):
        try:
            return float(one) == float(other)
        except (TypeError, ValueError):
            return False
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
