"""Hydra at the border: overrides prepared for it, its errors as UserErrors, and its configs as plain values."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from omegaconf.resolvers import oc
from yaml import YAMLError

from petbench.compose.overrides import quoted, readable
from petbench.compose.yaml_size import expanded_size
from petbench.config.plugins import plugins
from petbench.config.tree import conf_roots, is_group, key_of, options
from petbench.console import names_a_secret
from petbench.errors import UserError, unknown

CONFIG_NAME = "config"


OWN_ROWS = ("data.file", "data.hub")  # keys that define the task if none is chosen


IN_BRACES = (
    "Legal in ${…}: a key of the config, such as ${seed}, or a variable of the environment, ${oc.env:NAME}; "
    "a dollar without braces is text."
)


def forgiving(argv: Sequence[str]) -> list[str]:
    """Arguments that let Hydra accept keys that it does not know, so that validation can name all mistakes at once.

    `a.b=c` becomes `++a.b=c`; groups, Hydra's own keys, flags, and `+`, `++`, `~` stay unchanged. Text that its grammar
    cannot read is quoted (`overrides.readable`). The user's own rows add `task=own` if no task is chosen.
    """
    if any(argument in ("-sc", "--shell-completion") for argument in argv):
        return list(argv)  # `query=bash` is not a config value
    roots = conf_roots()
    out = []
    keys = {key_of(argument) for argument in argv if "=" in argument}
    if keys & set(OWN_ROWS) and "task" not in keys:
        argv = [*argv, "task=own"]
    for argument in argv:
        key, equals, _ = argument.partition("=")
        plain = equals and not key.startswith(("-", "+", "~", "hydra.", "hydra/"))
        text = argument if key.startswith("-") else readable(argument)
        out.append(f"++{text}" if plain and not is_group(key, roots) else text)
    return out


def search_path_override(argv: Sequence[str], config_dir: str | Path | None = None) -> list[str]:
    """The Hydra override that adds the config folders of outside packages and of the user; empty if there are none."""
    extra = [quoted(f"file://{folder}") for folder in conf_roots(config_dir)[1:]]
    if not extra or any("hydra.searchpath" in argument for argument in argv):
        return []
    return [f"hydra.searchpath=[{','.join(extra)}]"]


@contextmanager
def hydra_errors(config_dir: str | Path | None = None) -> Iterator[None]:
    """Inside, errors of Hydra, OmegaConf and YAML become a UserError of one or two lines.

    config_dir: the user's config folder, in which a broken file is sought.
    """
    _guard_environment()
    _require_bounded(config_dir)
    try:
        yield
    except MissingConfigException as error:
        raise UserError(_missing_choice(error, config_dir)) from error
    except OverrideParseException as error:
        reason = next((line for line in error.message.splitlines() if not line.startswith("Error")), "")
        raise UserError(
            f"cannot read '{error.override.lstrip('+')}': {reason.partition(' expecting')[0]}. "
            "Give it as key=value; quote values with , [ or { for the shell, and text with a comma once more "
            "inside: key='\"a, b\"'."
        ) from error
    except InterpolationResolutionError as error:
        said = re.sub("^[A-Za-z]+ raised while resolving interpolation: ", "", str(error).splitlines()[0])
        raise UserError(f"{error.full_key or 'config'}: cannot be resolved: {said}. {IN_BRACES}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_as_one_line(error)) from error
    except YAMLError as error:
        raise UserError(_broken_yaml(error)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        found = _first_unreadable(config_dir)
        if found is None:
            raise
        raise UserError(found) from error
    except ValueError as error:
        # From `trainer=3` or `defaults: 3`. OmegaConf's own ValueErrors are caught above.
        if not str(error).startswith(("Config group override", "Invalid defaults list")):
            raise
        raise UserError(f"{error}: a group takes the name of a choice.") from error


def _guard_environment() -> None:
    """Let `${oc.env:NAME}` read every variable except keys and passwords, since its value is stored with the run."""

    def env(name: str, *default: Any) -> Any:
        if names_a_secret(name):
            raise UserError(
                f"{name} is named like a secret, and a config is stored with the run. Leave it out of the config"
            )
        return oc.env(name, *default)

    OmegaConf.register_new_resolver("oc.env", env, replace=True)


MOST_VALUES = 100_000  # values in one YAML file, with those that its anchors repeat counted each time


def _require_bounded(config_dir: str | Path | None) -> None:
    """Raise UserError for a user's YAML file that is small on disk but would fill the memory."""
    for root in conf_roots(config_dir)[1:]:
        for path in sorted(Path(root).rglob("*.yaml")):
            size = expanded_size(path, path.stat().st_mtime_ns)
            if size > MOST_VALUES:
                raise UserError(
                    f"{path}: holds {size:.2g} values when its anchors (&) are written out. Legal: {MOST_VALUES:,}."
                )


def _as_one_line(error: Exception) -> str:
    """The message of Hydra or OmegaConf with its cause; if it is about `${…}`, with what is legal there."""
    lines = [
        line.strip().replace("override ++", "override ") for line in str(error).splitlines() if line.strip()
    ]
    cause = str(error.__cause__ or "").strip().splitlines()
    detail = f" ({cause[0]})" if cause and cause[0] not in lines else ""
    # Without the backslashes that `forgiving` added: the user did not write them.
    text = re.sub(r"\\([^\w\\])", r"\1", f"{' '.join(lines[:2])}{detail}".strip())
    return f"{text}. {IN_BRACES}" if "${" in text else text


def _broken_yaml(error: Any) -> str:
    """`FILE, line 3: found duplicate key`."""
    mark = getattr(error, "problem_mark", None)
    place = (
        f"{mark.name}, line {mark.line + 1}"
        if mark is not None
        else str(getattr(error, "name", "a config file"))
    )
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    return f"{place}: {said}. Correct the YAML."


def _first_unreadable(config_dir: str | Path | None) -> str | None:
    """The error for the first config file, outside of petbench's, that is not UTF-8 or contains itself; else None."""
    for root in conf_roots(config_dir)[1:]:
        for path in sorted(root.rglob("*.yaml")):
            try:
                json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str)
            except UnicodeDecodeError as error:
                line = error.object.count(b"\n", 0, error.start) + 1
                return f"{path}, line {line}: broken UTF-8. Save the file as UTF-8."
            except (ValueError, RecursionError):
                return f"{path}: contains itself (an anchor & inside of what it names). Correct the YAML."
            except (OSError, TypeError, yaml.YAMLError):
                continue  # another error than those sought here
    return None


def _missing_choice(error: Any, config_dir: str | Path | None = None) -> str:
    """`adapter: 'kronaa' is unknown. Did you mean 'krona'? Legal: …`"""
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = missing.partition("/")
    if missing.startswith(("hydra/launcher/", "hydra/sweeper/")):
        kind, name = missing.rsplit("/", 1)
        known = {n: plugin for n, plugin in plugins().items() if kind.endswith(plugin.group)}
        if name in known:
            return f"{kind}={name}: not installed. Run: pip install 'petbench[{known[name].extra}]'"
        return str(unknown(kind, name, ["basic", *known]))
    if any((root / group).is_dir() for root in conf_roots(config_dir)):
        return str(unknown(group, name, options(group, config_dir)))
    return " ".join(str(error).split())


def plain_values(cfg: Any) -> dict[str, Any]:
    """The plain, resolved values of a composed config. Raises UserError when a `${…}` cannot be resolved."""
    with hydra_errors():
        values: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return values


def set_full_errors() -> None:
    """Make Hydra raise its errors instead of printing them and exiting: petbench prints and sets the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
