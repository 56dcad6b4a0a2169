"""Expand: a command line with several values -> its members, composed as Hydra would, each with plain values."""

import copy
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
            return _composed([tuple(member) for batch in batches for member in batch], config_dir)


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

    Hydra does just that inside one composition, and reads all files anew for every member: 40 ms each.
    """
    from hydra import compose
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    roots = [conf_dir(), *plugin_conf_dirs(), *([Path(config_dir).resolve()] if config_dir else [])]
    parser = OverridesParser.create()
    base = cache(lambda choices: compose(CONFIG_NAME, overrides=list(choices)))
    parsed = cache(lambda text: parser.parse_override(text))
    out = []
    for overrides in members:
        values = () if _order_matters(overrides) else tuple(o for o in overrides if _is_value(o, roots))
        config = copy.deepcopy(base(tuple(o for o in overrides if o not in values)))
        ConfigLoaderImpl._apply_overrides_to_config([parsed(text) for text in values], config)
        plain: Any = OmegaConf.to_container(config, resolve=True)
        out.append(Member(overrides, plain))
    return out


def _order_matters(overrides: Sequence[str]) -> bool:
    """`+a.b=1` and `~a.b` act on what stands before them: such a member is left to Hydra whole."""
    return any(o.startswith("~") or (o.startswith("+") and not o.startswith("++")) for o in overrides)


def _is_value(override: str, roots: Sequence[Path]) -> bool:
    """Whether an override sets a value, chooses no group and is not Hydra's own."""
    key = override.partition("=")[0].lstrip("+")
    is_group = "@" in key or any((root / key).is_dir() for root in roots)
    return not is_group and not key.startswith(("hydra.", "hydra/"))
