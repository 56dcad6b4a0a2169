"""`petbench merge` and `petbench export` on a run that `petbench train` has just finished."""

import errno
import json
import os
import re
import shlex
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from model_folders import write_model
from petbench.cli import run_command
from petbench.record import read_record
from petbench.tuned.load import load_run
from tiny_models import batch, logits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a three-step run of krona on the tiny BERT."""
    results = tmp_path_factory.mktemp("results")
    small = ["data.toy_train=16", "data.toy_validation=8", "trainer.max_steps=3", "trainer.progress=off"]
    words = ["adapter=krona", "adapter.factor_shape=[4,4]", "task=rte", "model=tiny_bert", "data=toy"]
    assert run_command(["train", *words, *small, "logger=none", f"results_dir={results}"]) == 0
    (folder,) = (results / "runs").iterdir()
    return folder


def test_merge_writes_a_checkpoint_for_transformers(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    assert run_command(["merge", str(run), "--out", str(tmp_path / "merged")]) == 0
    assert "plain BertForSequenceClassification" in "".join(capsys.readouterr())
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    tuned = load_run(run).tuned
    values = batch("tiny_bert")
    torch.testing.assert_close(logits(model, values), logits(tuned.model, values), rtol=0, atol=1e-6)
    assert model.config.id2label == {0: "entailment", 1: "not_entailment"}
    record = read_record(run)
    card = ModelCard.load(tmp_path / "merged" / "README.md")
    assert record is not None and record.headline is not None and record.params is not None
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == (record.headline.name, record.headline.value)
    assert (result.dataset_name, result.dataset_split, card.data.library_name) == (
        "rte",
        "validation",
        "transformers",
    )
    assert (
        f"| tuned parameters | {record.params.tuned:,} (" in card.text
        and "| protocol | petbench |" in card.text
    )
    command = re.search(r"^    petbench (train .*)$", card.text, re.MULTILINE)
    assert command
    assert run_command([*shlex.split(command[1]), "logger=none", f"results_dir={run.parents[1]}"]) == 0
    assert len(list(run.parent.iterdir())) == 1  # the card's command is this run
    assert AutoTokenizer.from_pretrained(tmp_path / "merged")("a b")["input_ids"]


def test_export_writes_an_adapter_and_the_random_backbone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peft import AutoPeftModelForSequenceClassification

    out = tmp_path / "peft"
    assert run_command(["export", str(run), "--to", "peft", "--out", str(out)]) == 0
    assert "LoKr with decompose_factor" in "".join(capsys.readouterr())
    model = AutoPeftModelForSequenceClassification.from_pretrained(out)  # finds base/ by the config
    values = batch("tiny_bert")
    torch.testing.assert_close(
        logits(model, values), logits(load_run(run).tuned.model, values), rtol=0, atol=1e-6
    )


WRITTEN = {"merge": ["merge"], "export": ["export", "--to", "peft"]}


@pytest.mark.parametrize("command", WRITTEN)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_disk_that_refuses_leaves_nothing_and_the_next_call_works(
    command: str,
    number: int,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*WRITTEN[command], str(run), "--out", str(tmp_path / "new" / "out")]

    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedTokenizerBase.save_pretrained", full)  # after the weights
        assert run_command(words) == 1
    assert f"cannot write {tmp_path / 'new' / 'out'}: {os.strerror(number)}" in capsys.readouterr().err
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "new" / ".out.half-killed").mkdir()  # what SIGKILL left of another call
    assert run_command(words) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert (tmp_path / "new" / "out" / "tokenizer.json").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("command", WRITTEN)
def test_a_read_only_place_is_a_mistake(command: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert run_command([*WRITTEN[command], str(run), "--out", str(tmp_path / "closed" / "out")]) == 2


def test_what_is_written_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    model = write_model(tmp_path / "secret_place" / "bert")
    words = [
        "adapter=lora",
        "task=rte",
        f"model.name={model}",
        "data=toy",
        "data.toy_train=16",
        "logger=none",
    ]
    words += ["data.toy_validation=8", "trainer.max_steps=1", f"results_dir={tmp_path / 'results'}"]
    assert run_command(["train", *words]) == 0
    (run_folder,) = (tmp_path / "results" / "runs").iterdir()
    for command, call in WRITTEN.items():
        assert run_command([*call, str(run_folder), "--out", str(tmp_path / command)]) == 0
        for path in [*(tmp_path / command).rglob("*.json"), tmp_path / command / "README.md"]:
            assert "secret_place" not in path.read_text(), path
    config = json.loads((tmp_path / "export" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "bert"


def test_mistakes_exit_with_2(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["export", str(run), "--out", str(tmp_path / "a"), "--max-rank", "none"]) == 2
    assert "--max-rank: got 'none'. Legal: a whole number from 1 up" in capsys.readouterr().err
    assert run_command(["merge", str(tmp_path / "nowhere"), "--out", str(tmp_path / "a")]) == 2
    assert "no trained run at" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
