"""A method on a model of one's own: saved, loaded onto another copy, merged into a plain model, taken off again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

import petbench
from petbench.adapters.registry import method_named
from petbench.errors import UserError
from petbench.tuned.attach import Tuned
from tiny_models import backbone, batch, disturb, logits

CASES = [
    ("tiny_bert", "krona"),
    ("tiny_bert", "compacter"),  # its layers share tensors
    ("tiny_bert", "kernel_mix"),  # reads another site
    ("tiny_bert", "prefix_tuning"),  # replaces the attention function
    ("tiny_bert", "prompt_tuning"),
    ("tiny_bert", "mam"),
    ("tiny_bert", "bitfit"),  # trains the body
    ("tiny_bert", "full"),
    ("tiny_gpt2", "lora"),  # a slice of a fused projection
    ("tiny_t5", "ia3"),
    ("tiny_bert", "peft/lora"),
    ("tiny_bert", "peft/ln_tuning"),
    ("tiny_bert", "peft/prompt"),
]


def own(name: str) -> PreTrainedModel:
    return backbone(name).model


def trained(model: PreTrainedModel, adapter: str, **fields: Any) -> Tuned:
    tuned = petbench.attach(model, adapter=adapter, **fields)
    disturb(tuned.model, tuned.trained_names, scale=0.1)
    tuned.model.eval()
    return tuned


def picture(model: torch.nn.Module) -> dict[str, Any]:
    """All that `remove` must give back: names, bits, what trains, hooks, modules' classes, attributes."""
    return {
        "state": {n: t.clone() for n, t in model.state_dict().items()},
        "trains": {n: p.requires_grad for n, p in model.named_parameters()},
        "modules": [
            (n, type(m), len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.named_modules()
        ],
        "attributes": set(vars(model)),
        "attention": model.config._attn_implementation,  # type: ignore[union-attr]
    }


@pytest.mark.parametrize(("name", "adapter"), CASES)
def test_saved_loaded_and_removed(name: str, adapter: str, tmp_path: Path) -> None:
    values = batch(name)
    first = trained(own(name), adapter)
    wanted = logits(first.model, values)
    first.save(tmp_path)
    model = own(name)
    next(model.parameters()).requires_grad_(False)
    before, bare = picture(model), logits(model, values)
    second = petbench.load(tmp_path, model=model)
    assert torch.equal(logits(second.model, values), wanted) and not torch.equal(wanted, bare)
    assert second.trained_names == first.trained_names and not second.model.training
    second.remove()
    after = picture(model)
    assert all(torch.equal(tensor, after["state"].pop(key)) for key, tensor in before.pop("state").items())
    assert after.pop("state") == {} and after == before
    assert torch.equal(logits(model, values), bare)
    petbench.attach(model, adapter=adapter)  # there is room again


@pytest.mark.parametrize(("name", "adapter"), [c for c in CASES if c[1] not in ("full",)])
def test_merged_is_a_plain_model(name: str, adapter: str, tmp_path: Path) -> None:
    tuned = trained(own(name), adapter)
    values = batch(name)
    if not tuned.method.mergeable(tuned.spec, tuned.layout):
        with pytest.raises(UserError, match="cannot be merged"):
            tuned.merged()
        return
    wanted = logits(tuned.model, values)
    plain = tuned.merged()
    plain.save_pretrained(tmp_path)
    assert set(plain.state_dict()) == set(own(name).state_dict())
    again = type(plain).from_pretrained(tmp_path)
    torch.testing.assert_close(logits(again, values), wanted, rtol=1e-4, atol=2e-5)
    assert torch.equal(logits(tuned.model, values), wanted)  # the tuned model is left as it was


def test_repr_is_a_line() -> None:
    tuned = petbench.attach(own("tiny_bert"), adapter="krona", train_norms=True)
    assert repr(tuned) == (
        "<Tuned: krona on bert at 4 sites; trained: 256 adapter, 256 norm, 66 head parameters of 67,746>"
    )
    tuned.merge()
    assert repr(tuned).endswith("; merged>")
    assert repr(petbench.attach(own("tiny_bert"), adapter="bitfit")).startswith(
        "<Tuned: bitfit on bert; trained: "
    )


def test_a_saved_folder_names_no_place_and_knows_its_model(tmp_path: Path) -> None:
    own("tiny_bert").save_pretrained(tmp_path / "here")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "here")
    tuned = petbench.attach(model, adapter="lora")
    tuned.save(tmp_path / "lora")
    text = (tmp_path / "lora/adapter_config.json").read_text()
    assert json.loads(text)["config"]["model"]["name"] == "here" and str(tmp_path) not in text
    other = own("tiny_bert")
    with torch.no_grad():
        other.base_model.embeddings.word_embeddings.weight[3, 3] += 1e-6
    before = picture(other)
    with pytest.raises(UserError, match=r"trained on another model \('here'"):
        petbench.load(tmp_path / "lora", model=other)
    assert vars(other).keys() == before["attributes"] and not hasattr(other, "petbench")
    with pytest.raises(UserError, match=r"tuned\.save\(\).*load\(FOLDER, model=MODEL\)"):
        petbench.load(tmp_path / "lora")


def test_a_config_that_describes_more_than_is_saved_allocates_nothing(tmp_path: Path) -> None:
    trained(own("tiny_bert"), "prompt_tuning").save(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["config"]["adapter"]["prompt_length"] = 50
    del config["own_sha256"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"describes 1,\d+ trained values, but \d+ are saved"):
        petbench.load(tmp_path, model=own("tiny_bert"))


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    tuned = trained(own("tiny_bert"), "krona")
    with pytest.raises(UserError, match="a method is on this model already"):
        petbench.attach(tuned.model, adapter="lora")
    tuned.merge()
    for call in (lambda: tuned.save(tmp_path), tuned.merged):
        with pytest.raises(UserError, match=r"merged into the backbone\. Call tuned\.unmerge"):
            call()
    made = backbone("tiny_bert")
    spec = method_named("lora").Spec(method="lora")
    from petbench.tuned.attach import attach

    with pytest.raises(UserError, match="no model of yours to go back to"):
        attach(made.model, method_named("lora"), spec, made.layout).remove()
