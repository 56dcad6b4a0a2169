"""Compose: command-line overrides -> plain config values, through Hydra; nothing below sees a DictConfig."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from petbench.errors import UserError, unknown

CONFIG_NAME = "config"


def conf_dir() -> Path:
    """The config tree: inside the package when installed from a wheel, else at the top of the repository."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def plugin_conf_dirs() -> list[Path]:
    """`conf` folders beside the modules of the entry point `petbench.adapters` (nothing is imported)."""
    folders = []
    for point in entry_points(group="petbench.adapters"):
        spec = find_spec(point.module.split(".")[0])
        for place in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(place) / "conf"
            if folder.is_dir():
                folders.append(folder)
    return folders


def conf_roots(config_dir: str | Path | None = None) -> list[Path]:
    """Every folder that may hold groups: petbench's own, outside methods' and the user's."""
    return [conf_dir(), *plugin_conf_dirs(), *([Path(config_dir).resolve()] if config_dir else [])]


def key_of(override: str) -> str:
    """`++optim.lr=1e-3` -> `optim.lr`."""
    return override.partition("=")[0].lstrip("+")


def is_group(key: str, roots: Sequence[Path]) -> bool:
    """Whether a key chooses a file (`adapter`, `task@other`) and sets no value."""
    return "@" in key or any((root / key).is_dir() for root in roots)


def options(group: str, config_dir: str | None = None) -> list[str]:
    """The choices of a config group, nested ones as `peft/lora`, sorted."""
    names = set()
    for root in conf_roots(config_dir):
        folder = root / group
        names |= {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")}
    return sorted(names)


def option_path(group: str, name: str) -> Path:
    """The YAML of a choice. Raises UserError with the nearest name."""
    for root in conf_roots():
        path = root / group / f"{name}.yaml"
        if path.is_file():
            return path
    raise unknown(group, name, options(group))


def forgiving(argv: Sequence[str]) -> list[str]:
    """Let Hydra take keys that it does not know, so that validation can name all mistakes at once.

    `a.b=c` becomes `++a.b=c`; groups, Hydra's own keys, flags, and `+`, `++`, `~` stay as they are. Outside
    methods' config folders join the search path.
    """
    if any(argument in ("-sc", "--shell-completion") for argument in argv):
        return list(argv)  # `query=bash` is no config value
    roots = conf_roots()
    out = []
    for argument in argv:
        key, equals, _ = argument.partition("=")
        plain = equals and not key.startswith(("-", "+", "~", "hydra.", "hydra/"))
        out.append(f"++{argument}" if plain and not is_group(key, roots) else argument)
    return out


def search_path_override(argv: Sequence[str], config_dir: str | None = None) -> list[str]:
    """Hydra's override that adds outside methods' config folders and the user's; none when there are none."""
    extra = [f"file://{folder}" for folder in conf_roots(config_dir)[1:]]
    if not extra or any("hydra.searchpath" in argument for argument in argv):
        return []
    return [f"hydra.searchpath=[{','.join(extra)}]"]


@contextmanager
def hydra_errors() -> Iterator[None]:
    """Turn what Hydra and OmegaConf refuse into a UserError of one or two lines."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except MissingConfigException as error:
        raise UserError(_missing_choice(error)) from error
    except OverrideParseException as error:
        reason = next((line for line in error.message.splitlines() if not line.startswith("Error")), "")
        raise UserError(
            f"cannot read '{error.override.lstrip('+')}': {reason.partition(' expecting')[0]}. "
            "Give it as key=value; quote values with , [ or { for the shell."
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = str(error.__cause__ or "").strip().splitlines()
        detail = f" ({cause[0]})" if cause and cause[0] not in lines else ""
        raise UserError(f"{' '.join(lines[:2])}{detail}") from error
    except ValueError as error:
        if not str(error).startswith("Config group override"):  # `trainer=3`; OmegaConf's own are above
            raise
        raise UserError(f"{error}: a group takes the name of a choice.") from error


def _missing_choice(error: Any) -> str:
    """`adapter: 'kronaa' is unknown. Did you mean 'krona'? Legal: …`"""
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = missing.partition("/")
    if (conf_dir() / group).is_dir():
        return str(unknown(group, name, options(group)))
    return " ".join(str(error).split())


def set_full_errors() -> None:
    """Ask Hydra to raise instead of printing and exiting: petbench prints and chooses the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
