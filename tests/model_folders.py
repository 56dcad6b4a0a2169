"""Model folders as a user has them: a tiny model's weights, config and tokenizer, each changed as a test asks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from petbench.models.source import config_of
from petbench.models.tokenizer import build_tokenizer
from tiny_models import CONF, _spec

FAMILIES = sorted(path.stem for path in CONF.glob("model/tiny_*.yaml"))
Tensors = dict[str, Tensor]


def model_folder(
    path: Path,
    name: str,
    model_class: Any = AutoModel,
    tokenizer: PreTrainedTokenizerFast | None = None,
    change: Callable[[Tensors], Tensors] | None = None,
    made: dict[str, Any] | None = None,
    **written: Any,
) -> Path:
    """A folder of the tiny model `name`, its weights livened up so that it depends on its input.

    made: config values that the weights are made with. change: what becomes of the tensors. written: values of
    config.json, whatever the weights are.
    """
    torch.manual_seed(7)
    config = config_of(_spec(name))
    for key, value in (made or {}).items():
        setattr(config, key, value)
    model = model_class.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    model.save_pretrained(path)
    (tokenizer or build_tokenizer(config.model_type)).save_pretrained(path)
    if change is not None:
        weights = path / "model.safetensors"
        kept = {key: tensor.contiguous() for key, tensor in change(load_file(weights)).items()}
        save_file(kept, weights, metadata={"format": "pt"})
    edit(path / "config.json", **written)
    return path


def edit(path: Path, **values: Any) -> None:
    """Set values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def head_folder(path: Path, name: str, labels: tuple[str, ...], **more: Any) -> Path:
    """A folder with a trained head whose outputs have these labels."""
    names = dict(enumerate(labels))
    numbers = {label: number for number, label in names.items()}
    made = {"id2label": names, "label2id": numbers}
    return model_folder(path, name, AutoModelForSequenceClassification, made=made, **more)


def plain_class(name: str) -> Any:
    """The class of a family's usual checkpoint: T5 writes, the others are a body."""
    return AutoModelForSeq2SeqLM if "t5" in name else AutoModel


def write_model(folder: Path, name: str = "tiny_bert", seed: int = 7) -> Path:
    """A folder of a tiny model's family with weights of its own, as `save_pretrained` leaves it."""
    torch.manual_seed(seed)
    config = config_of(_spec(name))
    made: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModel
    made.from_config(config).save_pretrained(folder)
    build_tokenizer(config.model_type).save_pretrained(folder)
    return folder


def other_weights(folder: Path) -> None:
    """Replace the weights in place by others of the same size, as a second download or training does."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    changed = {name: (t * 1.5 if t.is_floating_point() else t).contiguous() for name, t in tensors.items()}
    save_file(changed, path, metadata={"format": "pt"})


def edit_json(path: Path, **values: Any) -> None:
    """Change values of a JSON file; it is made where there is none."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(old | values), encoding="utf-8")


def other_tokenizer(folder: Path) -> None:
    """Give two words of the vocabulary each other's numbers: the same size, other ids."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    words = content["model"]["vocab"]
    first, second = sorted(word for word in words if word.isalpha() and len(word) > 3)[:2]
    words[first], words[second] = words[second], words[first]
    path.write_text(json.dumps(content), encoding="utf-8")
