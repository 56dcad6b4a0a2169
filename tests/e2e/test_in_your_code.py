"""docs/in-your-code.md: its blocks run in order, and a Trainer's checkpoint goes on to the same bits."""

import re
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments, set_seed

import petbench
from tiny_models import backbone, batch, logits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "in-your-code.md"


def rows(number: int = 32) -> list[dict[str, torch.Tensor]]:
    drawn = torch.randint(5, 60, (number, 10), generator=torch.Generator().manual_seed(0))
    return [
        {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor(place % 2)}
        for place, ids in enumerate(drawn)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    backbone("tiny_bert").model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def page(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder in which the page's blocks ran, and their variables."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    folder = tmp_path_factory.mktemp("page")
    names: dict[str, Any] = {"backbone": str(base), "rows": rows()}
    set_seed(0)
    with chdir(folder):
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    return folder, names


def test_the_page_runs_and_leaves_what_it_says(page: tuple[Path, dict[str, Any]], base: Path) -> None:
    folder, names = page
    for method in ("krona", "lora", "compacter"):
        model = AutoModelForSequenceClassification.from_pretrained(base)
        tuned = petbench.load(folder / method, model=model)
        assert tuned.spec.label == method and sum(p.numel() for p in tuned.state().values()) < 3000
    assert not [name for name in load_file(folder / "plain/model.safetensors") if "petbench" in name]
    values = batch("tiny_bert")
    plain = AutoModelForSequenceClassification.from_pretrained(folder / "plain")
    on = petbench.load(folder / "krona", model=AutoModelForSequenceClassification.from_pretrained(base))
    torch.testing.assert_close(logits(plain, values), logits(on.model, values), rtol=0, atol=1e-5)
    bare = AutoModelForSequenceClassification.from_pretrained(base)
    assert torch.equal(logits(names["model"], values), logits(bare, values))  # the last line removed it


@pytest.mark.parametrize("adapter", ["krona", "compacter", "prefix_tuning", "peft/lora", "peft/prompt"])
def test_a_trainer_goes_on_from_its_checkpoint_to_the_same_bits(
    base: Path, tmp_path: Path, adapter: str
) -> None:
    def trained(steps: int, resume: str | None = None) -> dict[str, torch.Tensor]:
        set_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(base)
        tuned = petbench.attach(model, adapter=adapter)
        arguments = TrainingArguments(
            str(tmp_path), max_steps=6, save_steps=steps, per_device_train_batch_size=4, learning_rate=1e-2,
            report_to=[], use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        given = tuned.model if adapter == "peft/prompt" else model
        Trainer(model=given, args=arguments, train_dataset=rows()).train(resume_from_checkpoint=resume)
        return tuned.state()

    whole = trained(3)
    again = trained(6, str(tmp_path / "checkpoint-3"))
    assert whole.keys() == again.keys()
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    fresh = petbench.attach(AutoModelForSequenceClassification.from_pretrained(base), adapter=adapter).state()
    moved = [name for name in whole if not torch.equal(whole[name], fresh[name])]
    assert len(moved) > len(whole) / 2  # it did train
