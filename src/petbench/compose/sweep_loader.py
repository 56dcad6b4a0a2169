"""A config loader for the members of a sweep: a combination of choices is composed once, values are set on a copy."""

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from omegaconf import OmegaConf

from petbench.compose.many import parsed, split
from petbench.config.tree import conf_roots


class SweepLoader(ConfigLoaderImpl):
    """Hydra's loader, which reads and merges all files again for every member (0.2 s each), but for the files only once
    for members that differ in values. What it gives is equal to what Hydra's own gives."""

    def __init__(self, search_path: Any, config_dir: str | None = None) -> None:
        super().__init__(search_path)
        self._roots = conf_roots(config_dir)
        self._composed: dict[tuple[str, ...], Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the configs: launchers send their loader to other processes with every run."""
        return vars(self) | {"_composed": {}}

    def load_sweep_config(self, master_config: Any, sweep_overrides: list[str]) -> Any:
        """The config of one member, with Hydra's own part."""
        choices, values = split(sweep_overrides, self._roots)
        if choices not in self._composed:
            self._composed[choices] = super().load_sweep_config(master_config, list(choices))
        config = copy.deepcopy(self._composed[choices])
        self._apply_overrides_to_config([parsed(text) for text in values], config)
        config.hydra.overrides.task = list(sweep_overrides)
        config.hydra.job.override_dirname = _dirname(
            config.hydra.job.config.override_dirname, sweep_overrides
        )
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config


def _dirname(how: Any, overrides: Sequence[str]) -> str:
    return str(
        get_overrides_dirname(
            overrides=[parsed(text) for text in overrides],
            kv_sep=how.kv_sep,
            item_sep=how.item_sep,
            exclude_keys=how.exclude_keys,
        )
    )
