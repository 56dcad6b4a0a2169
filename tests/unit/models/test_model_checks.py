"""What a model cannot take: padding, tokenizers, lengths, segments, and files that want their code run."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, PreTrainedTokenizerFast

from model_folders import FAMILIES, edit, model_folder, plain_class
from petbench.config.sections import ModelSpec, TaskSpec
from petbench.errors import UserError
from petbench.inference.label_tree import label_scores
from petbench.models.checks import check_first_rows, check_length, positions_of
from petbench.models.load import Backbone, Form, load, resolve_form, skeleton
from petbench.models.tokenizer import build_tokenizer, load_tokenizer
from petbench.tasks.encode.encode import collate, encode, target_ids
from petbench.tasks.glue import TASKS
from petbench.tasks.splits import Split
from petbench.tasks.wording import wording_of
from tiny_models import _spec

PAIRS = Split(
    "new",
    [0, 1, 2],
    {
        "sentence1": ["a good film", "no " * 30, "yes it is a film and then some more of it"],
        "sentence2": ["yes", "a bad film", "no"],
    },
    None,
)


def loaded(folder: Path, form: Any = "auto", **spec: Any) -> Backbone:
    chosen = ModelSpec(name=str(folder), **spec)
    return load(chosen, resolve_form(chosen, form), 1, True, 0, TASKS["stsb"])


@torch.no_grad()
def scores(backbone: Backbone, rows: list[int]) -> torch.Tensor:
    """Logits of the head, or of the label strings, for rows in one batch."""
    spec = TaskSpec(name="stsb")
    encoded = encode(PAIRS, TASKS["stsb"], spec, backbone.form, backbone.tokenizer, "cache")
    batch = collate(encoded, rows, backbone.tokenizer.pad_token_id)
    if backbone.form == "head":
        result: torch.Tensor = backbone.model(**batch).logits
        return result
    return label_scores(backbone.model, batch, target_ids(wording_of(spec), backbone.tokenizer))


def refused(make: Callable[[], Any], *words: str) -> str:
    with pytest.raises(UserError) as caught:
        make()
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert len(text.splitlines()) <= 2
    return text


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- padding -----------------------------------------------------------------------------------------------

COUNTS_FROM_PADDING = ("tiny_roberta",)  # and the padding id is the config's; MPNet's is always 1


@pytest.mark.parametrize("written", [None, -1, 2, 9, 99_999], ids=lambda v: f"pad {v}")
@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_has_one_score_alone_and_beside_longer_rows(
    name: str, written: int | None, tmp_path: Path
) -> None:
    """Whatever padding id the config has, and whichever side the tokenizer pads on."""
    folder = model_folder(tmp_path / "m", name, plain_class(name))
    right = loaded(folder)
    expected = scores(right, [0])
    edit(folder / "config.json", pad_token_id=written)
    edit(folder / "tokenizer_config.json", padding_side="left")
    counts = name in COUNTS_FROM_PADDING or name == "tiny_mpnet"
    if counts and written is not None:
        refused(lambda: loaded(folder), "counts its positions from the padding id", "pad_token_id")
        return
    backbone = loaded(folder)
    pad = backbone.tokenizer.pad_token_id
    assert backbone.model.config.pad_token_id == pad
    assert torch.allclose(scores(backbone, [0]), expected, atol=1e-5)
    assert torch.allclose(scores(backbone, [1, 0, 2])[1], expected[0], atol=1e-5)
    assert not torch.allclose(
        expected[0], scores(backbone, [2])[0], atol=1e-3
    )  # the score depends on the row
    said = [note for note in backbone.notes if note.startswith("Padding")]
    assert bool(said) == (written is not None)
    assert all(f"token {pad} " in note and f"config says {written}." in note for note in said)


@pytest.mark.parametrize("name", ["tiny_gpt2", "tiny_llama", "tiny_qwen2", "tiny_qwen3"])
@pytest.mark.parametrize("written", [None, 0, 1, -1])
def test_the_end_pads_where_a_tokenizer_has_no_padding(
    name: str, written: int | None, tmp_path: Path
) -> None:
    tokenizer = build_tokenizer(name.removeprefix("tiny_"))
    tokenizer.pad_token, tokenizer.eos_token = None, "a"
    backbone = loaded(model_folder(tmp_path / "m", name, tokenizer=tokenizer, pad_token_id=written))
    assert backbone.model.config.pad_token_id == backbone.tokenizer.convert_tokens_to_ids("a")
    assert torch.allclose(scores(backbone, [1, 0, 2])[1], scores(backbone, [0])[0], atol=1e-5)


@pytest.mark.parametrize("name", ["tiny_bert", "tiny_llama", "tiny_gpt2"])
def test_neither_padding_nor_end_is_refused(name: str, tmp_path: Path) -> None:
    tokenizer = build_tokenizer(name.removeprefix("tiny_"))
    tokenizer.pad_token = tokenizer.eos_token = None
    folder = model_folder(tmp_path / "m", name, tokenizer=tokenizer)
    refused(lambda: loaded(folder), "neither a padding nor an end token", "pad_token")


def test_an_encoder_decoders_end_is_the_tokenizers(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", "tiny_t5", plain_class("t5"), eos_token_id=7)
    backbone = loaded(folder)
    assert backbone.model.config.eos_token_id == backbone.model.generation_config.eos_token_id == 1
    assert loaded(folder, "head").model.config.eos_token_id == 1  # its head reads the end token
    tokenizer = build_tokenizer("t5")
    tokenizer.pad_token = "</s>"
    tokenizer.save_pretrained(folder)
    refused(lambda: loaded(folder, "head"), "padding and end are one token (1)")
    bare = build_tokenizer("gpt2")
    bare.save_pretrained(folder)
    refused(lambda: loaded(folder), "adds no end token")
    build_tokenizer("t5").save_pretrained(folder)
    edit(folder / "config.json", decoder_start_token_id=5000)
    refused(lambda: loaded(folder), "decoder_start_token_id", "5000", "0 to 1023")


# --- tokenizers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_missing_tokenizer_files_are_named(name: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", name, plain_class(name))
    (folder / "tokenizer.json").unlink()
    for _ in range(2):
        refused(
            lambda: loaded(folder),
            f"model.tokenizer: the tokenizer of '{folder}' cannot be read: there is no",
        )
        # Without this file, too, transformers makes a tokenizer of the special tokens, without a word.
        (folder / "tokenizer_config.json").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["tiny_bert", "tiny_roberta", "tiny_t5", "tiny_gpt2"])
def test_a_tokenizer_much_smaller_than_the_embedding_is_refused(name: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", name, plain_class(name), made={"vocab_size": 9000})
    refused(lambda: loaded(folder), "tokens, the embedding 9000 rows")


def more_tokens(count: int) -> PreTrainedTokenizerFast:
    tokenizer = build_tokenizer("bert")
    tokenizer.add_tokens([f"extra{number}" for number in range(count - len(tokenizer))])
    return tokenizer


@pytest.mark.parametrize("count", [1025, 1100])
def test_more_tokens_than_rows_of_the_embedding(count: int, tmp_path: Path) -> None:
    own = model_folder(tmp_path / "own", "tiny_bert", tokenizer=more_tokens(count))
    refused(
        lambda: loaded(own),
        "the tokenizer of",
        f"itself has {count} tokens",
        f"resize_token_embeddings({count})",
    )
    plain = model_folder(tmp_path / "plain", "tiny_bert")
    refused(
        lambda: loaded(plain, tokenizer=str(own)),
        f"'{own}' has {count} tokens",
        "only 1024",
        "model.tokenizer=same",
    )
    exact = model_folder(tmp_path / "exact", "tiny_bert", tokenizer=more_tokens(1024))
    assert len(loaded(exact).tokenizer) == 1024


def newer(path: Path) -> None:
    values = json.loads(path.read_text())
    values["model"]["type"] = "WordPieceTwo"
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "damage",
    [newer, lambda p: p.write_text("{"), lambda p: p.write_text(""), lambda p: p.write_text("[1]")],
    ids=["newer", "cut", "empty", "a list"],
)
@pytest.mark.parametrize("name", ["tiny_bert", "tiny_t5", "tiny_llama"])
def test_a_tokenizer_that_does_not_load(name: str, damage: Callable[[Path], Any], tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", name, plain_class(name))
    damage(folder / "tokenizer.json")
    refused(lambda: loaded(folder), "model.tokenizer: the tokenizer of", "cannot be read", "tokenizers 0.")


@pytest.mark.parametrize("given", ["nosuch", "no/such", "./nosuch", "/no/such/folder", "~/nosuch"])
def test_a_tokenizer_that_is_not_there(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petbench.models.hub_commit.hub_reachable", lambda: False)
    folder = model_folder(tmp_path / "m", "tiny_bert")
    text = refused(
        lambda: loaded(folder, tokenizer=given),
        f"model.tokenizer: got '{Path(given).expanduser()}'" if given[0] == "~" else f"got '{given}'",
        "Legal: same",
    )
    assert "model.name: cannot" not in text


def letters(known: str, unk: str | None = "?") -> PreTrainedTokenizerFast:
    """One token a letter; letters that it does not know are `unk`, or nothing."""
    tokens = [unk, *known] if unk else list(known)
    backend = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [], unk_token=unk))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token=unk, pad_token=tokens[0])


@pytest.mark.parametrize(
    ("unk", "texts", "message"),
    [
        ("?", ["abab"] * 7 + ["xyzx"] * 3, "12 of the 40 tokens of the first 10 rows are unknown (?)"),
        ("?", ["abab"] * 9 + ["xyzx"], ""),
        (None, ["ab"] * 7 + ["xy"] * 3, "3 of the 10 texts of the first 10 rows become empty"),
        (None, ["ab"] * 9 + ["xy"], ""),
        ("?", ["", "  "], ""),
    ],
)
def test_rows_that_the_tokenizer_does_not_know(unk: str | None, texts: list[str], message: str) -> None:
    rows = Split("train", list(range(len(texts))), {"sentence": texts}, None)
    spec, tokenizer = ModelSpec(name="m"), letters("ab", unk)
    if message:
        refused(lambda: check_first_rows(spec, rows, tokenizer), message, "at most 20%")
    else:
        check_first_rows(spec, rows, tokenizer)


@pytest.mark.parametrize("form", ["head", "text"])
@pytest.mark.parametrize("name", FAMILIES)
def test_segment_ids_go_only_to_models_with_segments(name: str, form: Form, tmp_path: Path) -> None:
    if form == "text" and "t5" not in name:
        return
    as_bert = build_tokenizer("bert")
    end = "</s>" if "t5" in name else "[SEP]"
    tokenizer = build_tokenizer("t5") if "t5" in name else as_bert
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.eos_token = end
    if name in ("tiny_roberta", "tiny_mpnet"):
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(1)
    folder = model_folder(tmp_path / "m", name, plain_class(name), tokenizer=tokenizer)
    backbone = loaded(folder, form)
    segments = getattr(backbone.model.config, "type_vocab_size", 0)
    assert ("token_type_ids" in backbone.tokenizer("yes", "no")) == (segments > 1)
    assert torch.isfinite(scores(backbone, [0, 1])).all()


def test_a_bert_of_one_segment(tmp_path: Path) -> None:
    backbone = loaded(model_folder(tmp_path / "m", "tiny_bert", made={"type_vocab_size": 1}))
    assert "token_type_ids" not in backbone.tokenizer("yes", "no")
    assert torch.isfinite(scores(backbone, [0, 1])).all()


# --- lengths -----------------------------------------------------------------------------------------------

TABLES = {
    "tiny_bert": 512, "tiny_albert": 512, "tiny_electra": 512, "tiny_distilbert": 512, "tiny_gpt2": 512,
    "tiny_roberta": None, "tiny_mpnet": None, "tiny_bart": 512,
}  # fmt: skip
FIRST = {"tiny_roberta": 2, "tiny_mpnet": 2}  # places of the table before the first token


@pytest.mark.parametrize("name", FAMILIES)
def test_positions_by_family(name: str) -> None:
    model, _ = skeleton(_spec(name), resolve_form(_spec(name), "auto"), 2, False)
    found, config = positions_of(model), model.config
    if name in TABLES:
        assert found.limit == config.max_position_embeddings - FIRST.get(name, 0)
        assert TABLES[name] in (None, found.limit) and found.trained is None
        check_length("m", found.limit, 0, found)
        refused(
            lambda: check_length("m", found.limit + 1, 0, found),
            f"'m' has {found.limit} positions",
            "task.max_length",
        )
        refused(lambda: check_length("m", found.limit, 5, found), f"at most {found.limit - 5}.")
    else:
        assert found.limit is None
        assert (
            check_length("m", 100_000, 0, found) if found.trained else not check_length("m", 10**6, 0, found)
        )
        assert (found.trained is None) == ("t5" in name)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_row_of_the_greatest_length_fits(name: str, tmp_path: Path) -> None:
    """The limit is exact: a row of that many tokens runs, one more does not."""
    key = "n_positions" if "gpt2" in name else "max_position_embeddings"
    backbone = loaded(model_folder(tmp_path / "m", name, made={key: 24}))
    limit = positions_of(backbone.model).limit
    assert limit == 24 - FIRST.get(name, 0)
    for length, fits in ((limit, True), (limit + 1, False)):
        batch = {"input_ids": torch.full((1, length), 9), "attention_mask": torch.ones(1, length).long()}
        if backbone.model.config.is_encoder_decoder:
            batch["input_ids"][0, -1] = backbone.model.config.eos_token_id  # the head reads there
        if fits:
            assert torch.isfinite(backbone.model(**batch).logits).all()
        else:
            with pytest.raises((IndexError, RuntimeError)):
                backbone.model(**batch)


# --- code and pickles --------------------------------------------------------------------------------------


class Stdin:
    """An input that nobody may ask."""

    def readline(self, *_: Any) -> str:
        raise AssertionError("somebody asked on standard input")

    read = fileno = readline


CODE = {
    "AutoConfig": "code.Evil",
    "AutoModel": "code.Evil",
    "AutoModelForSequenceClassification": "code.Evil",
}


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("stock", [True, False])
def test_code_of_a_folder_is_refused_and_never_run(
    file: str, stock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin())
    folder = model_folder(tmp_path / "m", "tiny_bert")
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    if file == "config.json":
        edit(folder / file, auto_map=CODE, **({} if stock else {"model_type": "evil"}))
        asked = "model.name"
    else:
        kind = {} if stock else {"tokenizer_class": "Evil"}
        edit(folder / file, auto_map={"AutoTokenizer": ["code.Evil", "code.Evil"]}, **kind)
        asked = "model.tokenizer"
    text = refused(lambda: loaded(folder), asked, "auto_map", "petbench runs no code")
    assert "trust_remote_code" not in text
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_are_refused_unread(file: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", "tiny_bert")
    shutil.copy(folder / "model.safetensors", tmp_path / "kept")
    (folder / "model.safetensors").unlink()
    torch.save(AutoModel.from_config(loaded_config(folder)).state_dict(), folder / file)
    refused(lambda: loaded(folder), f"are pickled ({file})", "Legal: safetensors")
    shutil.copy(tmp_path / "kept", folder / "model.safetensors")
    assert loaded(folder).head == "new"  # safetensors beside a pickle: the pickle is not read


def loaded_config(folder: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder)


def test_a_built_tokenizer_of_a_model_without_segments_gives_none() -> None:
    from petbench.models.source import config_of

    spec = _spec("tiny_deberta")
    assert "token_type_ids" not in load_tokenizer(spec, config_of(spec))("yes", "no")
