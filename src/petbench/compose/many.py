"""Compose many configs at the cost of few; each equals what Hydra composes from its overrides alone.

For every composition Hydra reads and merges all files again, which takes some 100 ms. So each choice of a group is
composed once: a product of groups costs the sum of their choices (9 methods and 8 tasks: 16 compositions, not 72).
Values are then set on the results. Compositions of petbench's own files alone are cached in the process.
"""

import copy
import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from petbench.compose.hydra import CONFIG_NAME
from petbench.config.tree import conf_roots, is_group, key_of

Choices = tuple[str, ...]


def values_of(members: Sequence[Sequence[str]], config_dir: str | None = None) -> list[dict[str, Any]]:
    """The plain, resolved values of every member. Hydra must be initialised.

    Raises what Hydra and OmegaConf raise; see `compose.hydra_errors`.
    """
    roots = conf_roots(config_dir)
    halves = [split(overrides, roots) for overrides in members]
    shared = set.intersection(*(set(values) for _, values in halves)) if halves else set()
    configs = _composed(dict.fromkeys(choices for choices, _ in halves), roots)
    bases: dict[Choices, _Base] = {}
    out = []
    for choices, values in halves:
        if choices not in bases:
            bases[choices] = _Base(configs[choices], [text for text in values if text in shared])
        out.append(bases[choices].values([text for text in values if text not in shared]))
    return out


def _composed(wanted: Iterable[Choices], roots: Sequence[Path]) -> dict[Choices, Any]:
    """The config of each combination of choices, with interpolations unresolved."""
    first, *others = every = list(wanted) or [()]
    keys = list(map(key_of, first))
    if all(list(map(key_of, choices)) == keys for choices in others):
        places = [n for n in range(len(keys)) if len({choices[n] for choices in every}) > 1]
        options = {(n, choices[n]) for choices in every for n in places}
        if len(options) < len(every) and all(_stands_alone(text, roots) for _, text in options):
            return _assembled(every, places, roots)
    return {choices: composed(choices, roots) for choices in every}


def preset_of(overrides: Sequence[str], roots: Sequence[Path]) -> Any:
    """The config of a command line without its keys of several values, with Hydra's own part: it shows which recipe and
    which parameters of the sweeper were chosen.

    If only petbench's own files are read, plain values are left out, as they cannot change these; a user's file may
    refer to any value (`params: {optim.lr: ${lrs}}`).
    """
    choices, values = split(overrides, roots)
    if not _only_shipped(choices, roots) or any(
        key_of(text).startswith(("recipe", "table")) for text in values
    ):
        choices = tuple(overrides)
    return composed(choices, roots, with_hydra=True)


def composed(choices: Choices, roots: Sequence[Path], *, with_hydra: bool = False) -> Any:
    """What Hydra composes from these overrides; cached if only petbench's own files are read, as nobody edits them."""
    if _only_shipped(choices, roots):
        return copy.deepcopy(_shipped(choices, with_hydra))
    return compose(CONFIG_NAME, overrides=list(choices), return_hydra_config=with_hydra)


def _only_shipped(choices: Choices, roots: Sequence[Path]) -> bool:
    """Whether only petbench's own files are read, with no override of Hydra's search path or sweeper."""
    return len(roots) == 1 and not any(
        key_of(text).startswith(("hydra.searchpath", "hydra.sweeper")) for text in choices
    )


@lru_cache(maxsize=256)
def _shipped(choices: Choices, with_hydra: bool) -> Any:
    return compose(CONFIG_NAME, overrides=list(choices), return_hydra_config=with_hydra)


def _stands_alone(choice: str, roots: Sequence[Path]) -> bool:
    """Whether a choice is a file that fills only the group of its name, at most on top of the group's base."""
    group, _, name = choice.partition("=")
    files = [path for root in roots if (path := root / group / f"{name}.yaml").is_file()]
    texts = [path.read_text(encoding="utf-8") for path in files]
    return (
        group.isidentifier()
        and bool(texts)
        and not any(re.search(r"@package|^defaults:", t.replace(_base(group), ""), re.M) for t in texts)
    )


def _base(group: str) -> str:
    """The defaults list of a file that includes only the base of its group."""
    return f"defaults:\n  - /base/{group}@_here_\n  - _self_\n"


def _assembled(every: Sequence[Choices], places: Sequence[int], roots: Sequence[Path]) -> dict[Choices, Any]:
    """The configs of a product: each option of a group is composed once, with the first options of the other groups.

    If an option changes more than its own group, every combination is composed on its own instead.
    """
    first = every[0]
    base = composed(first, roots)
    plain: Any = OmegaConf.to_container(base)
    nodes: dict[str, Any] = {}
    for n in places:
        key = key_of(first[n])
        nodes[first[n]] = base[key]
        for text in dict.fromkeys(choices[n] for choices in every):
            if text in nodes:
                continue
            config = composed((*first[:n], text, *first[n + 1 :]), roots)
            other: Any = OmegaConf.to_container(config)
            if {**other, key: None} != {**plain, key: None}:
                return {choices: composed(choices, roots) for choices in every}
            nodes[text] = config[key]
    out = {}
    for choices in every:
        out[choices] = copy.deepcopy(base)
        for n in places:
            out[choices][key_of(choices[n])] = nodes[choices[n]]
    return out


class _Base:
    """A composed combination of choices with the values that all members share; `values` adds a member's own."""

    def __init__(self, config: Any, shared: Sequence[str]) -> None:
        self._config = _with(config, shared)
        self._shared = [key_of(text) for text in shared]
        self._plain: Any = OmegaConf.to_container(self._config, resolve=True)
        unresolved = str(OmegaConf.to_container(self._config))
        self._read = re.findall(r"\$\{([^}]*)\}", unresolved)

    def values(self, own: Sequence[str]) -> dict[str, Any]:
        """The member's plain values, equal to those of a single composition of all its overrides."""
        plain = copy.deepcopy(self._plain)
        keys = [*self._shared, *map(key_of, own)]
        apart = not any(_overlap(a, b) for n, a in enumerate(keys) for b in keys[:n])
        if apart and all(self._put(plain, text) for text in own):
            return plain
        resolved: Any = OmegaConf.to_container(_with(copy.deepcopy(self._config), own), resolve=True)
        return resolved

    def _put(self, plain: Any, text: str) -> bool:
        """Set one value in plain values; False, without setting it, if OmegaConf might do something else."""
        value = parsed(text).value()
        *parents, leaf = key_of(text).split(".")
        simple = value is None or isinstance(value, bool | int | float) or type(value) is str
        if not simple or (type(value) is str and "$" in value):
            return False
        if any(path.startswith(".") or ":" in path or _overlap(path, key_of(text)) for path in self._read):
            return False
        for parent in parents:
            plain = plain.get(parent) if isinstance(plain, dict) else None
        if not isinstance(plain, dict) or leaf not in plain or isinstance(plain[leaf], dict | list):
            return False
        plain[leaf] = value
        return True


def split(overrides: Sequence[str], roots: Sequence[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The overrides in two parts: choices of groups (and what must stay with them), and plain values."""
    if any(o.startswith("~") or (o.startswith("+") and not o.startswith("++")) for o in overrides):
        return tuple(overrides), ()  # these depend on the overrides before them: Hydra gets all of them
    values = tuple(o for o in overrides if _is_value(o, roots))
    return tuple(o for o in overrides if o not in values), values


def _with(config: Any, overrides: Sequence[str]) -> Any:
    """The config with values set as Hydra sets those of a command line after it has composed the groups."""
    ConfigLoaderImpl._apply_overrides_to_config([parsed(text) for text in overrides], config)
    return config


@cache
def parsed(text: str) -> Any:
    """An override as Hydra reads it."""
    return OverridesParser.create().parse_override(text)


def _overlap(one: str, other: str) -> bool:
    """Whether two dotted paths are equal or one is below the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _is_value(override: str, roots: Sequence[Path]) -> bool:
    """Whether an override sets a value: it neither chooses from a group nor is one of Hydra's own keys."""
    key = key_of(override)
    return not is_group(key, roots) and not key.startswith(("hydra.", "hydra/"))
