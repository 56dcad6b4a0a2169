"""The public doors: a light import, and a method on any model by its name."""

import subprocess
import sys

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import petbench
from petbench.errors import UserError
from petbench.tuned.attach import Tuned
from petbench.tuned.load import adapter_spec


def bert() -> BertForSequenceClassification:
    """A wide, flat BERT."""
    torch.manual_seed(0)
    config = BertConfig(hidden_size=768, num_hidden_layers=2, vocab_size=100, intermediate_size=64)
    return BertForSequenceClassification(config).eval()


def test_importing_petbench_imports_nothing_heavy() -> None:
    code = "import sys, petbench; print([m for m in ('torch', 'transformers', 'hydra') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import petbench; print(petbench.attach.__name__, petbench.load.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "attach load"


def test_attach_puts_a_method_on_a_model_in_one_line() -> None:
    model, ids = bert(), torch.arange(12).view(2, 6)
    before = model(input_ids=ids).logits
    tuned = petbench.attach(model, adapter="krona", factor_shape=(32, 24))
    assert isinstance(tuned, Tuned)
    # A (32, 24), B (24, 32): 1,536 in each of query and value, two layers.
    assert sum(p.numel() for n, p in model.named_parameters() if n in tuned.adapter_names) == 4 * 1536
    assert tuned.head_names == {"classifier.weight", "classifier.bias"}
    assert torch.equal(tuned(input_ids=ids).logits, before)  # KronA starts as the backbone
    assert {n for n, p in model.named_parameters() if p.requires_grad} == tuned.trained_names


def test_the_seed_decides_the_initial_values() -> None:
    def first(seed: int) -> torch.Tensor:
        tuned = petbench.attach(bert(), adapter="lora", seed=seed)
        return torch.cat([tuned.state()[name].flatten() for name in sorted(tuned.adapter_names)])

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


@pytest.mark.parametrize(
    ("adapter", "fields", "message"),
    [
        ("kronaa", {}, "'kronaa' is unknown. Did you mean 'krona'"),
        ("krona", {"factor_shap": (3, 4)}, r"adapter\.factor_shap: unknown key. Did you mean 'factor_shape'"),
        (
            "krona",
            {"factor_shape": (32, 25)},
            r"factor_shape \[32, 25\] does not fit .*25 does not divide 768",
        ),
        ("lora", {"rank": 0}, r"adapter\.rank: got 0"),
    ],
)
def test_mistakes_are_said(adapter: str, fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        petbench.attach(bert(), adapter=adapter, **fields)


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'tune'"):
        petbench.tune  # noqa: B018


def test_names_and_presets_come_from_the_yaml() -> None:
    spec = adapter_spec("peft/lora", {"arguments": {"r": 2}})
    assert (spec.label, spec.method) == ("peft/lora", "peft")
    assert adapter_spec("krona", {}).label == "krona"
