"""Launchers: jobs × threads within the cores, own overrides, plugins that are missing."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from petbench.compose.expand import expand
from petbench.config import tree
from petbench.config.plugins import plugins
from petbench.config.tree import conf_dir
from petbench.errors import UserError
from petbench.sweep import launch
from petbench.sweep.launch import Share, gpu_share, own_overrides, share_of

JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
LOCAL = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
RAY = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


@pytest.mark.parametrize(
    ("launcher", "members", "cores", "share"),
    [
        ({"_target_": BASIC}, 9, 16, Share()),
        ({"_target_": JOBLIB, "n_jobs": -1}, 100, 16, Share(threads=1)),
        ({"_target_": JOBLIB, "n_jobs": -1}, 3, 16, Share(threads=5)),
        ({"_target_": JOBLIB, "n_jobs": -2}, 100, 16, Share(threads=1)),
        ({"_target_": JOBLIB, "n_jobs": 4}, 100, 16, Share(threads=4)),
        ({"_target_": JOBLIB, "n_jobs": 8}, 100, 2, Share(threads=1)),
        ({"_target_": LOCAL, "cpus_per_task": None}, 100, 16, Share(jobs=16, threads=1)),
        ({"_target_": LOCAL, "cpus_per_task": None}, 2, 16, Share(jobs=2, threads=8)),
        ({"_target_": LOCAL, "cpus_per_task": 4}, 100, 16, Share(jobs=4, threads=4)),
        ({"_target_": LOCAL, "cpus_per_task": 32}, 100, 16, Share(jobs=1, threads=32)),
        ({"_target_": SLURM, "cpus_per_task": 8}, 100, 2, Share(threads=8)),
        ({"_target_": SLURM, "cpus_per_task": None}, 100, 2, Share()),
        ({"_target_": RAY, "ray": {"remote": {"num_cpus": 4}}}, 100, 16, Share(threads=4)),
        ({"_target_": RAY, "ray": {"remote": {}}}, 100, 16, Share(threads=1)),
    ],
)
def test_share_of_the_machine(launcher: dict[str, Any], members: int, cores: int, share: Share) -> None:
    assert share_of(OmegaConf.create(launcher), members, cores) == share


@pytest.mark.parametrize(
    ("gpus", "at_once", "share"), [(4, 2, 1), (2, 2, 1), (2, 3, 0.5), (2, 4, 0.5), (1, 3, 1 / 3)]
)
def test_gpus_asked_for_a_run_serve_all_at_once(gpus: int, at_once: int, share: float) -> None:
    assert gpu_share(gpus, at_once) == share
    assert share == 1 or gpus * round(1 / share) >= at_once


@pytest.mark.parametrize(
    ("target", "asked", "gpus", "found"),
    [(RAY, None, 2, 0.25), (RAY, None, 0, None), (RAY, 1, 2, 1), (JOBLIB, None, 2, None)],
)
def test_a_launcher_that_hides_gpus_is_asked_for_them(
    target: str, asked: float | None, gpus: int, found: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "usable", lambda environment, number: tuple(map(str, range(gpus))))
    monkeypatch.setattr(launch, "cores", lambda: 16)
    config = OmegaConf.create({"_target_": target, "n_jobs": 2, "ray": {"remote": {"num_cpus": 2}}})
    if asked is not None:
        config.ray.remote.num_gpus = asked
    launch._ask_for_gpus(config, 9)
    assert config.ray.remote.get("num_gpus") == found


def test_a_job_gets_its_threads_and_none_of_hydras_own_overrides() -> None:
    member = ["adapter=krona", "++seed=0", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    assert own_overrides(member, 3) == ["adapter=krona", "++seed=0", "++trainer.threads=3"]
    assert own_overrides(member, None) == ["adapter=krona", "++seed=0"]
    assert own_overrides([*member, "++trainer.threads=1"], 3)[-1] == "++trainer.threads=1"


@pytest.mark.parametrize(
    ("argument", "extra"),
    [
        ("hydra/launcher=ray", "ray"),
        ("hydra/launcher=joblib", "joblib"),
        ("hydra/launcher=submitit_slurm", "slurm"),
        ("hydra/launcher=submitit_local", "slurm"),
        ("hydra/sweeper=optuna", "optuna"),
    ],
)
def test_missing_plugins_are_named_with_their_extra(
    argument: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine where `hydra_plugins` itself is absent: Hydra then knows no choice of that name."""
    Plugins.instance()  # fills the store with what is installed here
    repo = copy.deepcopy(ConfigStore.instance().repo)
    for kind in ("launcher", "sweeper"):
        repo["hydra"][kind] = {"basic.yaml": repo["hydra"][kind]["basic.yaml"]}
    monkeypatch.setattr(ConfigStore.instance(), "repo", repo)
    with pytest.raises(UserError) as found:
        expand(["adapter=krona", argument])
    assert str(found.value) == f"{argument}: not installed. Run: pip install 'petbench[{extra}]'"
    assert len(expand(["adapter=krona", "hydra/launcher=basic"])) == 1


def test_an_unknown_launcher_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"hydra/launcher: 'jobli' is unknown. Did you mean 'joblib'\?"):
        expand(["hydra/launcher=jobli"])


def test_a_launcher_is_one_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found beside an outside package's methods as well."""
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin/mine.yaml").write_text(
        "extra: mine\nmodule: mine\ntarget: MineLauncher\njobs: at_once\nelsewhere: true\n"
    )
    monkeypatch.setattr(tree, "conf_roots", lambda config_dir=None: [conf_dir(), tmp_path])
    plugins.cache_clear()
    try:
        assert plugins().keys() == {"joblib", "mine", "optuna", "ray", "submitit_local", "submitit_slurm"}
        launcher = OmegaConf.create({"_target_": "a.b.MineLauncher", "at_once": 4})
        assert share_of(launcher, 100, 16) == Share(threads=4)
    finally:
        plugins.cache_clear()


def test_a_ray_cluster_that_runs_is_asked_for_no_object_store() -> None:
    """The launcher's default asks for one, and Ray then refuses to join the cluster."""
    found = {}
    for address in (None, "auto"):
        launcher = {"_target_": RAY, "ray": {"init": {"address": address}, "remote": {}}}
        config = OmegaConf.create({"hydra": {"launcher": launcher}})
        launch._tidy(config, [])
        found[address] = config.hydra.launcher.ray.init.setdefault("object_store_memory", 7)
    assert found == {None: 7, "auto": None}
