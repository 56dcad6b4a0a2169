"""Made-up inputs: random tokens in the form that a model of any family takes, to measure it and to check it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from petbench.errors import UserError
from petbench.models.checks import positions_of

_SPECIAL = ("pad", "bos", "eos", "cls", "sep", "decoder_start")


def made_up(model: Any, lengths: Sequence[int], seed: int = 0) -> dict[str, Tensor]:
    """One row of tokens for every length, padded on the right to the longest, on the model's device.

    model: bare, with a method on it, or inside PEFT's wrapper; with a head, or an encoder-decoder that writes.
    input_ids, attention_mask: (rows, tokens). The tokens are drawn from `seed` and none is special, except that a
        row of an encoder-decoder ends in the end token, as its tokenizer's rows do: its head reads there.
    token_type_ids: (rows, tokens), where the model knows several segments: the second half is segment 1.
    labels: with a head (rows,), classes in turn or, for regression, float32; for a model that writes (rows, 2),
        a token and the end token, from which the model makes its decoder's inputs.
    Raises UserError when a row has more tokens than the model has positions.
    """
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = plain.config
    _check_positions(plain, max(lengths))
    real = torch.arange(max(lengths)) < torch.tensor(list(lengths))[:, None]
    generator = torch.Generator().manual_seed(seed)
    ordinary = _ordinary_tokens(config)
    drawn = torch.randint(len(ordinary), real.shape, generator=generator)
    ids = ordinary[drawn].masked_fill(~real, config.pad_token_id)
    rows, last = torch.arange(len(ids)), real.sum(1) - 1
    if config.is_encoder_decoder:
        ids[rows, last] = _first(config.eos_token_id)
    given = {"input_ids": ids, "attention_mask": real.long()}
    if getattr(config, "type_vocab_size", 0) > 1:
        second = torch.arange(real.shape[1]) > last[:, None] // 2
        given["token_type_ids"] = (second & real).long()
    if plain.get_output_embeddings() is not None:
        words = ordinary[torch.tensor([len(ordinary) // 3, len(ordinary) // 2])]
        ends = torch.full((len(ids),), _first(config.eos_token_id))
        given["labels"] = torch.stack([words[rows % 2], ends], dim=1)
    elif config.num_labels == 1:
        given["labels"] = (rows % 2).float()
    else:
        given["labels"] = rows % config.num_labels
    device = next(plain.parameters()).device
    return {name: tensor.to(device) for name, tensor in given.items()}


def _ordinary_tokens(config: Any) -> Tensor:
    """The ids of the vocabulary without the special ones that the config names."""
    ordinary = torch.ones(config.vocab_size, dtype=torch.bool)
    for name in _SPECIAL:
        number = getattr(config, f"{name}_token_id", None)
        for special in number if isinstance(number, list) else [number]:
            if special is not None and special < config.vocab_size:
                ordinary[special] = False
    return ordinary.nonzero().squeeze(1)


def _first(number: Any) -> int:
    """A token id; some configs give a list of end tokens."""
    return int(number[0] if isinstance(number, list) else number)


def _check_positions(model: Any, tokens: int) -> None:
    """Raise UserError where a table of positions ends before the last token."""
    room = positions_of(model).limit
    if room is not None and tokens > room:
        raise UserError(f"got a row of {tokens} tokens, but the model has {room} positions. Give fewer.")
