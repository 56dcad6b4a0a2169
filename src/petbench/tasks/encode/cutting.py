"""Rows that are too long are cut, the longer text first; rows without any token are refused with their number."""

from collections.abc import Sequence
from typing import Any

from petbench.errors import UserError
from petbench.tasks.splits import Split


def longest_first(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens each of one or two texts keeps, as in GLUE's own code: the longer one loses token by token (the
    second when both are equally long) until both fit into `room` tokens."""
    if len(lengths) == 1:
        return [min(lengths[0], room)]
    first, second = lengths
    kept = min(second, max(room // 2, room - first))
    return [min(first, room - kept), kept]


def check_room(tokenizer: Any, texts: int, max_length: int) -> None:
    """Raise UserError when the special tokens leave no token for every text."""
    least = texts + tokenizer.num_special_tokens_to_add(pair=texts == 2)
    if max_length < least:
        raise UserError(
            f"task.max_length: got {max_length}, which leaves no room for the text beside the special tokens. "
            f"Legal here: {least} or more."
        )


def within(
    max_length: int, pieces: Sequence[str], count: int, whole: Sequence[int], tokenizer: Any
) -> list[int]:
    """The token ids of one row in text form, cut to `max_length`: fixed words and special tokens stay, and the longer
    text is cut first.

    pieces: see `Wording.pieces`; count: how many of them are texts. whole: the row's ids before cutting.
    Raises UserError when the fixed words leave no room for the texts.
    """

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, return_attention_mask=False)["input_ids"])

    plain = ids(" ".join(pieces))
    start = next(at for at in range(len(whole)) if list(whole[at : at + len(plain)]) == plain)
    before, after = list(whole[:start]), list(whole[start + len(plain) :])
    # Tokenizers take the blank before a word as a part of the word.
    parts = [ids(piece if at == 0 else f" {piece}") for at, piece in enumerate(pieces)]
    texts = list(range(len(pieces) - 1, -1, -2))[:count][::-1]
    fixed = len(before) + len(after) + sum(len(part) for at, part in enumerate(parts) if at not in texts)
    if max_length - fixed < len(texts):
        raise UserError(
            f"task.max_length: got {max_length}, but the wording and special tokens take {fixed} tokens of a row. "
            f"Legal here: {fixed + len(texts)} or more."
        )
    for at, kept in zip(
        texts, longest_first([len(parts[at]) for at in texts], max_length - fixed), strict=True
    ):
        from_left = tokenizer.truncation_side == "left"
        parts[at] = parts[at][len(parts[at]) - kept :] if from_left else parts[at][:kept]
    return [*before, *(token for part in parts for token in part), *after]


def refuse_empty(split: Split, rows: Sequence[Sequence[int]], texts: int, tokenizer: Any) -> None:
    """Raise UserError, with the row's number, for a row that has text but no token other than special tokens."""
    specials = tokenizer.num_special_tokens_to_add(pair=texts == 2)
    columns = list(split.texts.values())
    empty = [
        place
        for place, row in enumerate(rows)
        if len(row) <= specials and any(column[place].strip() for column in columns)
    ]
    if empty:
        text = next(column[empty[0]] for column in columns if column[empty[0]].strip())
        raise UserError(
            f"{split.name}: the tokenizer makes no tokens of {len(empty)} of {len(rows)} rows; the first is row "
            f"{split.idx[empty[0]]} (counted from 0): {text[:40]!r}. Remove such rows, or choose another tokenizer."
        )
