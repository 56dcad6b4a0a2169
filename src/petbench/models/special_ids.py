"""Special ids: padding, start and end as a model's config and its tokenizer name them, and which of the two is used."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # transformers takes seconds, and no mistake should wait for it
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def adopt(config: "PreTrainedConfig", tokenizer: "PreTrainedTokenizerBase", replace: bool) -> None:
    """Give the config the tokenizer's special ids where its own are not in the vocabulary; replace: all of them.

    An encoder-decoder always gets the tokenizer's end token, since rows and answers contain that one.
    """
    for name in ("pad", "bos", "eos", "cls", "sep"):
        number = getattr(tokenizer, f"{name}_token_id", None)
        current = getattr(config, f"{name}_token_id", None)
        known = isinstance(current, list) or _in_vocabulary(config, current)
        if number is not None and (replace or not known or (name == "eos" and config.is_encoder_decoder)):
            setattr(config, f"{name}_token_id", number)


def complete(config: "PreTrainedConfig") -> None:
    """Fill in the ids without which a model cannot be built: padding (the end, else 0), and a decoder's start."""
    if not _in_vocabulary(config, getattr(config, "pad_token_id", None)):
        end = getattr(config, "eos_token_id", None)
        end = end[0] if isinstance(end, list) else end
        config.pad_token_id = end if _in_vocabulary(config, end) else 0
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = config.pad_token_id


def settle(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", before: int | None
) -> tuple[str, ...]:
    """Give the model the tokenizer's padding and end ids; a note where its config had another padding id (before).

    Rows are padded by the tokenizer, and a head that reads the last token finds it by the config's padding id:
    with another one a row's answer would depend on the rows beside it.
    """
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    model.config.pad_token_id = pad
    writing = getattr(model, "generation_config", None)
    if writing is not None and model.config.is_encoder_decoder:
        writing.pad_token_id, writing.eos_token_id = pad, end
    if before is None or before == pad:
        return ()
    return (
        f"Padding is the tokenizer's token {pad} ({tokenizer.pad_token}); the model's config says {before}.",
    )


def _in_vocabulary(config: "PreTrainedConfig", token: int | None) -> bool:
    return token is not None and 0 <= token < config.vocab_size
