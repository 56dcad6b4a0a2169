"""Launch the members of a sweep through the chosen Hydra launcher, and divide the machine's cores among them."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf, open_dict

from petbench.compose.expand import without_sweeps
from petbench.compose.hydra import CONFIG_NAME, forgiving, hydra_errors, search_path_override
from petbench.compose.sweep_loader import SweepLoader
from petbench.config.paths import at_home
from petbench.config.plugins import Plugin, launcher_of
from petbench.config.tree import conf_dir
from petbench.console import warn
from petbench.errors import RunError, UserError
from petbench.machine.gpus import present, usable
from petbench.machine.signals import before_stopping
from petbench.sweep.carry import Carrier, unpack
from petbench.sweep.workers import stop_workers, worker

Overrides = Sequence[str]


@dataclass(frozen=True)
class Share:
    """How a launcher uses a machine: simultaneous jobs (None: the launcher decides) and threads per job (None: all)."""

    jobs: int | None = None
    threads: int | None = None


def launch(
    argv: Overrides, members: Sequence[Overrides], task: Callable[[Any], Any], config_dir: str | None = None
) -> None:
    """Run `task` on every member through the launcher that `argv` chooses (`hydra/launcher=…`).

    The sweep is already expanded, so the launcher gets only the members that are left to run. Raises RunError when the
    launcher itself fails (a worker was killed, there is no cluster); the caller has to check what its members left.
    """
    with _engine(argv, config_dir) as (config, context):
        share = share_of(config.hydra.launcher, len(members), cores())
        _tidy(config, argv)
        _ask_for_gpus(config.hydra.launcher, len(members))
        own = [own_overrides(member, share.threads) for member in members]
        size = share.jobs or len(own)
        results_dir = Path(config.results_dir)
        carrier = Carrier(_bound(task, config))
        for first in range(0, len(own), size):
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=carrier, config=config
            )
            try:
                with carrier.marking(results_dir), before_stopping(partial(stop_workers, results_dir)):
                    results = launcher.launch(own[first : first + size], initial_job_idx=first)
            except (UserError, RunError):
                raise
            except Exception as error:
                name = str(config.hydra.launcher._target_).rpartition(".")[2]
                raise RunError(
                    f"{name} stopped: {' '.join(str(error).split()) or type(error).__name__}"
                ) from error
            for result in results:
                if result.status.name == "FAILED":  # Hydra raises the error only when the value is read
                    warn(f"{' '.join(result.overrides or [])}: {result._return_value!r}")
                else:
                    unpack(result._return_value, results_dir)


def search(
    argv: Overrides, task: Callable[[Any], Any], config_dir: str | None = None, more: Overrides = ()
) -> list[list[str]]:
    """Run the sweeper that `argv` chooses (`hydra/sweeper=optuna`); it chooses members by what `task` returns.

    more: further overrides for every member. Returns the overrides of all members that it launched. The score is
    maximised unless `hydra.sweeper.direction` says otherwise.
    """
    launched: list[list[str]] = []
    with _engine(argv, config_dir) as (config, context):
        given = {argument.partition("=")[0] for argument in argv}
        if "direction" in config.hydra.sweeper and "hydra.sweeper.direction" not in given:
            with open_dict(config):
                config.hydra.sweeper.direction = "maximize"
        sweeper = Plugins.instance().instantiate_sweeper(
            hydra_context=context, task_function=_bound(task, config), config=config
        )
        launcher: Any = getattr(sweeper, "sweeper", sweeper).launcher  # optuna's plugin wraps another sweeper
        share = share_of(config.hydra.launcher, int(config.hydra.sweeper.get("n_jobs") or 1), cores())
        plain_launch = launcher.launch

        def remembering(job_overrides: Sequence[Overrides], initial_job_idx: int) -> Any:
            own = [[*own_overrides(forgiving(member), share.threads), *more] for member in job_overrides]
            launched.extend(own)
            return plain_launch(own, initial_job_idx=initial_job_idx)

        launcher.launch = remembering
        arguments = [a.lstrip("+") for a in forgiving(argv) if not a.startswith(("hydra.", "hydra/"))]
        try:
            with before_stopping(partial(stop_workers, Path(config.results_dir))):
                sweeper.sweep(arguments=arguments)
        except ValueError as error:  # optuna raises it when every trial has failed
            warn(f"the sweeper stopped: {error}")
    return launched


def _bound(task: Callable[[Any], Any], config: Any) -> Callable[[Any], Any]:
    """The task, made to end with this process if the launcher's processes are on this machine; cluster jobs go on."""
    known = _known(config.hydra.launcher)
    return task if known is not None and known.jobs == "scheduled" else worker(task)


def require_precision(
    argv: Overrides, members: Iterable[Mapping[str, Any]], config_dir: str | None = None
) -> None:
    """Raise UserError if the nodes of a cluster would choose the precision. It is part of the run's id, so the runs
    that are planned on this machine could differ from those that are trained there."""
    chosen = any(argument.startswith("hydra/launcher=") for argument in argv)
    if not chosen or not any(values["trainer"].get("precision") == "auto" for values in members):
        return
    with _engine(argv, config_dir) as (config, _):
        known = _known(config.hydra.launcher)
    if known is not None and known.elsewhere:
        raise UserError(
            "trainer.precision: got 'auto', but the cluster's nodes may choose another than this machine. "
            "Give one: trainer.precision=bf16 or fp32."
        )


def own_overrides(member: Overrides, threads: int | None) -> list[str]:
    """A member's overrides without Hydra's own, and with its number of threads unless the user has set one."""
    own = [o for o in member if not o.lstrip("+~").startswith(("hydra.", "hydra/"))]
    chosen = any(o.lstrip("+").startswith("trainer.threads=") for o in own)
    return own if threads is None or chosen else [*own, f"++trainer.threads={threads}"]


def share_of(launcher: Any, members: int, available: int) -> Share:
    """The share of each job: jobs × threads never exceed the available cores, except for a cluster's jobs."""
    known = _known(launcher)
    if known is None:
        return Share()
    per_job = _at(launcher, known.threads) or known.threads_unset
    if known.jobs == "scheduled":
        return Share(threads=int(per_job) if per_job else None)
    if known.jobs == "fit":
        jobs = max(1, min(available // int(per_job) if per_job else available, members))
        return Share(jobs, int(per_job) if per_job else max(1, available // jobs))
    wanted = int(_at(launcher, known.jobs))
    jobs = max(1, min(available + 1 + wanted if wanted < 0 else wanted, members))
    return Share(threads=max(1, available // jobs))


def _known(launcher: Any) -> Plugin | None:
    return launcher_of(str(launcher.get("_target_", "")))


def _at(launcher: Any, key: str) -> Any:
    """The value at a dotted key of a launcher's config; None when there is none."""
    for part in filter(None, key.split(".")):
        launcher = (launcher or {}).get(part)
    return launcher if key else None


def _ask_for_gpus(launcher: Any, members: int) -> None:
    """Set each run's share of a GPU for a launcher that shows runs only the GPUs that they ask for."""
    known = _known(launcher)
    gpus = len(usable(os.environ, present()))
    if known is None or not known.gpus or not gpus or _at(launcher, known.gpus) is not None:
        return
    at_once = max(1, min(members, cores() // int(_at(launcher, known.threads) or known.threads_unset or 1)))
    OmegaConf.update(launcher, known.gpus, gpu_share(gpus, at_once), force_add=True)


def gpu_share(gpus: int, at_once: int) -> float:
    """The GPUs for each of `at_once` simultaneous runs: one, or the fraction of one that is enough for all of them."""
    return 1 if gpus >= at_once else 1 / -(-at_once // gpus)


def _tidy(config: Any, argv: Overrides) -> None:
    """Replace submitit's default folder, which would create an empty folder called `%j`; ask a Ray cluster that runs
    already for no object store, which the launcher's default does and Ray refuses."""
    key = "hydra.launcher.submitit_folder"
    if "submitit_folder" in config.hydra.launcher and not any(a.startswith(f"{key}=") for a in argv):
        config.hydra.launcher.submitit_folder = "${hydra.sweep.dir}/.submitit"
    init = _at(config.hydra.launcher, "ray.init")
    if init is not None and init.get("address") and "object_store_memory" not in init:
        OmegaConf.update(init, "object_store_memory", None, force_add=True)


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _engine(argv: Overrides, config_dir: str | None) -> Iterator[tuple[Any, Any]]:
    """Hydra's config of the whole sweep, and the context that its plugins need."""
    overrides = [*forgiving(argv), *search_path_override(argv, config_dir)]
    with hydra_errors(config_dir):
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3", job_name="petbench"):
            engine = GlobalHydra.instance().hydra
            assert engine is not None
            config = engine.compose_config(
                config_name=CONFIG_NAME,
                overrides=without_sweeps(overrides, engine.config_loader),
                run_mode=RunMode.MULTIRUN,
                with_log_configuration=False,
            )
            config.results_dir = at_home(str(config.results_dir))  # Hydra creates its own folder in it
            loader = SweepLoader(engine.config_loader.get_search_path(), config_dir)
            yield config, HydraContext(config_loader=loader, callbacks=Callbacks(config))
