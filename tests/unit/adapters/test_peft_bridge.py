"""The PEFT bridge: exact targets, counts, one head, switching off, refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from petbench.adapters.registry import method_named
from petbench.config.sections import hyper_parameters
from petbench.conformance.case import build_case
from petbench.conformance.checks import merging
from petbench.errors import UserError
from petbench.tuned.attach import Tuned, attach
from petbench.tuned.params import count_params
from tiny_models import backbone, batch, logits, takes_past_key_values

ADAPTERS, MODELS = (Path(__file__).parents[3] / "conf" / group for group in ("adapter", "model"))
PRESETS = sorted((ADAPTERS / "peft").glob("*.yaml"))
NOT_ON_GPT2 = {"boft", "lokr", "loha", "oft", "prompt", "p_tuning"}


def attached(model: str, **fields: Any) -> Tuned:
    made = backbone(model)
    method = method_named("peft")
    spec = method.Spec.model_validate({"method": "peft", **fields})
    return attach(made.model, method, spec, made.layout)


def preset(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return hyper_parameters(values)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5", "tiny_gpt2"])
def test_every_preset_trains_or_says_why_not(path: Path, model: str) -> None:
    values = preset(path)
    if model == "tiny_gpt2" and path.stem in NOT_ON_GPT2:
        with pytest.raises(UserError, match="adapter=peft/"):
            attached(model, **values)
        return
    if refused_here(model, path):
        return
    tuned = attached(model, **values)
    counted = count_params(tuned)
    assert counted.adapter == tuned.method.count(tuned.spec, tuned.layout) > 0
    assert counted.head == (0 if model == "tiny_t5" else sum(p.numel() for p in head(backbone(model))))
    values_ = batch(model) if model == "tiny_t5" else {**batch(model), "labels": torch.tensor([0, 1])}
    with tuned.disabled():
        assert torch.equal(logits(tuned.model, values_), logits(backbone(model).model, values_))
    before = {name: p.detach().clone() for name, p in tuned.model.named_parameters()}
    tuned.installed.start(4)
    trained = [p for p in tuned.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for step in range(1, 5):
        optimizer.zero_grad()
        loss = tuned.model(**values_).loss
        loss.backward()
        optimizer.step()
        tuned.installed.after_step(step)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    moved = {n for n, p in tuned.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved <= tuned.trained_names
    assert moved & tuned.adapter_names


def refused_here(model: str, path: Path) -> bool:
    """A prefix where the installed transformers has renamed what PEFT hands it in by: refused, naming both."""
    if path.stem != "prefix" or model == "tiny_t5" or takes_past_key_values(backbone(model).model):
        return False
    with pytest.raises(
        UserError, match=rf"do not reach a {model[5:]} model's attention \(peft .*, transformers 5"
    ):
        attached(model, **preset(path))
    return True


def head(made: Any) -> list[Any]:
    return [p for n, p in made.model.named_parameters() if n.split(".")[0] in made.layout.head_modules]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_merge_and_unmerge(path: Path) -> None:
    if refused_here("tiny_bert", path):
        return
    tuned = attached("tiny_bert", **preset(path))
    values = batch("tiny_bert")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(tuned.model.named_parameters()):
            if name in tuned.adapter_names:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    before = logits(tuned.model, values)
    if not tuned.method.mergeable(tuned.spec, tuned.layout):
        with pytest.raises(UserError, match="cannot be merged"):
            tuned.merge()
        return
    tuned.merge()
    torch.testing.assert_close(logits(tuned.model, values), before, rtol=0, atol=1e-5)
    tuned.unmerge()
    assert torch.equal(logits(tuned.model, values), before)


def test_fourierft_merges_but_for_rounding() -> None:
    """At this width its random start is 60 times the weights: float32 shows 1e-4, float64 that the maths is right."""
    case = build_case("peft/fourierft", "tiny_t5")
    merging(case)
    tuned = case.tuned()
    tuned.model.double()
    before = case.logits(tuned.model)
    tuned.merge()
    assert float((case.logits(tuned.model) - before).abs().max()) < 1e-11


def test_p_tuning_trains_at_its_presets_rate() -> None:
    case = build_case("peft/p_tuning", "tiny_t5")
    tuned = case.tuned()
    goal = 0.55 * float(
        tuned.model(**case.batch).loss.detach()
    )  # on these rows it comes to 0.51 in 800 steps
    assert case.train(tuned, steps=400, lr=case.values["tuning"]["lr"], until=lambda loss: loss < goal) < goal


def test_targets_are_exact_modules() -> None:
    """`output.dense` as a suffix would hit attention.output.dense too."""
    tuned = attached("tiny_bert", peft_type="LORA", targets=["ffn_output"], arguments={"r": 2})
    assert set(tuned.model.targeted_module_names) == {  # type: ignore[arg-type]
        f"bert.encoder.layer.{i}.output.dense" for i in (0, 1)
    }
    one = attached("tiny_bert", peft_type="LORA", targets=["query"], layers="last:1", arguments={"r": 2})
    assert one.model.targeted_module_names == ["bert.encoder.layer.1.attention.self.query"]


def test_a_prompt_learners_head_is_trained_once() -> None:
    tuned = attached("tiny_bert", peft_type="PROMPT_TUNING", arguments={"num_virtual_tokens": 3})
    copies = [n for n, p in tuned.model.named_parameters(remove_duplicate=False) if "classifier" in n]
    assert len(copies) == 4, "PEFT's wrapper shows weight and bias twice"
    assert len({id(p) for n, p in tuned.model.named_parameters() if "classifier" in n}) == 2
    assert len(tuned.head_names) == 2
    assert count_params(tuned).adapter == 3 * 32


def test_adalora_allocates_by_the_length_of_the_run() -> None:
    tuned = attached(
        "tiny_bert", peft_type="ADALORA", targets=["query"], arguments={"init_r": 4, "target_r": 2}
    )
    tuned.installed.start(1000)
    config = tuned.model.peft_config["default"]  # type: ignore[index]
    assert (config.total_step, config.tinit, config.tfinal, config.deltaT) == (1000, 100, 300, 10)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "LORE"}, "adapter.peft_type: 'LORE' is unknown. Did you mean 'LORA'"),
        (
            {"peft_type": "LORA", "targets": ["query"], "arguments": {"rr": 2}},
            "adapter.arguments of LORA: 'rr' is unknown",
        ),
        ({"peft_type": "LORA", "targets": ["quarry"]}, "adapter.targets: 'quarry' is unknown"),
        (
            {"peft_type": "BOFT", "targets": ["query"], "arguments": {"boft_n_butterfly_factor": 2}},
            "adapter.arguments.boft_n_butterfly_factor: got 2, but PEFT computes one factor on this machine",
        ),
    ],
)
def test_mistakes_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        attached("tiny_bert", **fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("model", "peft_type"),
    [("tiny_gpt2", "PROMPT_TUNING"), ("tiny_roberta", "PREFIX_TUNING"), ("tiny_distilbert", "PREFIX_TUNING")],
)
def test_heads_that_peft_would_misread_are_refused(model: str, peft_type: str) -> None:
    with pytest.raises(UserError, match="under PEFT the head of"):
        attached(model, peft_type=peft_type, arguments={"num_virtual_tokens": 3})
