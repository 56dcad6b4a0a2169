"""Sweeps on toy rows: plan, run, run again, grow, fail and retry, on every launcher that is here."""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from petbench.cli import run_command
from petbench.errors import RunError
from petbench.training import session
from petbench.training.prepare import prepare
from petbench.training.run import run

TINY = [
    "task=rte", "data=toy", "data.toy_train=32", "data.toy_validation=16", "model=tiny_bert",
    "trainer.max_steps=4", "trainer.batch_size=8", "trainer.precision=fp32", "trainer.threads=1",
]  # fmt: skip
Sweep = Callable[..., tuple[int, str]]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sweep:
    """`petbench train -m …` here, into tmp_path/results; returns the exit status and what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    def call(*overrides: str) -> tuple[int, str]:
        capsys.readouterr()
        status = run_command(["train", "-m", *TINY, *overrides])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """All records of a results folder by run id."""
    found = [json.loads(path.read_text()) for path in folder.glob("results/runs/*/record.json")]
    return {record["run_id"]: record for record in found}


def written(folder: Path) -> dict[str, int]:
    """When each record was written, in ns."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("results/runs/*/record.json")}


def test_four_records_then_nothing_then_only_what_is_new(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep("adapter=krona,lora", "seed=0,1")
    assert status == 0
    first = records(tmp_path)
    places = sorted((record["adapter"], record["seed"], record["status"]) for record in first.values())
    assert places == [(adapter, seed, "done") for adapter in ("krona", "lora") for seed in (0, 1)]
    assert "4 runs to train, 16 steps; time and memory unknown" in text
    assert "4 done." in text
    assert text.count("The rows are generated") == 1
    for record in first.values():  # lines of a run say whose they are; one says how it ended
        label = f"{record['adapter']} rte tiny_bert seed {record['seed']} | "
        assert f"{label}step 4/4" in text
        assert (
            text.count(f"{label}{record['run_id']} done: accuracy {100 * record['headline']['value']:.1f}")
            == 1
        )
    for adapter, params in (("krona", "512"), ("lora", "2,048")):  # one line a setting, over its seeds
        scores = [100 * r["headline"]["value"] for r in first.values() if r["adapter"] == adapter]
        (line,) = [line for line in text.splitlines() if line.startswith(f"│ {adapter} ") and " ± " in line]
        assert (
            f"{fmean(scores):.1f} ± {stdev(scores):.1f}" in line
            and f" {params} " in line
            and "│     2 │" in line
        )
    assert text.rstrip().endswith("next: petbench report\n      petbench compare adapter=krona adapter=lora")
    assert not list((tmp_path / "results/sweeps").glob("*.json"))  # nothing is left to do
    before = written(tmp_path)

    status, text = sweep("adapter=krona,lora", "seed=0,1")
    assert status == 0
    assert "4 of 4 runs are done already" in text and "Nothing to run." in text
    assert all(run_id in text for run_id in first)
    assert written(tmp_path) == before

    status, text = sweep("adapter=krona,lora", "seed=0,1,2")
    assert status == 0
    assert "4 of 6 runs are done already" in text and "2 runs to train, 8 steps; about" in text
    assert len(records(tmp_path)) == 6
    assert {run_id: written(tmp_path)[run_id] for run_id in before} == before


def test_plan_shows_all_and_runs_nothing(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep("adapter=krona,lora", "seed=0,1", "plan=true")
    assert status == 0
    assert text.count("not measured │") == 8  # time and memory of four
    assert "578" in text and "2,114" in text  # trainable parameters
    assert not (tmp_path / "results").exists()


def test_every_mistake_of_every_member_is_one_message(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep("adapter=krona,lora", "seed=0,1", "trainer.epochs=0", "adapter.rankk=2")
    assert status == 2
    assert text.count("trainer.epochs: got 0. Legal: greater than 0.") == 2
    assert text.count("adapter.rankk: unknown key.") == 2
    assert text.count("(and 1 more members)") == 2
    assert not (tmp_path / "results").exists()


def test_an_unknown_choice_stops_the_sweep_before_it_starts(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep("adapter=krona,kronna")
    assert status == 2
    assert "adapter: 'kronna' is unknown. Did you mean 'krona'?" in text
    assert not (tmp_path / "results").exists()


def test_a_member_without_a_place_is_skipped_with_its_reason(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep("adapter=krona", "'adapter.factor_shape=[4,8],[5,7]'".strip("'"))
    assert status == 0
    assert "skipped: krona rte tiny_bert seed 0: " in text
    assert "1 done, 1 skipped." in text
    assert len(records(tmp_path)) == 1
    status, text = sweep("adapter=krona", "adapter.factor_shape=[5,7],[7,5]")
    assert status == 2
    assert "no member of the sweep can run:" in text


def test_equal_members_run_once(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep("adapter=krona", "seed=0,0", "trainer.log_every=5,10")
    assert status == 0
    assert "3 of 4 members are the same run as another: run once." in text
    assert len(records(tmp_path)) == 1


def test_failures_are_recorded_retried_and_left(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = session.load_and_attach

    def broken(spec: Any, task: Any) -> Any:
        if spec.seed == 0:
            raise RuntimeError("no memory left")
        return plain(spec, task)

    monkeypatch.setattr(session, "load_and_attach", broken)
    status, text = sweep("adapter=krona", "seed=0,1")
    assert status == 1
    assert "RuntimeError: no memory left" in text and "1 done, 1 failed." in text
    states = {record["seed"]: (record["status"], record["reason"]) for record in records(tmp_path).values()}
    assert states == {0: ("failed", "RuntimeError: no memory left"), 1: ("done", None)}

    before = written(tmp_path)
    status, text = sweep("adapter=krona", "seed=0,1", "--no-retry")
    assert status == 1
    assert "1 of 2 runs failed before and are not tried again" in text and "Nothing to run." in text
    assert written(tmp_path) == before
    assert run_command(["train", *TINY, "adapter=krona", "seed=0", "retry=false"]) == 1  # a single run, too
    assert written(tmp_path) == before

    monkeypatch.setattr(session, "load_and_attach", plain)
    status, text = sweep("adapter=krona", "seed=0,1")
    assert status == 0
    assert "retry (failed)" in text and "1 done, 1 done before." in text
    assert {record["status"] for record in records(tmp_path).values()} == {"done"}


def test_a_mistake_that_shows_only_when_it_runs_is_recorded(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from petbench.errors import UserError

    def broken(spec: Any, task: Any) -> Any:
        raise UserError("the weights are not there")

    monkeypatch.setattr(session, "load_and_attach", broken)
    status, text = sweep("adapter=krona", "seed=0,1")
    assert status == 1
    assert [record["reason"] for record in records(tmp_path).values()] == ["the weights are not there"] * 2
    assert "2 failed." in text


def test_diverged_members_do_not_stop_the_rest(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep(
        "adapter=krona", "optim.lr=1e30,1e-3", "trainer.log_every=1", "trainer.clip_norm=null",
        "++tuning={role:trial}",
    )  # fmt: skip
    assert {r["provenance"]["tuning"]["role"] for r in records(tmp_path).values()} == {"trial"}
    assert all(record["cost"]["train_seconds"] > 0 for record in records(tmp_path).values())
    states = {record["config"]["optim"]["lr"]: record["status"] for record in records(tmp_path).values()}
    assert states == {1e30: "diverged", 1e-3: "done"}
    assert status == 1
    assert "1 done, 1 diverged." in text


def test_a_ready_sweep_needs_no_flag(sweep: Sweep, tmp_path: Path) -> None:
    status = run_command(["train", *TINY, "sweep=seeds", "adapter=krona", "seed=3,4"])
    assert status == 0
    assert sorted(record["seed"] for record in records(tmp_path).values()) == [3, 4]
    status, text = sweep("sweep=seeds", "adapter=krona", "plan=true")
    assert status == 0
    assert "3 runs to train" in text  # seeds 0, 1, 2; 3 and 4 are done


def test_a_run_after_one_that_trained_the_backbone_is_as_alone(sweep: Sweep, tmp_path: Path) -> None:
    """Nothing of a run is left in the next one of the process: weights, head and scores are equal bit for bit."""
    assert sweep("adapter=full,krona", "seed=0,1")[0] == 0
    together = records(tmp_path)
    shutil.rmtree(tmp_path / "results")
    assert run_command(["train", *TINY, "adapter=krona", "seed=1"]) == 0
    assert run_command(["train", *TINY, "adapter=full", "seed=1"]) == 0
    for run_id, alone in records(tmp_path).items():
        for part in ("metrics", "adapter_sha256", "best"):
            assert together[run_id][part] == alone[part], (alone["adapter"], part)


@pytest.mark.skipif(find_spec("hydra_plugins.hydra_joblib_launcher") is None, reason="needs petbench[joblib]")
def test_joblib(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep("adapter=krona", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert status == 0, text
    assert [record["status"] for record in records(tmp_path).values()] == ["done"] * 2


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_submitit_launcher") is None, reason="needs petbench[slurm]"
)
def test_submitit_local(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep("adapter=krona", "seed=0,1", "hydra/launcher=submitit_local")
    assert status == 0, text
    assert [record["status"] for record in records(tmp_path).values()] == ["done"] * 2
    (folder,) = tmp_path.glob("results/sweeps/*/.submitit")
    assert list(folder.glob("*_log.out")) and not list(tmp_path.rglob("%j"))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hydra_plugins.hydra_ray_launcher") is None, reason="needs petbench[ray]")
def test_ray(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep(
        "adapter=krona", "seed=0,1", "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"
    )
    assert status == 0, text
    assert [record["status"] for record in records(tmp_path).values()] == ["done"] * 2


@pytest.mark.skipif(find_spec("hydra_plugins.hydra_optuna_sweeper") is None, reason="needs petbench[optuna]")
def test_optuna_maximises_the_selection_score(sweep: Sweep, tmp_path: Path) -> None:
    status, text = sweep(
        "adapter=krona", "optim.lr=interval(1e-4,1e-1)", "adapter.scale=1,4",
        "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1",
    )  # fmt: skip
    assert status == 0, text
    found = records(tmp_path)
    assert len(found) == 3
    assert all(1e-4 <= record["config"]["optim"]["lr"] <= 1e-1 for record in found.values())
    best = max(record["metrics"]["selection"]["accuracy"] for record in found.values())
    (result,) = tmp_path.glob("results/sweeps/*/optimization_results.yaml")
    assert f"best_value: {best}" in result.read_text()
    assert f"{best:.4f}" in text.split("best on the selection rows: ")[1]
    shown = [line for line in text.splitlines() if line.startswith("│ krona ")]
    scores = sorted(f"{100 * record['metrics']['selection']['accuracy']:.1f}" for record in found.values())
    assert len(shown) == 3 and all(
        "selection accuracy" in line for line in shown
    )  # never report scores of trials
    assert sorted(line.split("│")[4].strip() for line in shown) == scores

    assert {(r["provenance"]["tuning"]["role"], r["seed"]) for r in found.values()} == {("trial", 1000)}
    assert run_command(["report", "results", "--tables-only"]) == 2  # trials are no results
    (line,) = [line for line in text.splitlines() if line.startswith("  petbench train -m ")]
    chosen = [word for word in shlex.split(line)[2:] if word not in ("-m", *TINY)]
    assert sweep(*chosen)[0] == 0
    finals = [r for r in records(tmp_path).values() if r["provenance"]["tuning"]["role"] == "final"]
    assert sorted(record["seed"] for record in finals) == [0, 1, 2]
    cost = sum(record["cost"]["train_seconds"] + record["cost"]["eval_seconds"] for record in found.values())
    scales = {record["config"]["adapter"]["scale"] for record in found.values()}
    assert finals[0]["provenance"]["tuning"] == {
        "role": "final",
        "runs": 3,
        "steps": 12,
        "seconds": pytest.approx(cost, abs=1e-3),
        "searched": ["adapter.scale", "optim.lr"]
        if len(scales) > 1
        else ["optim.lr"],  # chance draws the scales
    }
    assert run_command(["report", "results", "--tables-only"]) == 0
    (row, *_) = csv.DictReader((tmp_path / "results/report/tables.csv").open())
    assert (row["n_seeds"], row["tuning_runs"]) == ("3", "3")

    status, text = sweep(
        "adapter=krona", "seed=1000", *(w for w in chosen if w.startswith(("optim.", "adapter.s")))
    )
    assert "1 of them were trials of a search: `petbench report` leaves them out." in text


def test_a_recipe_is_not_searched(sweep: Sweep, tmp_path: Path) -> None:
    if find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
        pytest.skip("needs petbench[optuna]")
    status, text = sweep("recipe=krona_table1", "adapter=krona", "hydra/sweeper=optuna")
    assert status == 2
    assert "a recipe fixes its settings" in text and "Leave recipe= out" in text


def test_what_another_sweep_failed_meanwhile_is_tried_again_by_the_next_call_only(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another call fails a cell while a sweep works on the one before it: each cell breaks once a round."""
    tried: list[int] = []

    def broken(spec: Any, task: Any) -> Any:
        tried.append(spec.seed)
        if len(tried) == 1:  # while this sweep works on seed 0, another call does seed 1
            with pytest.raises(RunError, match="no memory left"):
                run(prepare(spec.model_copy(update={"seed": 1})))
        raise RuntimeError("no memory left")

    monkeypatch.setattr(session, "load_and_attach", broken)
    for _ in range(2):  # new cells, then cells that are tried again
        tried.clear()
        status, text = sweep("adapter=krona", "seed=0,1")
        assert status == 1
        assert sorted(tried) == [0, 1]
        assert (
            "failed in another sweep just now (RuntimeError: no memory left)" in text and "2 failed." in text
        )


@pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_ray_launcher") is not None, reason="petbench[ray] is there"
)
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(sweep: Sweep) -> None:
    status, text = sweep("adapter=krona", "seed=0,1", "hydra/launcher=ray")
    assert status == 2
    assert "hydra/launcher=ray: not installed. Run: pip install 'petbench[ray]'" in text


@pytest.mark.slow
def test_four_processes_share_sixteen_cells(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "four_sweeps.py"
    done = subprocess.run(
        [sys.executable, str(script), "--folder", str(tmp_path)], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 records, 16 trained, each once: True" in done.stdout


def test_a_tuned_sweep(sweep: Sweep, tmp_path: Path) -> None:
    """Equal trials for both methods, final runs of the choice with the cost noted, and nothing twice."""
    call = ["sweep=tuned", "budget_runs=2", "final_seeds=2", "adapter=krona,ia3"]
    status, text = sweep(*call, "plan=true")
    assert status == 0
    assert "4 runs to train" in text and "Then 4 final runs" in text
    assert not (tmp_path / "results").exists()

    status, text = sweep(*call)
    assert status == 0, text
    found = list(records(tmp_path).values())
    roles = sorted((r["adapter"], r["provenance"]["tuning"]["role"], r["seed"]) for r in found)
    assert roles == sorted(
        (adapter, role, seed)
        for adapter in ("krona", "ia3")
        for role, seed in [("trial", 1000), ("trial", 1000), ("final", 0), ("final", 1)]
    )
    for adapter in ("krona", "ia3"):
        own = [record for record in found if record["adapter"] == adapter]
        trials = [record for record in own if record["provenance"]["tuning"]["role"] == "trial"]
        finals = [record for record in own if record["provenance"]["tuning"]["role"] == "final"]
        best = max(record["metrics"]["selection"]["accuracy"] for record in trials)
        rates = {r["config"]["optim"]["lr"] for r in trials if r["metrics"]["selection"]["accuracy"] == best}
        assert {record["config"]["optim"]["lr"] for record in finals} <= rates
        cost = sum(record["cost"]["train_seconds"] + record["cost"]["eval_seconds"] for record in trials)
        for record in finals:
            note = record["provenance"]["tuning"]
            assert note["runs"] == 2
            assert note["seconds"] == pytest.approx(cost, abs=1e-3)

    before = written(tmp_path)
    status, text = sweep(*call)
    assert status == 0
    assert text.count("Nothing to run.") == 2
    assert written(tmp_path) == before


def test_nothing_is_chosen_while_a_trial_is_stopped(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice among fewer trials would be another one: no final run is made, and the same command goes on."""
    call = ["sweep=tuned", "budget_runs=2", "final_seeds=1", "adapter=krona"]
    assert sweep(*call)[0] == 0
    (final,) = (name for name, r in records(tmp_path).items() if r["provenance"]["tuning"]["role"] == "final")
    shutil.rmtree(tmp_path / "results/runs" / final)
    trial = min(records(tmp_path))
    path = tmp_path / "results/runs" / trial / "record.json"
    path.write_text(path.read_text().replace('"status": "done"', '"status": "interrupted"'))
    with monkeypatch.context() as stopped:
        stopped.setattr("petbench.sweep.sweep._run_all", lambda *_: None)
        status, text = sweep(*call)
    assert status == 1 and final not in records(tmp_path)
    said = "krona rte: 1 of 2 trials were stopped, so no setting is chosen yet. The same command goes on with them."
    assert said in " ".join(text.split())
    assert sweep(*call)[0] == 0
    assert records(tmp_path)[trial]["status"] == records(tmp_path)[final]["status"] == "done"


def test_a_final_run_that_was_there_before_gets_the_cost_of_tuning(sweep: Sweep, tmp_path: Path) -> None:
    call = ["adapter=krona", "adapter.scale=1"]
    assert sweep(*call, "optim.lr=1e-3,2e-3,5e-3,1e-2", "seed=0")[0] == 0
    assert all(record["provenance"]["tuning"] is None for record in records(tmp_path).values())
    status, text = sweep("sweep=tuned", "budget_runs=2", "final_seeds=1", *call)
    assert status == 0
    assert "was done before; its record now carries the cost of tuning." in text
    notes = [record["provenance"]["tuning"] for record in records(tmp_path).values() if record["seed"] == 0]
    assert [note["runs"] for note in notes if note] == [2]
