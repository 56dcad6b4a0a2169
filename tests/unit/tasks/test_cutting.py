"""Too long rows: both texts keep a part, the count of cut rows, and rows of which nothing is left."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from petbench.config.sections import TaskSpec
from petbench.errors import UserError
from petbench.models.tokenizer import build_tokenizer
from petbench.tasks.encode.cutting import longest_first
from petbench.tasks.encode.encode import Encoded, encode
from petbench.tasks.glue import TASKS
from petbench.tasks.splits import Split


def as_glue_cuts(first: int, second: int, room: int) -> list[int]:
    """GLUE's own loop (`_truncate_seq_pair`)."""
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return [first, second]


@given(st.integers(0, 60), st.integers(0, 60), st.integers(2, 80))
def test_longest_first_is_glues_loop(first: int, second: int, room: int) -> None:
    assert longest_first([first, second], room) == as_glue_cuts(first, second, room)
    assert longest_first([first], room) == [min(first, room)]


def split_of(task: str, rows: list[tuple[str, ...]]) -> Split:
    columns = dict(zip(TASKS[task].text_fields, map(list, zip(*rows, strict=True)), strict=True))
    return Split("train", list(range(len(rows))), columns, None)


def encoded(rows: Split, task: str, tokenizer: Any, length: int, form: Any = "text", **spec: Any) -> Encoded:
    chosen = TaskSpec(name=task, max_length=length, **spec)
    return encode(rows, TASKS[task], chosen, form, tokenizer, "cache")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


TOKENIZERS = {"words": build_tokenizer("t5"), "bytes": ByT5Tokenizer()}
PAIR_TASKS = [name for name, task in TASKS.items() if len(task.text_fields) == 2]


@pytest.mark.parametrize("wording", ["compacter", "t5", "words"])
@pytest.mark.parametrize("task", PAIR_TASKS)
@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize(
    "texts",
    [("y " * 100, "n " * 100), ("y " * 200, "no"), ("yes", "n " * 200), ("y " * 30, "n " * 90)],
    ids=["both", "first", "second", "second more"],
)
def test_both_texts_keep_a_part(
    kind: str, task: str, wording: str, texts: tuple[str, str], own_cache: None
) -> None:
    tokenizer, length = TOKENIZERS[kind], 70

    def size(text: str) -> int:
        return len(tokenizer(f" {text}", add_special_tokens=False)["input_ids"])

    short = encoded(split_of(task, [("y", "n")]), task, tokenizer, 128, wording=wording).input_ids(0)
    found = encoded(split_of(task, [texts, ("y", "n")]), task, tokenizer, length, wording=wording)
    ids = found.input_ids(0)
    assert (len(ids), found.cut) == (length, 1)
    assert ids[-1] == tokenizer.eos_token_id and found.input_ids(1) == short
    names = list(TASKS[task].text_fields)
    given = dict(zip(names, texts, strict=True))
    order = sorted(names) if wording == "t5" else names
    said = tokenizer.decode(ids, skip_special_tokens=True)
    head, tail = re.split(rf" {order[1]}:? ", said, maxsplit=1)
    kept = [re.split(rf"{order[0]}: ", head, maxsplit=1)[1], tail]
    wanted = as_glue_cuts(*(size(given[name]) for name in order), length - len(short) + size("y") + size("n"))
    for part, name, tokens in zip(kept, order, wanted, strict=True):
        assert part and given[name].startswith(part)
        assert tokens - size(part) in ((0, 1) if kind == "bytes" else (0,))  # a blank at the end is not shown


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_rows_that_fit_are_as_they_were(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    rows = split_of("rte", [("yes it is", "a film"), ("no", "")])
    found = encoded(rows, "rte", tokenizer, 128)
    texts = ["sentence1: yes it is sentence2: a film", "sentence1: no sentence2: "]
    assert [found.input_ids(row) for row in (0, 1)] == [tokenizer(text)["input_ids"] for text in texts]
    assert found.cut == 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_single_text_is_cut_where_the_tokenizer_cuts(side: str) -> None:
    tokenizer = build_tokenizer("t5")
    tokenizer.truncation_side = side
    found = encoded(split_of("sst2", [("yes no film good bad a b c d",)]), "sst2", tokenizer, 6)
    kept = "b c d" if side == "left" else "yes no film"
    assert tokenizer.decode(found.input_ids(0), skip_special_tokens=True).split(": ")[-1].endswith(kept)
    assert len(found.input_ids(0)) == 6


@pytest.mark.parametrize("style", ["bert", "roberta", "gpt2", "distilbert"])
def test_a_heads_pairs_are_cut_longest_first_and_counted(style: str) -> None:
    tokenizer = build_tokenizer(style)
    rows = split_of("rte", [("a " * 40, "b " * 6), ("a", "b"), ("a " * 20, "b " * 20)])
    specials = tokenizer.num_special_tokens_to_add(pair=True)
    length = 16 + specials  # an even room: of an odd one transformers gives the last place to the second text
    found = encoded(rows, "rte", tokenizer, length, form="head")
    a, b = tokenizer.convert_tokens_to_ids(["a", "b"])
    assert [(row.count(a), row.count(b)) for row in map(found.input_ids, range(3))] == [
        tuple(as_glue_cuts(40, 6, 16)),
        (1, 1),
        tuple(as_glue_cuts(20, 20, 16)),
    ]
    assert found.cut == 2
    again = encoded(rows, "rte", tokenizer, length, form="head")  # from the cache
    assert again.cut == 2 and again.ids.tolist() == found.ids.tolist()
    if found.types is not None:
        assert len(found.types) == len(found.ids)


@pytest.mark.parametrize(
    ("style", "task", "form", "least"),
    [
        ("bert", "rte", "head", 5),
        ("bert", "sst2", "head", 3),
        ("roberta", "rte", "head", 6),
        ("gpt2", "rte", "head", 2),
    ],
)
def test_a_length_without_room_for_the_texts(style: str, task: str, form: str, least: int) -> None:
    texts = ("a b c d e",) * len(TASKS[task].text_fields)
    for length in range(1, least):
        with pytest.raises(
            UserError, match=rf"task\.max_length: got {length}, .*Legal here: {least} or more"
        ):
            encoded(split_of(task, [texts]), task, build_tokenizer(style), length, form=form)
    assert encoded(
        split_of(task, [texts]), task, build_tokenizer(style), least, form=form
    ).lengths.tolist() == [least]


def test_a_length_without_room_beside_the_wording() -> None:
    rows = split_of("rte", [("a b c", "d e f")])
    with pytest.raises(UserError, match=r"the wording and special tokens take (\d+) tokens") as caught:
        encoded(rows, "rte", build_tokenizer("t5"), 4)
    least = int(str(caught.value).split("Legal here: ")[1].split()[0])
    assert encoded(rows, "rte", build_tokenizer("t5"), least).lengths.tolist() == [least]


def letters(known: str) -> PreTrainedTokenizerFast:
    """One token a letter; other letters become nothing."""
    backend = Tokenizer(models.BPE({letter: number for number, letter in enumerate(known)}, []))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=known[0])


@pytest.mark.parametrize("lost", [("xyz", "xx"), ("", "xyz"), ("  ", "x")])
def test_a_row_of_which_nothing_is_left_is_named(lost: tuple[str, str]) -> None:
    rows = split_of("rte", [("ab", "a"), ("x", "b"), lost])
    with pytest.raises(
        UserError, match=r"train: .* no tokens of 1 of 3 rows; the first is row 2 \(counted from 0\)"
    ):
        encoded(rows, "rte", letters("ab"), 16, form="head")


def test_a_blank_row_has_one_token() -> None:
    found = encoded(split_of("rte", [("", " "), ("ab", "a")]), "rte", letters("ab"), 16, form="head")
    assert found.lengths.tolist() == [1, 3]
