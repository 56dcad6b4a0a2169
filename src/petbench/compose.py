"""Compose: command-line overrides -> plain config values, through Hydra; nothing below sees a DictConfig."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from petbench.errors import UserError, nearest

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


def options(group: str, extra: Sequence[Path] = ()) -> list[str]:
    """The choices of a config group, nested ones as `peft/lora`, sorted."""
    names = set()
    for root in [conf_dir(), *plugin_conf_dirs(), *extra]:
        folder = root / group
        names |= {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")}
    return sorted(names)


def option_path(group: str, name: str) -> Path:
    """The YAML of a choice. Raises UserError with the nearest name."""
    for root in [conf_dir(), *plugin_conf_dirs()]:
        path = root / group / f"{name}.yaml"
        if path.is_file():
            return path
    legal = options(group)
    raise UserError(f"{group}: '{name}' is unknown.{nearest(name, legal)} Legal: {', '.join(legal)}.")


def forgiving(argv: Sequence[str]) -> list[str]:
    """Let Hydra take keys that it does not know, so that validation can name all mistakes at once.

    `a.b=c` becomes `++a.b=c`; groups, Hydra's own keys, flags, and `+`, `++`, `~` stay as they are. Outside
    methods' config folders join the search path.
    """
    roots = [conf_dir(), *plugin_conf_dirs()]
    out = []
    for argument in argv:
        key, equals, _ = argument.partition("=")
        plain = equals and not key.startswith(("-", "+", "~", "hydra.", "hydra/")) and "@" not in key
        is_group = any((root / key).is_dir() for root in roots)
        out.append(f"++{argument}" if plain and not is_group else argument)
    return out


def search_path_override(argv: Sequence[str], config_dir: str | None = None) -> list[str]:
    """Hydra's override that adds outside methods' config folders and the user's; none when there are none."""
    folders = [*plugin_conf_dirs(), *([Path(config_dir).resolve()] if config_dir else [])]
    extra = [f"file://{folder}" for folder in folders]
    if not extra or any("hydra.searchpath" in argument for argument in argv):
        return []
    return [f"hydra.searchpath=[{','.join(extra)}]"]


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
            preset = compose(CONFIG_NAME, overrides=_unswept(overrides, loader), return_hydra_config=True)
            params = OmegaConf.select(preset, "hydra.sweeper.params") or {}
            swept = [f"{key}={value}" for key, value in params.items()]
            given = {o.partition("=")[0].lstrip("+") for o in overrides}
            swept = [o for o in forgiving(swept) if o.partition("=")[0].lstrip("+") not in given]
            parsed = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *overrides])
            batches = BasicSweeper.split_arguments(parsed, None)
            members = []
            for batch in batches:
                for member in batch:
                    values = OmegaConf.to_container(
                        compose(CONFIG_NAME, overrides=list(member)), resolve=True
                    )
                    members.append(Member(tuple(member), dict(values)))  # type: ignore[arg-type]
    return members


def recompose(members: Sequence[Sequence[str]]) -> list[Member]:
    """Members from their whole overrides, one each."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    with hydra_errors():
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
            composed = [compose(CONFIG_NAME, overrides=list(overrides)) for overrides in members]
    values: list[Any] = [OmegaConf.to_container(config, resolve=True) for config in composed]
    return [Member(tuple(o), dict(v)) for o, v in zip(members, values, strict=True)]


def launch(
    argv: Sequence[str],
    members: Sequence[Sequence[str]],
    task: Callable[[Any], Any],
    config_dir: str | None = None,
) -> None:
    """Run `task` on every member through the Hydra launcher that `argv` chose (`hydra/launcher=…`).

    The sweep is expanded already, so the launcher gets just the members that are left to run.
    """
    from hydra import initialize_config_dir
    from hydra._internal.callbacks import Callbacks
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    overrides = [*forgiving(argv), *search_path_override(argv, config_dir)]
    with hydra_errors():
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3", job_name="petbench"):
            engine = GlobalHydra.instance().hydra
            assert engine is not None
            config = engine.compose_config(
                config_name=CONFIG_NAME,
                overrides=_unswept(overrides, engine.config_loader),
                run_mode=RunMode.MULTIRUN,
                with_log_configuration=False,
            )
            context = HydraContext(config_loader=engine.config_loader, callbacks=Callbacks(config))
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=task, config=config
            )
            own = [[o for o in member if not o.lstrip("+~").startswith("hydra")] for member in members]
            launcher.launch(own, initial_job_idx=0)


def _unswept(overrides: Sequence[str], loader: Any) -> list[str]:
    """The overrides without sweeps: enough to see which sweep preset was chosen."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    return [
        text for text, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()
    ]


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


def _missing_choice(error: Any) -> str:
    """`adapter: 'kronaa' is unknown. Did you mean 'krona'? Legal: …`"""
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = missing.partition("/")
    if (conf_dir() / group).is_dir():
        legal = options(group)
        return f"{group}: '{name}' is unknown.{nearest(name, legal)} Legal: {', '.join(legal)}."
    return " ".join(str(error).split())


def set_full_errors() -> None:
    """Ask Hydra to raise instead of printing and exiting: petbench prints and chooses the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
