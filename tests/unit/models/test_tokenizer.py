"""The small tokenizer: exact round trips, special tokens by style, a digest that use does not change."""

import string

import pytest

from petbench.errors import UserError
from petbench.models.tokenizer import build_tokenizer
from petbench.tasks.encode.token_cache import tokenizer_digest
from petbench.tasks.toy import LEXICON

STYLES = ["bert", "roberta", "t5", "gpt2", "llama", "distilbert"]  # one family of each style, and two


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "answer",
    ["0", "1", "2", "3.8", "0.0", "5.0", "not_entailment", "not_duplicate", "acceptable", "a b.c !?"],
)
def test_answers_come_back_exactly(style: str, answer: str) -> None:
    tokenizer = build_tokenizer(style)
    assert tokenizer.decode(tokenizer(answer).input_ids, skip_special_tokens=True) == answer


@pytest.mark.parametrize("style", STYLES)
def test_printable_text_has_no_unknown_token(style: str) -> None:
    tokenizer = build_tokenizer(style)
    text = " ".join([string.ascii_letters, string.digits, string.punctuation, *LEXICON])
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text.lower()
    assert tokenizer.unk_token_id in tokenizer("漢").input_ids


def test_lexicon_words_are_one_token_each() -> None:
    tokenizer = build_tokenizer("bert")
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in LEXICON)


@pytest.mark.parametrize(
    ("style", "single", "pair"),
    [
        ("bert", "[CLS] yes [SEP]", "[CLS] yes [SEP] no [SEP]"),
        ("roberta", "<s> yes </s>", "<s> yes </s> </s> no </s>"),
        ("t5", "yes </s>", "yes </s> no </s>"),
        ("gpt2", "yes", "yes no"),
    ],
)
def test_special_tokens(style: str, single: str, pair: str) -> None:
    tokenizer = build_tokenizer(style)
    assert tokenizer.convert_ids_to_tokens(tokenizer("yes").input_ids) == single.split()
    assert tokenizer.convert_ids_to_tokens(tokenizer("yes", "no").input_ids) == pair.split()
    assert tokenizer.pad_token_id == {"roberta": 1}.get(style, 0)


def test_segments_only_where_the_architecture_has_them() -> None:
    assert build_tokenizer("bert")("yes", "no").token_type_ids == [0, 0, 0, 1, 1]
    for style in ("distilbert", "modernbert", "roberta", "t5", "gpt2"):
        assert "token_type_ids" not in build_tokenizer(style)("yes", "no")


def test_an_unknown_architecture_has_no_tokenizer() -> None:
    with pytest.raises(UserError, match="'pegasus' is unknown"):
        build_tokenizer("pegasus")


def test_t5_ids_are_those_of_t5() -> None:
    tokenizer = build_tokenizer("t5")
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer.model_max_length == 512


def test_digest_says_what_it_is_and_not_what_it_did() -> None:
    tokenizer = build_tokenizer("bert")
    before = tokenizer_digest(tokenizer)
    tokenizer(["yes", "no no"], padding=True, truncation=True, max_length=4)
    assert tokenizer_digest(tokenizer) == before == tokenizer_digest(build_tokenizer("bert"))
    assert len(before) == 64
    assert len({tokenizer_digest(build_tokenizer(style)) for style in STYLES}) == len(STYLES) - 1
    tokenizer.add_tokens(["another"])
    assert tokenizer_digest(tokenizer) != before
