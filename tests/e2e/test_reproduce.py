"""`petbench reproduce`: what is missing runs once, starts come first, and theirs stand beside ours."""

import json
from pathlib import Path

import pytest

from petbench.cli import run_command

TINY = [
    "data=toy",
    "data.toy_train=16",
    "data.toy_validation=16",
    "trainer.max_steps=2",
    "trainer.batch_size=8",
]
KRONA = ["recipe=krona_table1", "model=tiny_t5", "adapter.factor_shape=auto", *TINY, "eval.decode=score"]
LORA = ["recipe=lora_table2", "model=tiny_roberta", *TINY, "seed=0"]


def reproduce(results: Path, *arguments: str) -> int:
    return run_command(["reproduce", *arguments, f"results_dir={results}"])


def records(results: Path) -> dict[str, dict[str, object]]:
    """By task."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("runs/*/record.json")]
    return {record["task"]: record for record in found}


def test_a_plan_needs_neither_weights_nor_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PETBENCH_GLUE", raising=False)
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    only = ["--only", "adapter=krona,lora,task=rte"]
    assert reproduce(tmp_path, "recipe=krona_table1", *only, "plan=true") == 0
    shown = capsys.readouterr().out
    assert "Plan: 2 runs of krona_table1" in shown
    assert "lr=0.002" in shown and "factor_shape=[32,24]" in shown and "158,208" in shown
    assert "Plan: 2 runs of krona_table1" in shown and len(shown.splitlines()) < 40
    heads = next(line for line in shown.splitlines() if line.startswith("method "))
    assert heads.split() == ["method", "rte"]  # the table, too, is narrowed
    assert [line.split() for line in shown.splitlines() if line.startswith("krona (")] == [
        ["krona", "(KronA)", "77.7"]
    ]
    assert "single runs" in shown  # a known reason for a gap
    assert "verdict: 2 of 2 numbers have no run of ours." in shown
    assert not list(tmp_path.iterdir())


def test_what_is_missing_runs_once_with_its_cells_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*KRONA, "--only", "adapter=krona,task=rte,stsb"]
    assert reproduce(tmp_path, *arguments) == 0
    found = records(tmp_path)
    assert {task: found[task]["config"]["optim"]["lr"] for task in found} == {"rte": 2e-3, "stsb": 1e-3}  # type: ignore[index]
    assert {record["config"]["recipe"] for record in found.values()} == {"krona_table1"}  # type: ignore[index]
    capsys.readouterr()
    assert reproduce(tmp_path, *arguments) == 0
    shown = capsys.readouterr().out
    assert "2 of 2 runs are done already" in shown
    assert len(records(tmp_path)) == 2


def test_runs_that_start_from_mnli_come_after_it(tmp_path: Path) -> None:
    assert reproduce(tmp_path, *LORA, "--only", "task=rte,mnli") == 0
    found = records(tmp_path)
    assert found["mnli"]["config"]["init_from"] is None  # type: ignore[index]
    assert found["rte"]["config"]["init_from"] == found["mnli"]["run_id"]  # type: ignore[index]


def test_a_start_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce(tmp_path, *LORA, "task=rte") == 1
    shown = capsys.readouterr().out
    assert "it starts from the mnli run" in shown and "init_from=null" in shown
    assert records(tmp_path) == {}


def test_train_names_the_start_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["train", *LORA, "task=rte", f"results_dir={tmp_path}"]) == 2
    assert "`petbench reproduce recipe=lora_table2` runs both" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_train_of_a_recipe_takes_its_cell(tmp_path: Path) -> None:
    given = ["task=stsb", "adapter=krona", "optim.lr=0.5"]
    assert run_command(["train", *KRONA, *given, f"results_dir={tmp_path}"]) == 0
    config = records(tmp_path)["stsb"]["config"]
    assert (config["optim"]["lr"], config["optim"]["warmup_steps"], config["adapter"]["scale"]) == (
        0.5,
        500,
        1.0,
    )  # type: ignore[index]


def test_ours_stand_beside_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finished run under the paper's model name is compared, and toy rows are marked."""
    assert reproduce(tmp_path, *KRONA, "model.label=t5_base", "adapter=krona", "task=rte") == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("krona (KronA)"))
    assert lines[place].split()[-1] == "77.7" and lines[place + 1].split()[0] == "ours"
    assert "OURS ARE TOY ROWS" in shown and "all 1 numbers have runs of ours." in shown
    assert "OURS RAN ON A STAND-IN FOR t5_base: tiny_t5 with random weights" in shown


def test_a_key_of_some_methods_reaches_those_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """bitfit has no factor shape. A key that no method has is a mistake as ever."""
    assert reproduce(tmp_path, *KRONA, "--only", "adapter=krona,bitfit,task=rte", "plan=true") == 0
    shown = capsys.readouterr().out
    assert "2 runs to train" in shown and "factor_shape=auto" in shown
    wrong = [*KRONA, "adapter.colour=red", "--only", "adapter=krona,bitfit,task=rte", "plan=true"]
    assert reproduce(tmp_path, *wrong) == 2
    assert capsys.readouterr().err.count("adapter.colour: unknown key.") == 2


def test_a_reason_for_many_cells_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Factor shapes of T5-base have no place in the tiny one."""
    words = [word for word in KRONA if not word.startswith("adapter.")]
    assert reproduce(tmp_path, *words, "--only", "adapter=krona,lora,task=rte,mrpc,stsb", "plan=true") == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 60
    assert sum("not possible, " in line for line in shown.splitlines()) <= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan=true"], "name a recipe"),
        (["recipe=krona_tabel1"], "Did you mean 'krona_table1'"),
        (["recipe=krona_table1", "--only", "adapter=hadamard"], "'hadamard' is unknown"),
        (["recipe=krona_table1", "--only", "colour=red"], "--only: cannot read 'colour=red'"),
        (["recipe=krona_table1", "--only", "task=rte", "task=cola"], "task is given twice"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err
