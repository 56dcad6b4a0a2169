"""A run's config back to the command that makes it: the names of its presets, and what differs from them."""

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from petbench.compose.expand import expand
from petbench.compose.overrides import written
from petbench.config.spec import NOT_IDENTITY
from petbench.config.tree import option_path
from petbench.config.values import as_override, flat, inside
from petbench.errors import UserError

_NEVER = (*(".".join(path) for path in NOT_IDENTITY if path[0] != "data"), "seed", "recipe", "task.name")


def overrides_of(
    config: Mapping[str, Any], adapter: str, model: str, without: Sequence[str] = ()
) -> list[str]:
    """The shortest overrides that make a record's config again, its seed, logger and folders left out.

    adapter, model: the record's labels; a label that names no preset falls back to the method's own preset, a model
    to its `model.name`. without: more keys to leave out, at whose presets the new run shall stand. Settings that this
    version does not know are left out. Raises UserError where method and task have no preset here.
    """
    chosen = [f"adapter={_preset('adapter', adapter, config['adapter']['method'])}", *_rows_or_task(config)]
    if _is_preset("model", model):
        chosen.append(f"model={model}")
    if config.get("protocol", {}).get("name", "petbench") != "petbench":
        chosen.append(f"protocol={config['protocol']['name']}")
    (composed,) = expand(chosen)
    preset, left_out = flat(composed.values), (*_NEVER, *without)
    told = [
        f"{key}={as_override(value, partial(written, key))}"
        for key, value in flat(config).items()
        if key in preset and value != preset[key] and not inside(key, left_out)
    ]
    return [*chosen, *told]


def _rows_or_task(config: Mapping[str, Any]) -> list[str]:
    """What makes the task: rows of the user's own, or the choice of its name (`superglue/cb` is named superglue_cb)."""
    own = [
        f"data.{key}={written(f'data.{key}', config['data'][key])}"
        for key in ("file", "hub")
        if config["data"].get(key)
    ]
    if own:
        return own
    name = config["task"]["name"]
    return [f"task={_preset('task', name, name.replace('_', '/', 1))}"]


def in_shell(overrides: Sequence[str]) -> str:
    """The overrides as one types them behind `petbench train`."""
    return " ".join(map(shlex.quote, overrides))


def _preset(group: str, label: str, otherwise: str) -> str:
    return label if _is_preset(group, label) else otherwise


def _is_preset(group: str, name: str) -> bool:
    try:
        option_path(group, name)
    except UserError:
        return False
    return True
