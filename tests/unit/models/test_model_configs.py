"""conf/model: every YAML plans without network, and the real sizes are the published ones."""

from pathlib import Path

import pytest

from petbench.compose.expand import choice
from petbench.config.sections import ModelSpec
from petbench.models.load import resolve_form, skeleton

CONF = Path(__file__).parents[3] / "conf" / "model"
FILES = sorted(path.stem for path in CONF.glob("*.yaml"))

# Parameters without the task head, as counted on the published checkpoints. RoBERTa and MPNet without the
# pooler, which their classifiers do not use.
BODIES = {
    "albert_base": 11_683_584,
    "bart_base": 139_420_416,
    "bert_base": 109_482_240,
    "bert_large": 335_141_888,
    "deberta_v3_base": 183_831_552,
    "distilbert_base": 66_362_880,
    "electra_base": 108_891_648,
    "flan_t5_base": 247_577_856,
    "gpt2": 124_439_808,
    "minilm": 22_713_216,
    "modernbert_base": 149_014_272,
    "mpnet_base": 108_895_872,
    "qwen3_0_6b": 596_049_920,
    "roberta_base": 124_055_040,
    "roberta_large": 354_310_144,
    "smollm2_135m": 134_515_008,
    "t5_base": 222_903_552,
    "t5_large": 737_668_096,
    "t5_small": 60_506_624,
    "t5_v1_1_base": 247_577_856,
    "xlm_roberta_base": 277_453_056,
}


def read(name: str) -> ModelSpec:
    return ModelSpec.model_validate(choice("model", name))


def test_every_real_model_has_a_count() -> None:
    assert {name for name in FILES if not name.startswith("tiny_")} == set(BODIES)


@pytest.mark.parametrize("name", FILES)
def test_yaml(name: str) -> None:
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ") and lines[0].endswith(".")
    assert lines[1].startswith("# petbench ") and f"model={name}" in lines[1]
    values = choice("model", name)
    assert set(values) == set(ModelSpec.model_fields)  # so that each can be overridden by name
    spec = read(name)
    assert spec.known is not None  # so it plans without network
    assert spec.known.name == spec.name
    assert spec.known.label == spec.label == name
    assert ModelSpec.model_validate(values | {"name": "else/where"}).label == "where"


@pytest.mark.parametrize("name", sorted(BODIES))
def test_parameters(name: str) -> None:
    spec = read(name)
    model, layout = skeleton(spec, resolve_form(spec, "auto"), 2, False)
    body = [p.numel() for n, p in model.named_parameters() if n.partition(".")[0] not in layout.head_modules]
    assert sum(body) == BODIES[name]


def test_parts_that_papers_print() -> None:
    t5, layout = skeleton(read("t5_base"), "text", 2, False)
    norms = [site for role in ("attention_norm", "ffn_norm", "final_norm") for site in layout.sites(role)]
    assert len(norms) == 62
    assert sum(p.numel() for site in norms for p in t5.get_submodule(site.module).parameters()) == 47_616
    assert len(layout.sites("query")) == 36
    roberta, layout = skeleton(read("roberta_base"), "head", 2, False)
    assert layout.head_modules == ("classifier",)
    assert sum(p.numel() for p in roberta.classifier.parameters()) == 592_130
    bert, layout = skeleton(read("bert_base"), "head", 2, False)
    norms = layout.sites("attention_norm") + layout.sites("ffn_norm")
    assert sum(p.numel() for site in norms for p in bert.get_submodule(site.module).parameters()) == 36_864
