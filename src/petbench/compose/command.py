"""From a run's config back to its command: the names of the presets, and the values that differ from them."""

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
    """The shortest overrides that reproduce a record's config, without its seed, logger and folders.

    adapter, model: the record's labels. If a label is not a preset's name, the method's own preset or `model.name` is
    used. without: further keys to leave out, which then have their presets' values. Settings that this version does not
    know are left out. Raises UserError when the method or the task has no preset here.
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
    """The overrides that give the task: the user's own rows, or a choice (the task superglue_cb is `superglue/cb`)."""
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
    """The overrides as one types them after `petbench train` in a shell."""
    return " ".join(map(shlex.quote, overrides))


def _preset(group: str, label: str, otherwise: str) -> str:
    return label if _is_preset(group, label) else otherwise


def _is_preset(group: str, name: str) -> bool:
    try:
        option_path(group, name)
    except UserError:
        return False
    return True
