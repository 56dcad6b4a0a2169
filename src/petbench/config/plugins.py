"""The Hydra plugins that petbench knows, launchers and sweepers: one YAML each in `conf/plugin`."""

from functools import cache
from typing import Literal

from petbench.config.tree import option_path, options, yaml_values
from petbench.config.values import Frozen


class Plugin(Frozen):
    """A choice of hydra/launcher or hydra/sweeper, and how a launcher uses cores.

    extra: petbench's extra that installs it. module: the module that exists when it is installed. target: the end of
    its `_target_`. jobs: the key of hydra.launcher with the number of simultaneous runs; or `fit` for a launcher that
    starts all runs that it gets, and so gets only as many as fit; or `scheduled` for one that counts cores itself.
    threads: the key with the cores of a run; threads_unset: their number when that key is not set. gpus: the key with
    a run's share of a GPU, for a launcher that hides all GPUs from a run that asks for none. elsewhere: whether its
    runs are on other machines.
    """

    extra: str
    module: str
    group: Literal["launcher", "sweeper"] = "launcher"
    target: str = ""
    jobs: str = ""
    threads: str = ""
    threads_unset: int | None = None
    gpus: str = ""
    elsewhere: bool = False


@cache
def plugins() -> dict[str, Plugin]:
    """All known plugins, by the name of the choice."""
    return {
        name: Plugin.model_validate(yaml_values(option_path("plugin", name))) for name in options("plugin")
    }


def launcher_of(target: str) -> Plugin | None:
    """The launcher with this `_target_`; None for one that petbench does not know, such as Hydra's own."""
    known = (plugin for plugin in plugins().values() if plugin.group == "launcher")
    return next((plugin for plugin in known if target.endswith(plugin.target)), None)
