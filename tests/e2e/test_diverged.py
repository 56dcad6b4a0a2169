"""A run that becomes NaN or infinite ends as `diverged`, whatever the method, the task and the way it answers."""

import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.errors import Diverged
from petbench.record import Record, read_record
from petbench.training.fit import Fit
from petbench.training.prepare import prepare
from petbench.training.run import run

SMALL = [
    "data=toy", "data.toy_train=32", "data.toy_validation=16", "trainer.batch_size=8", "trainer.max_steps=2",
    "trainer.precision=fp32", "trainer.threads=1", "trainer.device=cpu", "logger=jsonl",
]  # fmt: skip
HUGE = ["optim.lr=1e30", "trainer.max_steps=1"]
# Method, family, task and way of answering.
RUNS = {
    "krona, classes": ["adapter=krona", "model=tiny_bert", "task=rte"],
    "hadamard, regression": ["adapter=hadamard", "model=tiny_roberta", "task=stsb"],
    "bitfit, three classes": ["adapter=bitfit", "model=tiny_distilbert", "task=mnli"],
    "head_only, classes": ["adapter=head_only", "model=tiny_gpt2", "task=cola"],
    "peft/lora, regression": ["adapter=peft/lora", "model=tiny_llama", "task=stsb"],
    "peft/ia3, classes": ["adapter=peft/ia3", "model=tiny_bert", "task=mrpc"],
    "compacter, text scored": ["adapter=compacter", "model=tiny_t5", "task=rte"],
    "lora, text written": ["adapter=lora", "model=tiny_t5", "task=stsb", "eval.decode=generate"],
    "prompt_tuning, text": ["adapter=prompt_tuning", "model=tiny_t5_gated", "task=cola"],
}


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cache
def spec_of_run(name: str, *more: str) -> RunSpec:
    """Composed once."""
    (member,) = expand([*SMALL, *RUNS[name], *more])
    return parse(member.values, spec_of)


def diverged(name: str, *more: str) -> tuple[str, Record]:
    """What a run that must diverge says, and its record."""
    spec = spec_of_run(name, *more).model_copy(update={"results_dir": "results", "cache_dir": "cache"})
    with pytest.raises(Diverged) as error:
        run(prepare(spec))
    (folder,) = Path("results/runs").iterdir()
    record = read_record(folder)
    assert record is not None
    assert (record.status, record.reason, record.headline) == ("diverged", str(error.value), None)
    assert record.cost.train_seconds is not None and record.cost.train_seconds > 0  # it had its price
    assert not (folder / "adapter").exists()
    assert not (folder / "predictions").exists()
    assert not (folder / "claim.json").exists()
    assert "Try a smaller optim.lr than" in str(error.value)
    return str(error.value), record


@pytest.mark.parametrize("name", RUNS)
def test_one_step_at_a_rate_of_1e30(name: str) -> None:
    said, record = diverged(name, *HUGE)
    assert re.match(
        r"trained values became NaN or infinite \(step 1, learning rate 1e\+30; last finite at step 0\)\.",
        said,
    )
    assert record.config["optim"]["lr"] == 1e30


def at_last_backward(monkeypatch: pytest.MonkeyPatch, value: float, calls: int) -> None:
    """The gradients of the last step are spoilt, after all losses were fine."""
    from petbench.training.guard import Guard

    plain: Callable[..., None] = Guard.gradients
    seen = [0]

    def spoil(self: Guard, loss: Tensor, optimizer: Any) -> None:
        plain(self, loss, optimizer)
        seen[0] += 1
        if seen[0] == calls:
            optimizer.param_groups[0]["params"][0].grad.view(-1)[0] = value

    monkeypatch.setattr(Guard, "gradients", spoil)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "name", ["krona, classes", "hadamard, regression", "lora, text written", "peft/lora, regression"]
)
def test_gradients_of_the_last_step(name: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    at_last_backward(monkeypatch, value, calls=2)
    said, _ = diverged(name)
    assert said.startswith("trained values became NaN or infinite (step 2, learning rate ")
    assert "; last finite at step 1)" in said


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "name", ["krona, classes", "peft/lora, regression", "compacter, text scored", "lora, text written"]
)
def test_logits_of_an_evaluation(name: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are finite and the model's answers are not: a frozen layer overflows on some input."""
    plain = Fit.resume

    def spoil(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        return output if module.training else torch.cat([torch.full_like(output[:1], value), output[1:]])

    def loaded(self: Fit) -> bool:
        outputs = ("classifier", "score", "lm_head")
        modules = self.tuned.model.named_modules()
        (last,) = [module for name, module in modules if name.rpartition(".")[2] in outputs]
        last.register_forward_hook(spoil)
        return plain(self)

    monkeypatch.setattr(Fit, "resume", loaded)
    said, _ = diverged(name)
    assert re.match(r"the logits of \d+ of \d+ rows are NaN or infinite \(step 2, learning rate ", said)
    assert "; last finite at step 1)" in said


def test_a_sum_that_overflows_when_merged_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are finite, merged weights are not: no measurement is taken of them, and none is written down."""
    from petbench.tuned.attach import Tuned

    plain = Tuned.merge

    @torch.no_grad()
    def merged(self: Tuned) -> None:
        plain(self)
        self.model.get_submodule(self.installed.attachments[0].site.module).weight[0, 0] = math.nan  # type: ignore

    monkeypatch.setattr(Tuned, "merge", merged)
    said, _ = diverged("krona, classes")
    assert said.startswith(
        "merged into the backbone, the adapter gives logits that are NaN or infinite (step 2,"
    )
