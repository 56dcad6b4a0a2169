"""Hydra's launcher `lanes`: the members of a sweep in this process, those that can share passes at once."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


class LanesLauncher(Launcher):
    """See `petbench.sweep.lanes`."""

    def __init__(self, max_lanes: int, memory_fraction: float) -> None:
        self.max_lanes, self.memory_fraction = max_lanes, memory_fraction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what `launch` needs."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all members; they come back in order."""
        # torch takes seconds, and Hydra reads this file always
        from petbench.sweep.lanes import Job, run_in_lanes

        setup_globals()
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        jobs = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = number
            # Hydra's own node is no part of a run; `run_job` takes it off before the task, too.
            own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            jobs.append(Job(own, partial(self._run, config)))
        before = HydraConfig.instance().cfg
        try:
            return run_in_lanes(jobs, self.max_lanes, self.memory_fraction)
        finally:
            HydraConfig.instance().cfg = before  # runs that take turns put back each other's

    def _run(self, config: Any) -> JobReturn:
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
