"""The folders of config YAMLs (petbench's, outside packages' and the user's), their groups and choices."""

import sys
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from petbench.errors import unknown

# The entry points through which other packages add methods and tasks.
POINTS = ("petbench.adapters", "petbench.tasks")


def conf_dir() -> Path:
    """petbench's config folder: inside the package if installed from a wheel, otherwise at the repository's top."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def plugin_conf_dirs() -> tuple[Path, ...]:
    """The `conf` folders beside the modules of the entry points `petbench.adapters` and `petbench.tasks`, found
    without importing the modules."""
    return _plugin_conf_dirs(tuple(sys.path))


@cache
def _plugin_conf_dirs(_sys_path: tuple[str, ...]) -> tuple[Path, ...]:
    """The same, cached: searching all installed packages takes 0.1 s, so it is done once for each `sys.path`."""
    from importlib.metadata import entry_points  # imported here: the first line of a command needs neither
    from importlib.util import find_spec

    folders: list[Path] = []
    for point in chain.from_iterable(entry_points(group=group) for group in POINTS):
        try:
            spec = find_spec(point.module.split(".")[0])
        except (ImportError, ValueError):  # a broken package must not hide the others
            continue
        for place in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(place) / "conf"
            if folder.is_dir() and folder not in folders:
                folders.append(folder)
    return tuple(folders)


def conf_roots(config_dir: str | Path | None = None) -> list[Path]:
    """All folders that may hold config groups: petbench's, outside packages' and the user's."""
    return [conf_dir(), *plugin_conf_dirs(), *([Path(config_dir).resolve()] if config_dir else [])]


def key_of(override: str) -> str:
    """`++optim.lr=1e-3` -> `optim.lr`."""
    return override.partition("=")[0].lstrip("+")


def is_group(key: str, roots: Sequence[Path]) -> bool:
    """Whether a key chooses a file of a group (`adapter`, `task@other`) instead of setting a value."""
    return "@" in key or any((root / key).is_dir() for root in roots)


def options(group: str, config_dir: str | Path | None = None) -> list[str]:
    """The choices of a config group, sorted; nested ones are written `peft/lora`."""
    names = set()
    for root in conf_roots(config_dir):
        folder = root / group
        names |= {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")}
    return sorted(names)


def yaml_values(path: Path) -> dict[str, Any]:
    """The values of a YAML of conf/, none of an empty file; read by LibYAML, which is faster, where PyYAML has it."""
    import yaml  # imported here: the first line of a command reads no YAML

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return dict(yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or {})


def option_path(group: str, name: str) -> Path:
    """The YAML file of a choice. Raises UserError with the nearest name when there is none."""
    for root in conf_roots():
        path = root / group / f"{name}.yaml"
        if path.is_file():
            return path
    raise unknown(group, name, options(group))
