"""Checks of what a model cannot take: too long rows, another model's tokenizer, code and pickles from files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petbench.config.sections import ModelSpec
from petbench.errors import UserError
from petbench.tasks.splits import Split

if TYPE_CHECKING:  # transformers takes seconds, and no mistake should wait for it
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

SMALLEST_SHARE = 0.25  # of the embedding's rows that a model's tokenizer must have tokens for
UNKNOWN_SHARE = 0.2  # of the tokens of the first rows that may be unknown
FIRST_ROWS = 100
POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")


@dataclass(frozen=True)
class Positions:
    """How a model encodes the positions of tokens.

    limit: the most tokens that its table of position embeddings has room for; None: it has no table.
    trained: tokens that a model without a table was made for, such as one with rotary positions; None: any.
    counted_from: the padding id after which the table counts (as in RoBERTa); None: it counts from 0.
    """

    limit: int | None
    trained: int | None
    counted_from: int | None


def positions_of(model: "PreTrainedModel") -> Positions:
    """The positions of a model, read off its modules; on the meta device too."""
    from torch import nn  # torch takes seconds, and a search for a folder needs none

    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITION_TABLES:
            # RoBERTa and MPNet count from the padding id on, BART from a fixed offset.
            first = (
                int(getattr(module, "offset", 0)) if module.padding_idx is None else module.padding_idx + 1
            )
            return Positions(module.num_embeddings - first, None, module.padding_idx)
    return Positions(None, getattr(model.config, "max_position_embeddings", None), None)


def check_length(name: str, max_length: int, extra: int, positions: Positions) -> tuple[str, ...]:
    """Notes on rows of `max_length` tokens behind `extra` learned ones. Raises UserError when the model's table
    of positions has no room for them."""
    learned = f" and {extra} learned vectors before them" if extra else ""
    if positions.limit is not None and max_length + extra > positions.limit:
        raise UserError(
            f"task.max_length: got {max_length}{learned}, but '{name}' has {positions.limit} positions. "
            f"Legal here: at most {positions.limit - extra}."
        )
    if positions.trained is not None and max_length + extra > positions.trained:
        return (
            f"task.max_length={max_length}{learned}: '{name}' was made for {positions.trained} tokens; longer "
            "rows are answered, but it was not trained on such positions.",
        )
    return ()


def check_config(name: str, config: "PreTrainedConfig") -> None:
    """Raise UserError for a config that asks for code of its own, or whose decoder starts outside the vocabulary."""
    if getattr(config, "auto_map", None):
        raise runs_code(f"model.name: the config of '{name}'")
    start = getattr(config, "decoder_start_token_id", None)
    if config.is_encoder_decoder and start is not None and not 0 <= start < config.vocab_size:
        raise UserError(
            f"model.name: decoder_start_token_id of '{name}' is {start}. Legal: 0 to {config.vocab_size - 1}. "
            "Correct its config.json."
        )


def runs_code(what: str) -> UserError:
    """The message for a file that names Python code to be run."""
    return UserError(
        f"{what} asks for Python code from its folder (auto_map). petbench runs no code that comes with a model.\n"
        "Give a stock transformers model of the family; if the code is not needed, remove auto_map from the file."
    )


def refuse_pickles(name: str, folder: Path | None) -> None:
    """Raise UserError for a folder whose weights are there as pickles only: reading one may run code."""
    if folder is None or any(folder.glob("*.safetensors")):
        return
    pickled = sorted(
        file.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl") for file in folder.glob(kind)
    )
    if pickled:
        raise UserError(
            f"model.name: the weights of '{name}' are pickled ({pickled[0]}), and reading a pickle may run code. "
            "Legal: safetensors.\nWhere you trust the file, load it in transformers and save it again "
            "(save_pretrained writes safetensors)."
        )


def check_tokenizer(
    spec: ModelSpec, tokenizer: "PreTrainedTokenizerBase", config: "PreTrainedConfig", form: str
) -> None:
    """Raise UserError when a tokenizer's tokens, padding or end do not fit the model."""
    whose = "its own tokenizer" if spec.tokenizer == "same" else f"the tokenizer '{spec.tokenizer}'"
    head = f"model.tokenizer: '{spec.name}' with {whose}"
    vocabulary, rows = tokenizer.get_vocab(), int(config.vocab_size)
    tokens = 1 + max(vocabulary.values(), default=-1)  # ids may have gaps
    if tokens > rows:
        raise _more_tokens(spec, tokens, rows)
    if spec.tokenizer != "built" and len(vocabulary) < SMALLEST_SHARE * rows:
        raise UserError(
            f"{head}: it has {len(vocabulary)} tokens, the embedding {rows} rows: files of the tokenizer are "
            "missing or belong to another model. Give the model's own (model.tokenizer=FOLDER or a hub id)."
        )
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"{head}: it has neither a padding nor an end token. Set pad_token in its tokenizer_config.json."
        )
    if not config.is_encoder_decoder:
        return
    end = tokenizer.eos_token_id
    if end is None or end not in tokenizer("a")["input_ids"]:
        raise UserError(
            f"{head}: it adds no end token to a text, and an encoder-decoder's answers end with one. "
            "Give the model's own tokenizer."
        )
    if form == "head" and end == tokenizer.pad_token_id:
        raise UserError(
            f"{head}: padding and end are one token ({end}), and this model's head reads the row's end token. "
            "Set another pad_token in its tokenizer_config.json, or task.form=text."
        )


def _more_tokens(spec: ModelSpec, tokens: int, rows: int) -> UserError:
    if spec.tokenizer != "same":
        return UserError(
            f"model.tokenizer: '{spec.tokenizer}' has {tokens} tokens, the model's embedding only {rows}. "
            "Choose the tokenizer that belongs to the model (model.tokenizer=same)."
        )
    return UserError(
        f"model.tokenizer: the tokenizer of '{spec.name}' itself has {tokens} tokens, the model's embedding only "
        f"{rows} rows: tokens were added and the embedding was not made longer.\nIn transformers: "
        f"model.resize_token_embeddings({tokens}), then save it; or give a tokenizer without them "
        "(model.tokenizer=FOLDER)."
    )


def check_padding(
    spec: ModelSpec, positions: Positions, before: int | None, tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Raise UserError when a model counts positions from its padding id and its tokenizer pads with another id.

    before: the config's own padding id.
    """
    start, pad = positions.counted_from, tokenizer.pad_token_id
    if spec.tokenizer == "built" or start is None or (start == pad and before in (None, pad)):
        return
    told = start if before is None or before == pad else before
    raise UserError(
        f"model.tokenizer: '{spec.name}' counts its positions from the padding id, which is {told} in the model "
        f"and {pad} in the tokenizer. Correct pad_token_id in config.json, or pad_token in tokenizer_config.json."
    )


def check_first_rows(spec: ModelSpec, rows: Split, tokenizer: Any) -> None:
    """Raise UserError when more than a fifth of the first rows' tokens, or texts, are unknown to the tokenizer."""
    first = rows.take(range(min(FIRST_ROWS, len(rows))))
    texts = [text for row in first.rows() for text in row if text.strip()]
    if not texts:
        return
    ids = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    head = f"model.tokenizer: '{spec.tokenizer if spec.tokenizer != 'same' else spec.name}'"
    ways = "Give a tokenizer of the rows' language and script (model.tokenizer, or another model)."
    total = sum(map(len, ids))
    unknown = sum(row.count(tokenizer.unk_token_id) for row in ids)
    if total and unknown > UNKNOWN_SHARE * total:
        raise UserError(
            f"{head} knows too little of these rows: {unknown} of the {total} tokens of the first {len(first)} rows "
            f"are unknown ({tokenizer.unk_token}); at most {UNKNOWN_SHARE:.0%} may be. {ways}"
        )
    empty = sum(not row for row in ids)
    if empty > UNKNOWN_SHARE * len(texts):
        raise UserError(
            f"{head} makes nothing of these rows: {empty} of the {len(texts)} texts of the first {len(first)} rows "
            f"become empty; at most {UNKNOWN_SHARE:.0%} may. {ways}"
        )
