"""A checkpoint and its config: missing, mismatched and unread tensors, and what becomes of its head."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from model_folders import FAMILIES, Tensors, edit, head_folder, model_folder, plain_class
from petbench.config.sections import ModelSpec
from petbench.errors import UserError
from petbench.models.load import Backbone, load, resolve_form
from petbench.tasks.glue import TASKS

HEADS = [name for name in FAMILIES if "t5" not in name]


def loaded(folder: Path, task: str = "sst2", form: Any = "auto", seed: int = 0) -> Backbone:
    spec, glue = ModelSpec(name=str(folder)), TASKS[task]
    return load(spec, resolve_form(spec, form), glue.num_labels, glue.regression, seed, glue)


def layers(tensors: Tensors) -> list[str]:
    """Numbers of layers that stand in tensor names."""
    return sorted({part for key in tensors for part in re.findall(r"\.(\d+)\.", f".{key}")})


def without(pattern: str) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        kept = {key: value for key, value in tensors.items() if not re.search(pattern, key)}
        assert len(kept) < len(tensors)
        return kept

    return change


def longer(pattern: str) -> Callable[[Tensors], Tensors]:
    """One row more in the first tensor of that name."""

    def change(tensors: Tensors) -> Tensors:
        key = next(key for key in sorted(tensors) if re.search(pattern, key))
        return tensors | {key: torch.cat([tensors[key], tensors[key][:1]])}

    return change


def another_layer(tensors: Tensors) -> Tensors:
    """The first layer once more, as the eighth."""
    more = {re.sub(r"(^|\.)0\.", r"\g<1>7.", key, count=1): value.clone() for key, value in tensors.items()}
    assert more.keys() - tensors.keys()
    return tensors | more


@pytest.mark.parametrize("name", FAMILIES)
def test_a_whole_checkpoint_is_taken_as_it_is(name: str, tmp_path: Path) -> None:
    backbone = loaded(model_folder(tmp_path, name, plain_class(name)))
    in_head = {
        key
        for key, _ in backbone.model.named_parameters()
        if key.startswith(tuple(f"{module}." for module in backbone.layout.head_modules))
    }
    assert set(backbone.fresh) == in_head
    assert backbone.new_modules == ()
    assert backbone.head == (None if "t5" in name else "new")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without(r"embed_tokens|word_embeddings|tok_embeddings|wte|shared"),
            r"\d tensors? .* missing \(",
        ),
        (
            longer(r"embed_tokens|word_embeddings|tok_embeddings|wte|shared"),
            r"of another size \(\S+: \(1025, \d+\) in the file, \(1024, ",
        ),
        (
            longer(r"orm.*weight|ln_1.weight"),
            r"of another size \(\S+: \((33|17),\) in the file, \((32|16),\) by the config",
        ),
        (another_layer, r"of the backbone left unread \(\S*\b7\."),
    ],
    ids=["embedding gone", "embedding longer", "norm longer", "a layer more"],
)
def test_a_body_that_does_not_fit_is_refused(
    name: str, change: Callable[[Tensors], Tensors], message: str, tmp_path: Path
) -> None:
    if name == "tiny_albert" and change is another_layer:
        return  # its one shared layer has no number of its own; a second group is refused by the layout
    folder = model_folder(tmp_path, name, plain_class(name), change=change)
    with pytest.raises(UserError, match=message) as caught:
        loaded(folder)
    assert str(caught.value).startswith(f"model.name: the weights of '{folder}' do not fit its config: ")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "tiny_albert"])
def test_a_layer_that_is_gone_is_refused(name: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, name, plain_class(name), change=without(r"(^|\.)1\.(?!1\.)"))
    with pytest.raises(UserError, match=r"\d+ tensors of the backbone missing \("):
        loaded(folder)


POSITIONS = [
    "tiny_bert",
    "tiny_roberta",
    "tiny_distilbert",
    "tiny_albert",
    "tiny_electra",
    "tiny_mpnet",
    "tiny_gpt2",
]


@pytest.mark.parametrize("name", POSITIONS)
def test_positions_that_are_gone_or_of_another_number_are_refused(name: str, tmp_path: Path) -> None:
    table = r"position_embeddings|wpe"
    gone = model_folder(tmp_path / "gone", name, change=without(table))
    with pytest.raises(UserError, match=rf"missing \(\S*({table}).weight \(\d+, \d+\)\)"):
        loaded(gone)
    more = model_folder(tmp_path / "more", name)
    key = "n_positions" if "gpt2" in name else "max_position_embeddings"
    edit(more / "config.json", **{key: 2000})
    with pytest.raises(UserError, match=rf"({table}).weight: \(\d+, \d+\) in the file, \(2000, \d+\) by"):
        loaded(more)


@pytest.mark.parametrize("name", ["tiny_bert", "tiny_albert"])
def test_a_pooler_may_be_missing_but_not_of_another_size(name: str, tmp_path: Path) -> None:
    backbone = loaded(model_folder(tmp_path / "a", name, AutoModelForMaskedLM))
    (pooler,) = backbone.new_modules
    assert "pooler" in pooler and f"so is {pooler}, which the checkpoint lacks" in backbone.notes[0]
    with pytest.raises(UserError, match=r"1 tensor of another size \(.*pooler"):
        loaded(model_folder(tmp_path / "b", name, change=longer(r"pooler.*weight")))


@pytest.mark.parametrize(
    ("name", "model_class", "unread"),
    [
        ("tiny_bert", AutoModelForMaskedLM, "cls"),
        ("tiny_roberta", AutoModelForMaskedLM, "lm_head"),
        ("tiny_roberta", AutoModel, "pooler"),
        ("tiny_mpnet", AutoModel, "pooler"),
        ("tiny_distilbert", AutoModelForMaskedLM, "vocab_layer_norm, vocab_projector, vocab_transform"),
        ("tiny_albert", AutoModelForMaskedLM, "predictions"),
        ("tiny_modernbert", AutoModelForMaskedLM, "decoder"),
    ],
)
def test_the_tensors_of_another_head_are_named_once(
    name: str, model_class: Any, unread: str, tmp_path: Path
) -> None:
    backbone = loaded(model_folder(tmp_path, name, model_class))
    said = [note for note in backbone.notes if "Not read" in note]
    assert said == [f"Not read from '{tmp_path}', parts of another head: {unread}."]


def test_constants_of_older_versions_are_no_weights(tmp_path: Path) -> None:
    def old(tensors: Tensors) -> Tensors:
        return tensors | {"h.0.attn.masked_bias": torch.tensor(-1e4), "h.0.attn.bias": torch.ones(1, 1, 8, 8)}

    backbone = loaded(model_folder(tmp_path, "tiny_gpt2", change=old))
    assert [note for note in backbone.notes if "Not read" in note] == []


def test_the_rest_of_a_pretrained_head_stays(tmp_path: Path) -> None:
    """ModernBERT's language-model head is the first part of its task head."""
    folder = model_folder(tmp_path, "tiny_modernbert", AutoModelForMaskedLM)
    backbone = loaded(folder)
    there = AutoModelForMaskedLM.from_pretrained(folder)
    assert torch.equal(backbone.model.head.dense.weight, there.head.dense.weight)
    assert (backbone.head, backbone.fresh) == ("new", ("classifier.weight", "classifier.bias"))


BATCH = {
    "input_ids": torch.tensor([[5, 9, 11, 30], [7, 8, 60, 61]]),
    "attention_mask": torch.ones(2, 4).long(),
}


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    rows = BATCH["input_ids"].clone()
    if model.config.is_encoder_decoder:
        rows[:, -1] = model.config.eos_token_id  # the head reads there
    result: torch.Tensor = model.eval()(**BATCH | {"input_ids": rows}).logits
    return result


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    ("task", "labels", "head", "order"),
    [
        ("sst2", ("negative", "positive"), "kept", [0, 1]),
        ("sst2", ("POSITIVE", "NEGATIVE"), "reordered", [1, 0]),
        ("rte", ("not entailment", "Entailment"), "reordered", [1, 0]),
        ("mnli", ("contradiction", "entailment", "neutral"), "reordered", [1, 2, 0]),
    ],
)
def test_a_heads_outputs_stand_in_the_tasks_order(
    name: str, task: str, labels: tuple[str, ...], head: str, order: list[int], tmp_path: Path
) -> None:
    folder = head_folder(tmp_path, name, labels)
    there = AutoModelForSequenceClassification.from_pretrained(folder)
    backbone = loaded(folder, task)
    for name in ("pad_token_id", "eos_token_id"):
        setattr(there.config, name, getattr(backbone.model.config, name))
    assert backbone.head == head and backbone.fresh == ()
    assert torch.allclose(logits(backbone.model), logits(there)[:, order], atol=1e-6)
    assert list(backbone.model.config.id2label.values()) == list(TASKS[task].labels)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    ("task", "labels", "written"),
    [
        ("rte", ("not_equivalent", "equivalent"), {}),  # another task's labels
        ("rte", ("entailment", "neutral", "contradiction"), {}),  # another number of them
        ("sst2", ("LABEL_0", "LABEL_1"), {}),  # no names
        ("sst2", ("0", "1"), {}),
        (
            "qnli",
            ("entailment", "not_entailment"),
            {"finetuning_task": "rte"},
        ),  # the same labels, another task
        ("stsb", ("LABEL_0",), {}),  # a number of which nobody knows what it means
    ],
)
def test_a_head_of_another_task_is_drawn_anew(
    name: str, task: str, labels: tuple[str, ...], written: dict[str, str], tmp_path: Path
) -> None:
    folder = head_folder(tmp_path, name, labels, **written)
    one, other = loaded(folder, task, seed=0), loaded(folder, task, seed=1)
    assert one.head == "new"
    assert all(key.startswith(one.layout.head_modules) for key in one.fresh) and one.fresh
    left, right = dict(one.model.named_parameters()), dict(other.model.named_parameters())
    drawn = [key for key in one.fresh if not torch.equal(left[key], right[key])]
    assert any("weight" in key for key in drawn)
    assert all(torch.equal(left[key], right[key]) for key in left.keys() - set(one.fresh))


@pytest.mark.parametrize(("task", "labels"), [("sst2", ("LABEL_0", "LABEL_1")), ("stsb", ("LABEL_0",))])
def test_a_head_without_names_is_kept_where_the_config_names_the_task(
    task: str, labels: tuple[str, ...], tmp_path: Path
) -> None:
    folder = head_folder(tmp_path, "tiny_roberta", labels, finetuning_task=task.upper())
    there = AutoModelForSequenceClassification.from_pretrained(folder)
    backbone = loaded(folder, task)
    assert (backbone.head, backbone.fresh) == ("kept", ())
    assert torch.allclose(logits(backbone.model), logits(there), atol=1e-6)
    # What petbench itself writes says whose head it is.
    backbone.model.save_pretrained(tmp_path / "again")
    backbone.tokenizer.save_pretrained(tmp_path / "again")
    assert loaded(tmp_path / "again", task).head == "kept"


@pytest.mark.parametrize("labels", [("negative", "pos"), ("positive", "positive"), ("LABEL_0", "positive")])
def test_a_head_with_some_of_the_tasks_labels_is_refused(labels: tuple[str, ...], tmp_path: Path) -> None:
    folder = head_folder(tmp_path, "tiny_bert", labels)
    with pytest.raises(
        UserError, match=r"task\.name=sst2 has negative, positive: its outputs cannot be put in"
    ):
        loaded(folder)


def test_a_head_in_pieces_is_drawn_anew_whole(tmp_path: Path) -> None:
    folder = head_folder(
        tmp_path, "tiny_roberta", ("negative", "positive"), change=without(r"classifier.dense")
    )
    backbone = loaded(folder)
    assert backbone.head == "new" and len(backbone.fresh) == 4
