"""A run is its content: what is replaced is another run, what only moved is the same one, and nothing is mixed."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

import petbench
from model_folders import edit_json, other_tokenizer, other_weights, write_model
from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.errors import UserError
from petbench.models import hub_commit
from petbench.record import Record, read_records
from petbench.report.cells import group
from petbench.training.prepare import prepare
from petbench.tuned.load import load_run
from toy_runs import replacing

FEW = ["task=stsb", "adapter=krona", "data=toy", "data.toy_train=16", "data.toy_validation=16", "trainer.max_steps=1",
       "trainer.batch_size=8", "trainer.precision=fp32", "trainer.device=cpu"]  # fmt: skip


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def train(*overrides: str, status: int = 0, results: Path | str = "results") -> list[Record]:
    """One run; the records of the folder after it."""
    assert run_command(replacing(["train", *FEW, f"results_dir={results}"], *overrides)) == status
    return list(read_records(results))


CHANGES: dict[str, Callable[[Path], object]] = {
    "weights": other_weights,
    "tokenizer": other_tokenizer,
    "config": lambda folder: edit_json(folder / "config.json", layer_norm_eps=0.1, layer_norm_epsilon=0.1),
}


def id_of(*overrides: str) -> str:
    """The id of a run, without training it."""
    (member,) = expand([*FEW, *overrides])
    return prepare(parse(member.values, spec_of)).run_id


@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta", "tiny_t5", "tiny_gpt2", "tiny_llama"])
def test_every_part_that_is_replaced_in_place_gives_another_run(family: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", family)
    ids = [id_of("model.name=./model")]
    for change in CHANGES.values():
        change(folder)
        ids.append(id_of("model.name=./model"))
    assert len(set(ids)) == 1 + len(CHANGES)


def test_a_replaced_model_is_not_done_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_model(tmp_path / "model")
    (first,) = train("model.name=./model")
    other_weights(folder)
    both = train("model.name=./model")
    assert len(both) == 2
    (second,) = (record for record in both if record.run_id != first.run_id)
    one, two = (record.provenance.content.model_dump() for record in (first, second))
    assert {name for name in one if one[name] != two[name]} == {"weights"}
    capsys.readouterr()
    assert train("model.name=./model") == both
    assert f"{second.run_id} is done already" in capsys.readouterr().out


def test_one_backbone_is_one_run_however_it_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    shutil.copytree(tmp_path / "base", tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to("base")
    (record,) = train("model.name=base/")
    assert record.config["model"]["name"] == str(tmp_path / "base")
    for name in ("base", "./base", f"{tmp_path}/base", "link", "elsewhere"):
        assert id_of(f"model.name={name}") == record.run_id, name
    assert id_of("model.name=base", f"model.tokenizer={tmp_path}/elsewhere") == record.run_id  # equal files


def test_two_projects_share_a_results_folder_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has its own ./model; each run then answers from any directory, by the backbone that it was trained on."""
    (tmp_path / "new.jsonl").write_text('{"sentence1": "a good film", "sentence2": "a bad film"}\n')
    answers = {}
    for number, project in enumerate(("one", "two")):
        write_model(tmp_path / project / "model", seed=number)
        monkeypatch.chdir(tmp_path / project)
        train("model.name=./model", results=tmp_path / "results")
        (record,) = (
            r
            for r in read_records(tmp_path / "results")
            if r.config["model"]["name"] == str(tmp_path / project / "model")
        )
        saved = tmp_path / "results/runs" / record.run_id / "adapter/adapter_config.json"
        assert json.loads(saved.read_text())["config"]["model"]["name"] == str(tmp_path / project / "model")
        monkeypatch.chdir("/")
        capsys.readouterr()
        run = str(tmp_path / "results/runs" / record.run_id)
        assert run_command(["predict", run, str(tmp_path / "new.jsonl")]) == 0
        answers[record.run_id] = capsys.readouterr().out
        assert run_command(["merge", run, "--out", str(tmp_path / f"merged_{project}")]) == 0
        assert run_command(["export", run, "--out", str(tmp_path / f"peft_{project}")]) == 0
        base = json.loads((tmp_path / f"peft_{project}/adapter_config.json").read_text())
        assert (
            base["base_model_name_or_path"] == "model"
        )  # a published adapter names no folder of the machine
    assert len(answers) == 2 and len(set(answers.values())) == 2


def test_rows_and_start_are_remembered_by_their_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "m")
    train("model.name=m", results="first")
    (first,) = read_records("first")
    (tmp_path / "glue").mkdir()
    (record,) = train("model.name=m", "data.dir=glue", f"init_from=first/runs/{first.run_id}")
    assert record.config["data"]["dir"] == str(tmp_path / "glue")
    assert record.config["init_from"] == str(tmp_path / "first/runs" / first.run_id)


def test_a_start_is_its_bytes(tmp_path: Path) -> None:
    (first,) = train("model=tiny_bert")
    start = tmp_path / "results/runs" / first.run_id
    records = train("model=tiny_bert", f"init_from={first.run_id}", "optim.lr=1e-6")
    assert len(records) == 2
    assert (
        train("model=tiny_bert", f"init_from={start}", "optim.lr=1e-6") == records
    )  # the same by its folder
    assert train("model=tiny_bert", f"init_from={start}/adapter", "optim.lr=1e-6") == records
    mine = tmp_path / "mine"
    shutil.copytree(start / "adapter", mine)
    assert train("model=tiny_bert", f"init_from={mine}", "optim.lr=1e-6") == records
    (other,) = train("model=tiny_bert", "optim.lr=0.5", results="other")
    shutil.rmtree(mine)
    shutil.copytree(tmp_path / "other/runs" / other.run_id / "adapter", mine)  # replaced in place
    assert len(train("model=tiny_bert", f"init_from={mine}", "optim.lr=1e-6")) == 3
    shutil.rmtree(mine)
    train("model=tiny_bert", f"init_from={mine}", "optim.lr=1e-6", status=2)


def test_a_start_that_is_gone_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("model=tiny_bert", "init_from=./nowhere", status=2) == []
    assert "init_from: no trained run at './nowhere'" in capsys.readouterr().err


def test_the_precision_that_is_used_is_part_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is what it comes to: one run with that value, and another one where it comes to another."""
    ids: dict[tuple[str, str], str] = {}
    for machine in ("fp32", "bf16"):
        monkeypatch.setattr(
            "petbench.machine.devices._cpu_multiplies_bf16", lambda machine=machine: machine == "bf16"
        )
        for asked in ("auto", "fp32", "bf16"):
            ids[machine, asked] = id_of("model=tiny_bert", f"trainer.precision={asked}")
    assert ids["fp32", "auto"] == ids["fp32", "fp32"] == ids["bf16", "fp32"]
    assert ids["bf16", "auto"] == ids["bf16", "bf16"] == ids["fp32", "bf16"] != ids["fp32", "fp32"]


STATES: dict[str, tuple[list[str], str]] = {
    "weights": (["model.name=w"], r"\n  weights: \w{12}… → \w{12}…\n"),
    "tokenizer": (["model.name=t"], r"\n  tokenizer: \w{12}… → \w{12}…\n"),
    "learning rate": (["optim.lr=0.125"], r"\n  optim\.lr: 0\.125 → 0\.005\n"),
    "method": (["adapter=lora"], r"\n  adapter\.factor_shape: nothing → auto\n"),
    "rows": (["data.toy_train=24"], r"\n  rows: \w{12}… → \w{12}…\n"),
    "precision": (["trainer.precision=bf16"], r"\n  precision: bf16 → fp32\n"),
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_of_another_run_is_refused_with_the_difference(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "mwt":
        write_model(tmp_path / name)
    other_weights(tmp_path / "w")
    other_tokenizer(tmp_path / "t")
    words = ["model.name=m", "trainer.max_steps=2", "trainer.eval_every=1", "trainer.keep_resume_state=true"]
    other, message = STATES[case]
    (record,) = train(*replacing(words, *other))
    own = tmp_path / "results/runs" / id_of(*words)
    own.mkdir()
    shutil.copy(own.with_name(record.run_id) / "resume.safetensors", own)
    train(*words, status=2)
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert f"{own.relative_to(tmp_path)}/resume.safetensors is of another run (was → now):" in error
    assert "delete the file to begin afresh" in error
    assert (own / "resume.safetensors").is_file()  # nothing is lost


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (other_weights, "  weights: "),
    "tokenizer": (other_tokenizer, "  tokenizer: "),
    "config": (CHANGES["config"], "  config: "),
    "moved": (lambda folder: folder.rename(folder.with_name("moved")), "there is no folder "),
    "deleted": (shutil.rmtree, "there is no folder "),
    "a file now": (lambda folder: (shutil.rmtree(folder), folder.touch()), " is a file. "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_run_is_loaded_with_its_own_backbone_only(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "model")
    shutil.copytree(folder, tmp_path / "safe")
    (record,) = train("model.name=model")
    run = str(tmp_path / "results/runs" / record.run_id)
    (tmp_path / "new.jsonl").write_text('{"sentence1": "a", "sentence2": "b"}\n')
    change, message = BROKEN[case]
    change(folder)
    monkeypatch.chdir("/")
    commands = (
        ["predict", run, str(tmp_path / "new.jsonl")],
        ["merge", run, "--out", str(tmp_path / "merged")],
        ["export", run, "--out", str(tmp_path / "peft")],
    )
    capsys.readouterr()
    for command in commands:
        assert run_command(command) == 2
        error = capsys.readouterr().err
        assert message in error and "--model FOLDER" in error
    with pytest.raises(UserError, match="--model FOLDER"):
        petbench.load(run)
    for command in commands if case == "moved" else commands[:1]:  # the user says where it is now
        assert run_command([*command, "--model", str(tmp_path / "safe")]) == 0
    assert petbench.load(run, model=str(tmp_path / "safe")).adapter_names
    other_weights(tmp_path / "safe")
    assert run_command([*commands[0], "--model", str(tmp_path / "safe")]) == 2
    assert "  weights: " in capsys.readouterr().err


def test_a_published_adapter_needs_no_path(tmp_path: Path) -> None:
    """The adapter folder alone, somewhere else, with the backbone that its reader has."""
    write_model(tmp_path / "mine")
    (record,) = train("model.name=mine")
    shutil.copytree(tmp_path / "results/runs" / record.run_id / "adapter", tmp_path / "got/adapter")
    (tmp_path / "mine").rename(tmp_path / "theirs")
    loaded = petbench.load("got/adapter", model="theirs")
    assert loaded.state().keys()
    with pytest.raises(UserError, match=r"the backbone of this run was not found\. .*there is no folder"):
        petbench.load("got/adapter")


def test_a_hub_run_is_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch that moved on is another run; the first one is still loaded from the commit that it was trained on."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub_commit, "_FOUND", {})
    repository = tmp_path / "hub" / "models--lab--tiny"
    (repository / "refs").mkdir(parents=True)
    for seed, commit in enumerate(("a" * 40, "b" * 40)):
        write_model(repository / "snapshots" / commit, seed=seed)
    (repository / "refs/main").write_text("a" * 40)
    (first,) = train("model.name=lab/tiny")
    assert first.provenance.content.weights == first.provenance.content.tokenizer == f"hub:{'a' * 40}"
    (repository / "refs/main").write_text("b" * 40)
    monkeypatch.setattr(hub_commit, "_FOUND", {})
    assert id_of("model.name=lab/tiny") != first.run_id
    assert id_of("model.name=lab/tiny", f"model.revision={'a' * 40}") == first.run_id
    assert load_run(first.run_id).backbone.digest == first.provenance.model.digest
    here = load_run(first.run_id, model=str(repository / "snapshots" / ("a" * 40)))  # by its bytes
    assert here.backbone.digest == first.provenance.model.digest
    with pytest.raises(UserError, match=r"trained on other weights of 'lab/tiny'"):
        load_run(first.run_id, model=str(repository / "snapshots" / ("b" * 40)))


def test_files_that_change_while_a_run_starts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from petbench.tuned import load as loading

    folder, plain = write_model(tmp_path / "m"), loading.load

    def replaced_before(*arguments: object) -> object:
        other_weights(folder)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "load", replaced_before)
    assert train("model.name=m", status=2) == []
    error = capsys.readouterr().err
    assert "files of the run changed while it was starting (was → now):\n  weights: " in error


def test_a_sweep_runs_what_was_replaced_and_leaves_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_model(tmp_path / name, seed=ord(name))
    words = ["train", "-m", *FEW, "model.name=a,b"]
    assert run_command(words) == 0
    assert len(list(read_records("results"))) == 2
    other_weights(tmp_path / "b")
    capsys.readouterr()
    assert run_command(words) == 0
    assert "1 of 2 runs is done already" in capsys.readouterr().out
    records = list(read_records("results"))
    assert len(records) == 3 and {record.status for record in records} == {"done"}


def test_a_sweep_takes_starts_that_it_makes_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """The id of a run whose start is still to come is known once the start is done."""
    few = [word for word in FEW if not word.startswith(("task=", "adapter="))]
    words = ["train", "-m", "recipe=lora_table2", "model=tiny_roberta", *few, "seed=0", "task=mnli,rte"]
    assert run_command(words) == 0
    records = {record.task: record for record in read_records("results")}
    assert {record.status for record in records.values()} == {"done"} and len(records) == 2
    assert records["rte"].config["init_from"] == records["mnli"].run_id
    assert "2 done." in capsys.readouterr().out
    assert run_command(words) == 0
    assert "2 of 2 runs are done already" in capsys.readouterr().out


def test_a_report_never_averages_over_two_backbones(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    shutil.copytree(folder, tmp_path / "copy" / "m")
    train("model.name=m", "seed=0")
    train("model.name=copy/m", "seed=1")  # the same backbone: one cell
    assert seeds_of_cells() == [2]
    other_weights(folder)
    train("model.name=m", "seed=2")
    assert seeds_of_cells() == [1, 2]


def seeds_of_cells() -> list[int]:
    return sorted(len(cell.values) for cell in group(read_records("results")))


def test_a_cluster_is_told_the_precision(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = [word for word in FEW if "precision" not in word]
    for launcher in ("submitit_slurm", "slurm_gpu"):
        assert (
            run_command(["train", "-m", *words, "model=tiny_bert", "seed=0,1", f"hydra/launcher={launcher}"])
            == 2
        )
        assert "Give one: trainer.precision=bf16 or fp32." in capsys.readouterr().err
