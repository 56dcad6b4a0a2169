"""Tiny model folders as a user has them on disk: weights, config and tokenizer of any family."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSeq2SeqLM

from petbench.models.source import config_of
from petbench.models.tokenizer import build_tokenizer
from tiny_models import _spec


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
