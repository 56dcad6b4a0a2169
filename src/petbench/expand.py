"""Expand: a command line with several values -> its members, composed as Hydra would, each with plain values."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from petbench.compose import (
    CONFIG_NAME,
    conf_dir,
    forgiving,
    hydra_errors,
    plugin_conf_dirs,
    search_path_override,
)
from petbench.errors import UserError


@dataclass(frozen=True)
class Member:
    """One run of a sweep before validation: the overrides that make it and the composed values."""

    overrides: tuple[str, ...]
    values: dict[str, Any]


def expand(argv: Sequence[str], config_dir: str | None = None) -> list[Member]:
    """All members of a (multi)run: choices and ranges multiplied out as Hydra's basic sweeper does.

    Raises UserError for what Hydra refuses: bad syntax, an unknown choice of a group.
    """
    from hydra import compose, initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    overrides = [*forgiving(argv), *search_path_override(argv, config_dir)]
    with hydra_errors():
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            preset = compose(CONFIG_NAME, overrides=unswept(overrides, loader), return_hydra_config=True)
            params = OmegaConf.select(preset, "hydra.sweeper.params") or {}
            swept = [f"{key}={value}" for key, value in params.items()]
            given = {o.partition("=")[0].lstrip("+") for o in overrides}
            swept = [o for o in forgiving(swept) if o.partition("=")[0].lstrip("+") not in given]
            parsed = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *overrides])
            batches = BasicSweeper.split_arguments(parsed, None)
            members = [tuple(member) for batch in batches for member in batch]
            return _composed(_with_cells(members, preset, config_dir), config_dir)


def _with_cells(
    members: Sequence[tuple[str, ...]], preset: Any, config_dir: str | None
) -> Sequence[tuple[str, ...]]:
    """Members of a recipe get what its table says of their cells; others stay as they are."""
    from omegaconf import OmegaConf

    from petbench.recipe import completed, table_of, with_starts

    recipes = {text for member in members for text in member if _key(text) == "recipe"}
    if len(recipes) > 1:
        raise UserError(f"one recipe at a time; got {' '.join(sorted(recipes))}.")
    plain: Any = OmegaConf.to_container(OmegaConf.masked_copy(preset, ["recipe", "table"]))
    table = table_of(plain)
    if table is None:
        return members
    choices = preset.hydra.runtime.choices
    whole = [completed(member, table, choices) for member in members]
    return with_starts(
        whole, members, table, choices, lambda some: [each.values for each in _composed(some, config_dir)]
    )


def recompose(members: Sequence[Sequence[str]], config_dir: str | None = None) -> list[Member]:
    """Members from their whole overrides, one each."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with hydra_errors():
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
            return _composed([tuple(overrides) for overrides in members], config_dir)


def without_sweeps(argv: Sequence[str]) -> list[str]:
    """The command line less what has several values (also `interval(0,1)`, which only some sweepers know)."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    with hydra_errors():
        parsed = OverridesParser.create().parse_overrides(list(argv))
    return [text for text, override in zip(argv, parsed, strict=True) if not override.is_sweep_override()]


def unswept(overrides: Sequence[str], loader: Any) -> list[str]:
    """The overrides without sweeps: enough to see which sweep preset and which launcher were chosen."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    return [
        text for text, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()
    ]


def _composed(members: Sequence[tuple[str, ...]], config_dir: str | None) -> list[Member]:
    """Compose once for each choice of groups, then put the values of each member on top.

    Hydra does just that inside one composition, and reads all files anew for every member: 40 ms each. A value
    that no interpolation reads goes straight into a copy of the plain result, 20 times as fast again.
    """
    roots = [conf_dir(), *plugin_conf_dirs(), *([Path(config_dir).resolve()] if config_dir else [])]
    split = [_split(overrides, roots) for overrides in members]
    shared = set.intersection(*(set(values) for _, values in split)) if split else set()
    bases: dict[tuple[str, ...], _Base] = {}
    out = []
    for overrides, (choices, values) in zip(members, split, strict=True):
        if choices not in bases:
            bases[choices] = _Base(choices, [text for text in values if text in shared])
        out.append(Member(overrides, bases[choices].values([t for t in values if t not in shared])))
    return out


class _Base:
    """One choice of groups, composed, with the values that all members share; a member's own come on top."""

    def __init__(self, choices: Sequence[str], shared: Sequence[str]) -> None:
        from hydra import compose
        from omegaconf import OmegaConf

        self._config = _with(compose(CONFIG_NAME, overrides=list(choices)), shared)
        self._shared = [_key(text) for text in shared]
        self._plain: Any = OmegaConf.to_container(self._config, resolve=True)
        unresolved = OmegaConf.to_yaml(self._config)
        self._read = re.findall(r"\$\{([^}]*)\}", unresolved)

    def values(self, own: Sequence[str]) -> dict[str, Any]:
        """The member's plain values, as one composition of all its overrides gives them."""
        from omegaconf import OmegaConf

        plain = copy.deepcopy(self._plain)
        keys = [*self._shared, *map(_key, own)]
        apart = not any(_overlap(a, b) for n, a in enumerate(keys) for b in keys[:n])
        if apart and all(self._put(plain, text) for text in own):
            return plain
        resolved: Any = OmegaConf.to_container(_with(copy.deepcopy(self._config), own), resolve=True)
        return resolved

    def _put(self, plain: Any, text: str) -> bool:
        """Set one value in plain values; False where that may differ from what OmegaConf would do."""
        value = _parsed(text).value()
        *parents, leaf = _key(text).split(".")
        simple = value is None or isinstance(value, bool | int | float) or type(value) is str
        if not simple or (type(value) is str and "$" in value):
            return False
        if any(path.startswith(".") or ":" in path or _overlap(path, _key(text)) for path in self._read):
            return False
        for parent in parents:
            plain = plain.get(parent) if isinstance(plain, dict) else None
        if not isinstance(plain, dict) or leaf not in plain or isinstance(plain[leaf], dict | list):
            return False
        plain[leaf] = value
        return True


def _split(overrides: Sequence[str], roots: Sequence[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choices of groups (and what has to stay with them), and plain values."""
    if any(o.startswith("~") or (o.startswith("+") and not o.startswith("++")) for o in overrides):
        return tuple(overrides), ()  # they act on what stands before them: left to Hydra whole
    values = tuple(o for o in overrides if _is_value(o, roots))
    return tuple(o for o in overrides if o not in values), values


def _with(config: Any, overrides: Sequence[str]) -> Any:
    """What Hydra does with the values of a command line once the groups are composed."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    ConfigLoaderImpl._apply_overrides_to_config([_parsed(text) for text in overrides], config)
    return config


@cache
def _parsed(text: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(text)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def _overlap(one: str, other: str) -> bool:
    """Whether two dotted paths name the same value or one lies inside the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _is_value(override: str, roots: Sequence[Path]) -> bool:
    """Whether an override sets a value, chooses no group and is not Hydra's own."""
    key = _key(override)
    is_group = "@" in key or any((root / key).is_dir() for root in roots)
    return not is_group and not key.startswith(("hydra.", "hydra/"))
