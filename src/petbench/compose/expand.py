"""Expand a command line with several values into the members of a sweep, each with its plain config values."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from petbench.compose.hydra import forgiving, hydra_errors, search_path_override
from petbench.compose.many import preset_of, values_of
from petbench.compose.recipe import IdOf, completed, table_of, with_starts
from petbench.config.tree import conf_dir, conf_roots, key_of, option_path
from petbench.errors import UserError


def not_known(values: dict[str, Any]) -> None:
    """A run id of None, for commands that need no run ids."""


@dataclass(frozen=True)
class Composed:
    """One member of a sweep before validation: its overrides and their composed values."""

    overrides: tuple[str, ...]
    values: dict[str, Any]


def expand(argv: Sequence[str], config_dir: str | None = None, id_of: IdOf = not_known) -> list[Composed]:
    """All members of a run or sweep: several values of a key are multiplied out as Hydra's basic sweeper does.

    id_of: composed values -> run id, for recipes whose cells start from another cell's run.
    Raises UserError for what Hydra refuses (bad syntax, an unknown choice), and for more than 10,000 members.
    """
    overrides = [*forgiving(argv), *search_path_override(argv, config_dir)]
    with hydra_errors(config_dir):
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            preset = preset_of(without_sweeps(overrides, loader), conf_roots(config_dir))
            params = OmegaConf.select(preset, "hydra.sweeper.params") or {}
            swept = [f"{key}={value}" for key, value in params.items()]
            given = set(map(key_of, overrides))
            swept = [o for o in forgiving(swept) if key_of(o) not in given]
            parsed = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *overrides])
            _require_few(parsed)
            batches = BasicSweeper.split_arguments(parsed, None)
            members = [tuple(member) for batch in batches for member in batch]
            return _composed(_with_cells(members, preset, config_dir, id_of), config_dir)


MOST_MEMBERS = 10_000


def _require_few(parsed: Sequence[Any]) -> None:
    """Raise UserError for a product of too many values, before it is multiplied out."""
    members = 1
    for override in parsed:
        if override.is_sweep_override() and not override.is_interval_sweep():
            values = sum(1 for _ in islice(override.sweep_string_iterator(), MOST_MEMBERS + 1))
            members *= max(1, values)
        if members > MOST_MEMBERS:
            raise UserError(
                f"{override.key_or_group}: the sweep has more than {MOST_MEMBERS:,} members. Legal: at most as many."
            )


def _with_cells(
    members: Sequence[tuple[str, ...]], preset: Any, config_dir: str | None, id_of: IdOf
) -> Sequence[tuple[str, ...]]:
    """The members of a recipe with the settings that its table has for their cells; other members unchanged."""
    recipes = {text for member in members for text in member if key_of(text) == "recipe"}
    if len(recipes) > 1:
        raise UserError(f"recipe: got {' '.join(sorted(recipes))}. Legal: one recipe at a time.")
    plain: Any = OmegaConf.to_container(OmegaConf.masked_copy(preset, ["recipe", "table"]))
    table = table_of(plain)
    if table is None:
        return members
    choices = preset.hydra.runtime.choices
    whole = [completed(member, table, choices) for member in members]
    return with_starts(whole, members, table, choices, lambda some: values_of(some, config_dir), id_of)


def recompose(members: Sequence[Sequence[str]], config_dir: str | None = None) -> list[Composed]:
    """The members with these overrides: one for each list, which has a single value for every key."""
    with hydra_errors(config_dir):
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
            return _composed([tuple(overrides) for overrides in members], config_dir)


def choice(group: str, name: str) -> dict[str, Any]:
    """The plain values of one choice of a group, such as ("model", "tiny_bert"), as in a run.

    Raises UserError with the nearest name when there is no such choice.
    """
    return copy.deepcopy(_choice(group, name))


@cache
def _choice(group: str, name: str) -> dict[str, Any]:
    option_path(group, name)  # raises a clear error for an unknown name
    (member,) = expand([f"{group}={name}"])
    values: dict[str, Any] = member.values[group]
    return values


def without_sweeps(overrides: Sequence[str], loader: Any = None) -> list[str]:
    """The overrides without those that have several values (or `interval(0,1)`, which only some sweepers know).

    They suffice to see which sweep preset and which launcher were chosen. loader: Hydra's, which knows the groups.
    """
    with hydra_errors():
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    return [
        text for text, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()
    ]


def _composed(members: Sequence[tuple[str, ...]], config_dir: str | None) -> list[Composed]:
    values = values_of(members, config_dir)
    return [Composed(overrides, own) for overrides, own in zip(members, values, strict=True)]
