"""`petbench merge` and `petbench export` on a run that `petbench train` has just finished."""

from pathlib import Path

import pytest
import torch

from petbench.cli import run_command
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


def test_mistakes_exit_with_2(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["export", str(run), "--out", str(tmp_path / "a"), "--max-rank", "none"]) == 2
    assert "--max-rank: got 'none'. Legal: a whole number from 1 up" in capsys.readouterr().err
    assert run_command(["merge", str(tmp_path / "nowhere"), "--out", str(tmp_path / "a")]) == 2
    assert "no trained run at" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
