"""A model folder whose config.json is wrong: a mistake with the reason, before anything is built for long."""

import json
from pathlib import Path
from typing import Any

import pytest

from petbench.config.sections import ModelSpec
from petbench.errors import UserError
from petbench.models.load import load, skeleton
from tiny_models import backbone

LEGAL = r"config\.json of \S+: {} is {}\. Legal: 1 to"
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "text for a number": ({"hidden_size": "a"}, "hidden_size.*expected int, got str"),
    "digits as text": ({"vocab_size": "1024"}, "vocab_size.*expected int"),
    "null": ({"hidden_size": None}, "hidden_size.*expected int, got NoneType"),
    "list": ({"hidden_size": [32]}, "hidden_size.*expected int, got list"),
    "fraction": ({"max_position_embeddings": 1.5}, "max_position_embeddings.*expected int"),
    "truth value": ({"num_attention_heads": True}, "num_attention_heads.*expected int, got bool"),
    "heads that do not divide": (
        {"num_attention_heads": 7},
        r"hidden size \(32\) is not a multiple.*heads \(7\)",
    ),
    "no heads": ({"num_attention_heads": 0}, LEGAL.format("num_attention_heads", 0)),
    "no layers": ({"num_hidden_layers": 0}, LEGAL.format("num_hidden_layers", 0)),
    "negative layers": ({"num_hidden_layers": -1}, LEGAL.format("num_hidden_layers", -1)),
    "a million layers": ({"num_hidden_layers": 10**6}, r"Legal: 1 to 1000\."),
    "no words": ({"vocab_size": 0}, LEGAL.format("vocab_size", 0)),
    "negative words": ({"vocab_size": -5}, LEGAL.format("vocab_size", -5)),
    "too many words": ({"vocab_size": 10**15}, LEGAL.format("vocab_size", 10**15)),
    "no positions": ({"max_position_embeddings": 0}, LEGAL.format("max_position_embeddings", 0)),
    "no segments": ({"type_vocab_size": 0}, "gives bert.embeddings.token_type_embeddings no rows"),
    "negative width": ({"intermediate_size": -3}, "intermediate_size|negative dimension -3"),
    "activation": ({"hidden_act": "nosuch"}, "'nosuch' is unknown"),
    "activation as number": ({"hidden_act": 3}, "hidden_act.*expected str"),
    "dropout above 1": ({"hidden_dropout_prob": 2}, "between 0 and 1, but got 2"),
    "dropout as text": ({"hidden_dropout_prob": "a"}, "hidden_dropout_prob"),
    "dropout NaN": (
        {"hidden_dropout_prob": float("nan")},
        "hidden_dropout_prob is nan. Legal: a finite number",
    ),
    "epsilon infinite": ({"layer_norm_eps": float("inf")}, "layer_norm_eps is inf. Legal: a finite number"),
    "epsilon as text": ({"layer_norm_eps": "x"}, "layer_norm_eps.*expected float, got str"),
    "pad id as text": ({"pad_token_id": "x"}, "pad_token_id"),
    "labels as list": ({"id2label": [1, 2]}, "cannot load"),
    "labels without numbers": ({"id2label": {"x": "y"}}, "invalid literal"),
    "number of labels": ({"num_labels": "a"}, "cannot load"),
    "dtype": ({"dtype": "nosuch"}, "nosuch"),
    "architecture": ({"model_type": "nosuch"}, "nosuch"),
    "architecture as number": ({"model_type": 3}, "cannot load"),
}
FILES = {
    "empty": b"",
    "list": b"[1]",
    "text": b"hello",
    "UTF-16": "{}".encode("utf-16"),
    "number": b"3",
    "null": b"null",
    "too deep": b"[" * 100_000,
    "half": b'{"model_type": "bert"',
    "no type": b'{"hidden_size": 32}',
    "Latin-1": b'{"a": "\xfc"}',
}


def folder(tmp_path: Path, content: bytes) -> ModelSpec:
    (tmp_path / "config.json").write_bytes(content)
    return ModelSpec(name=str(tmp_path))


def changed(tmp_path: Path, change: dict[str, Any]) -> ModelSpec:
    whole = backbone("tiny_bert").model.config.to_dict() | change
    return folder(tmp_path, json.dumps(whole).encode())


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_value_is_said(name: str, tmp_path: Path) -> None:
    change, said = CHANGES[name]
    spec = changed(tmp_path, change)
    with pytest.raises(UserError, match=f"(?s)^model.name: .*{said}"):
        skeleton(spec, "head", 2, False)


@pytest.mark.parametrize(
    "name", ["text for a number", "heads that do not divide", "activation", "dtype", "no words"]
)
def test_a_wrong_value_is_said_at_loading_too(name: str, tmp_path: Path) -> None:
    made = backbone("tiny_bert")
    made.model.save_pretrained(tmp_path)
    made.tokenizer.save_pretrained(tmp_path)
    change, said = CHANGES[name]
    spec = changed(tmp_path, change)
    with pytest.raises(UserError, match=f"(?s)^model.name: .*{said}"):
        load(spec, "head", 2, False, seed=0)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_config_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.name: cannot load"):
        skeleton(folder(tmp_path, FILES[name]), "head", 2, False)


def test_the_config_as_it_was_is_taken(tmp_path: Path) -> None:
    """The tests above would pass if nothing could be read."""
    model, layout = skeleton(changed(tmp_path, {}), "head", 2, False)
    assert layout.hidden == 32 and model.num_parameters() > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": "a"}, "hidden_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"nosuch_type": 1}, ""),
    ],
)
def test_what_is_known_by_heart_is_checked_too(change: dict[str, Any], said: str) -> None:
    known = {
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    } | change
    if "nosuch_type" in change:
        known["model_type"] = "nosuch"
    spec = ModelSpec(name="m", weights="random", known={"name": "m", "label": "m", "config": known})
    with pytest.raises(UserError, match=f"^model.known.config: .*{said}"):
        skeleton(spec, "head", 2, False)
