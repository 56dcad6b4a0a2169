"""Compose: command-line overrides -> plain config values, through Hydra; nothing below sees a DictConfig."""

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


OWN_ROWS = ("data.file", "data.hub")  # keys that make the task, where none is chosen


IN_BRACES = (
    "Legal in ${…}: a key of the config, such as ${seed}, or a variable of the environment, ${oc.env:NAME}; "
    "a dollar without braces is text."
)


def forgiving(argv: Sequence[str]) -> list[str]:
    """Let Hydra take keys that it does not know, so that validation can name all mistakes at once.

    `a.b=c` becomes `++a.b=c`; groups, Hydra's own keys, flags, and `+`, `++`, `~` stay as they are. Text that its
    grammar cannot read is quoted (`overrides.readable`). Rows of one's own make their own task.
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
    """Hydra's override that adds outside methods' config folders and the user's; none when there are none."""
    extra = [quoted(f"file://{folder}") for folder in conf_roots(config_dir)[1:]]
    if not extra or any("hydra.searchpath" in argument for argument in argv):
        return []
    return [f"hydra.searchpath=[{','.join(extra)}]"]


@contextmanager
def hydra_errors(config_dir: str | Path | None = None) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML refuse into a UserError of one or two lines.

    config_dir: the user's own config folder, to find the file that is broken.
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
        # `trainer=3`; `defaults: 3`. OmegaConf's own ValueErrors are above.
        if not str(error).startswith(("Config group override", "Invalid defaults list")):
            raise
        raise UserError(f"{error}: a group takes the name of a choice.") from error


def _guard_environment() -> None:
    """Let `${oc.env:NAME}` read every variable but keys and passwords: what it gives is stored with the run."""

    def env(name: str, *default: Any) -> Any:
        if names_a_secret(name):
            raise UserError(
                f"{name} is named like a secret, and a config is stored with the run. Leave it out"
            )
        return oc.env(name, *default)

    OmegaConf.register_new_resolver("oc.env", env, replace=True)


MOST_VALUES = 100_000  # of one YAML file, what its anchors repeat counted as often as it is repeated


def _require_bounded(config_dir: str | Path | None) -> None:
    """Raise UserError for a YAML file of the user's that is small on the disk and would fill the memory."""
    for root in conf_roots(config_dir)[1:]:
        for path in sorted(Path(root).rglob("*.yaml")):
            size = expanded_size(path, path.stat().st_mtime_ns)
            if size > MOST_VALUES:
                raise UserError(
                    f"{path}: holds {size:.2g} values, its anchors (&) written out. Legal: {MOST_VALUES:,}."
                )


def _as_one_line(error: Exception) -> str:
    """What Hydra or OmegaConf said and why, and what is legal where it could not read `${…}`."""
    lines = [
        line.strip().replace("override ++", "override ") for line in str(error).splitlines() if line.strip()
    ]
    cause = str(error.__cause__ or "").strip().splitlines()
    detail = f" ({cause[0]})" if cause and cause[0] not in lines else ""
    # Without the backslashes that `forgiving` gave Hydra's grammar: nobody wrote them.
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
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
    return f"{place}: {said}. Mend the YAML."


def _first_unreadable(config_dir: str | Path | None) -> str | None:
    """Which file of the user's or an outside method's config is no UTF-8 or holds itself; None when none does."""
    for root in conf_roots(config_dir)[1:]:
        for path in sorted(root.rglob("*.yaml")):
            try:
                json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str)
            except UnicodeDecodeError as error:
                line = error.object.count(b"\n", 0, error.start) + 1
                return f"{path}, line {line}: broken UTF-8. Save the file as UTF-8."
            except (ValueError, RecursionError):
                return f"{path}: holds itself (an anchor & inside of what it names). Mend the YAML."
            except (OSError, TypeError, yaml.YAMLError):
                continue  # not what is sought
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
    """The plain, resolved values of a composed config. Raises UserError where `${…}` stands for nothing."""
    with hydra_errors():
        values: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return values


def set_full_errors() -> None:
    """Ask Hydra to raise instead of printing and exiting: petbench prints and chooses the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
