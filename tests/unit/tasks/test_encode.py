"""Token ids, their cache, batches and padding."""

import threading

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from made_glue import REAL_GLUE
from petbench.config.sections import DataSpec, ProtocolSpec, TaskSpec
from petbench.tasks.encode import token_cache
from petbench.tasks.encode.batches import batch_order, padding_fraction
from petbench.tasks.encode.encode import Encoded, collate, encode
from petbench.tasks.glue import TASKS, task_named
from petbench.tasks.protocols import cut
from petbench.tasks.rows.load import load_splits
from petbench.tasks.splits import Split

PAD, CLS, SEP, UNK = range(4)


def word_tokenizer(words=("a", "b", "c", "d"), pairs=True):
    """One id a word, BERT's special tokens and token types."""
    vocabulary = {token: i for i, token in enumerate(("[PAD]", "[CLS]", "[SEP]", "[UNK]", *words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if pairs:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
        )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_input_names=names
    )


def pair_split(pairs, labels=None):
    columns = {"sentence1": [one for one, _ in pairs], "sentence2": [two for _, two in pairs]}
    return Split("train", list(range(len(pairs))), columns, labels)


RTE = pair_split([("a b", "c"), ("a", "b c d"), ("a b c d", "a b c d")], [0, 1, 1])


def rte(split=RTE, tmp=None, tokenizer=None, form="head", **spec):
    task = TASKS["rte"]
    return encode(split, task, TaskSpec(name="rte", **spec), form, tokenizer or word_tokenizer(), tmp)


def test_pairs_become_ids_types_and_labels(tmp_path):
    encoded = rte(tmp=tmp_path)
    assert encoded.input_ids(0) == [CLS, 4, 5, SEP, 6, SEP]
    assert encoded.types[: encoded.offsets[1]].tolist() == [0, 0, 0, 0, 1, 1]
    assert encoded.lengths.tolist() == [6, 7, 11]
    assert encoded.labels.tolist() == [0, 1, 1] and encoded.targets is None


def test_pairs_are_cut_longest_first(tmp_path):
    encoded = rte(tmp=tmp_path, max_length=7)
    assert encoded.input_ids(2) == [CLS, 4, 5, SEP, 4, 5, SEP]
    assert encoded.input_ids(1) == [CLS, 4, SEP, 5, 6, 7, SEP]


def test_a_very_long_text_is_cut(tmp_path):
    encoded = rte(pair_split([("a " * 50_000, "b")], [0]), tmp_path)
    assert encoded.lengths.tolist() == [128]


def test_text_form_has_targets_and_its_own_ids(tmp_path):
    tokenizer = word_tokenizer(("sentence1:", "sentence2:", "a", "b", "c", "d", "0", "1"))
    encoded = rte(tmp=tmp_path, tokenizer=tokenizer, form="text")
    assert encoded.input_ids(0) == [CLS, 4, 6, 7, 5, 8, SEP]
    assert encoded.targets == [[CLS, 10, SEP], [CLS, 11, SEP], [CLS, 11, SEP]]
    assert encoded.target_lengths.tolist() == [3, 3, 3]


def test_test_rows_have_no_labels(tmp_path):
    split = pair_split([("a", "b")])
    assert rte(split, tmp_path).labels is None
    text = rte(split, tmp_path, form="text")
    assert text.targets is None and set(collate(text, [0], PAD)) == {
        "input_ids",
        "attention_mask",
        "token_type_ids",
    }


def test_an_empty_row_still_has_a_token(tmp_path):
    tokenizer = word_tokenizer(pairs=False)
    encoded = rte(pair_split([("", ""), ("a", "b")], [0, 1]), tmp_path, tokenizer)
    assert encoded.lengths.tolist() == [1, 2] and encoded.input_ids(0) == [PAD]


def test_collate_pads_on_the_right(tmp_path):
    batch = collate(rte(tmp=tmp_path), [1, 0], PAD)
    assert batch["input_ids"].tolist() == [[CLS, 4, SEP, 5, 6, 7, SEP], [CLS, 4, 5, SEP, 6, SEP, PAD]]
    assert batch["attention_mask"].tolist() == [[1] * 7, [1] * 6 + [0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0]]
    assert batch["labels"].tolist() == [1, 0] and batch["labels"].dtype == torch.int64


def test_collate_targets_and_scores():
    offsets, ids = np.array([0, 1, 2]), np.array([4, 5], dtype=np.int32)
    text = Encoded("text", ids, offsets, None, np.array([0, 1]), [[7], [8, 9]])
    assert collate(text, [0, 1], PAD)["labels"].tolist() == [[7, -100], [8, 9]]
    scores = Encoded("head", ids, offsets, None, np.array([0.5, 3.8], dtype=np.float32), None)
    assert collate(scores, [1], PAD)["labels"].dtype == torch.float32


def test_a_second_run_reads_the_cache(tmp_path, monkeypatch):
    first = rte(tmp=tmp_path)
    assert len(list((tmp_path / "tokens").iterdir())) == 1

    def fail(*args, **kwargs):
        raise AssertionError("tokenised again")

    monkeypatch.setattr("petbench.tasks.encode.encode._tokenised", fail)
    again = rte(tmp=tmp_path)
    assert again.ids.tolist() == first.ids.tolist() and again.labels.tolist() == first.labels.tolist()
    # Other labels on the same texts need no new tokens.
    assert rte(pair_split(RTE.rows(), [1, 1, 0]), tmp_path).labels.tolist() == [1, 1, 0]


def test_what_the_cache_depends_on(tmp_path):
    rte(tmp=tmp_path)
    rte(tmp=tmp_path, max_length=64)
    rte(tmp=tmp_path, tokenizer=word_tokenizer(("b", "a")))
    rte(pair_split([("a", "b")], [0]), tmp_path)
    rte(tmp=tmp_path, form="text")
    rte(tmp=tmp_path, form="text", wording="t5")
    assert len(list((tmp_path / "tokens").iterdir())) == 6
    rte(tmp=tmp_path, sample_seed=3)  # another spec, the same tokens
    assert len(list((tmp_path / "tokens").iterdir())) == 6


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "wrong"])
def test_a_broken_cache_is_made_anew(tmp_path, damage):
    wanted = rte(tmp=tmp_path)
    path = next((tmp_path / "tokens").iterdir())
    whole = path.read_bytes()
    if damage == "wrong":
        np.savez(path, ids=np.arange(3), offsets=np.array([0, 9]))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "noise": b"noise" * 100, "empty": b""}[damage])
    assert rte(tmp=tmp_path).ids.tolist() == wanted.ids.tolist()
    assert token_cache.read(tmp_path, path.stem)["ids"].tolist() == wanted.ids.tolist()


def test_a_flipped_byte_in_the_ids_is_found(tmp_path):
    wanted = rte(tmp=tmp_path)
    path = next((tmp_path / "tokens").iterdir())
    raw = bytearray(path.read_bytes())
    place = bytes(raw).index(wanted.ids.tobytes())
    raw[place] ^= 1
    path.write_bytes(bytes(raw))
    assert token_cache.read(tmp_path, path.stem) is None
    assert rte(tmp=tmp_path).ids.tolist() == wanted.ids.tolist()


def test_parallel_writers_leave_one_whole_file(tmp_path):
    threads = [threading.Thread(target=rte, kwargs={"tmp": tmp_path}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list((tmp_path / "tokens").iterdir())) == 1
    assert rte(tmp=tmp_path).lengths.tolist() == [6, 7, 11]


def test_a_cache_that_cannot_be_written_only_warns(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="token cache .* cannot be written"):
        assert len(rte(tmp=tmp_path / "file")) == 3


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "there"))
    assert token_cache.cache_folder(None) == tmp_path / "there"
    assert token_cache.cache_folder(tmp_path) == tmp_path


def test_the_tokenizers_digest_does_not_depend_on_calls():
    used, fresh = word_tokenizer(), word_tokenizer()
    used("a b", truncation=True, max_length=3, padding="max_length")
    assert token_cache.tokenizer_digest(used) == token_cache.tokenizer_digest(fresh)
    assert token_cache.tokenizer_digest(word_tokenizer(("b", "a"))) != token_cache.tokenizer_digest(fresh)


@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.parametrize("rows,size", [(1, 32), (31, 32), (32, 32), (1000, 32), (2241, 32), (7, 1)])
def test_every_row_once_an_epoch(bucket, rows, size):
    lengths = np.random.default_rng(0).integers(5, 100, rows)
    order = batch_order(lengths, size, seed=1, epoch=0, bucket=bucket)
    assert sorted(row for batch in order for row in batch) == list(range(rows))
    assert len(order) == -(-rows // size)
    assert sum(len(batch) != size for batch in order) <= 1


@pytest.mark.parametrize("bucket", [True, False])
def test_the_order_is_seeded_and_changes_with_the_epoch(bucket):
    lengths = np.random.default_rng(0).integers(5, 20, 500)
    orders = [
        batch_order(lengths, 32, seed, epoch, bucket) for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]
    assert {frozenset(batch) for batch in orders[0]} != {frozenset(batch) for batch in orders[2]}


def test_padding_fraction_by_hand():
    encoded = Encoded("head", np.zeros(9, np.int32), np.array([0, 2, 5, 9]), None, None, None)
    assert padding_fraction(encoded.lengths, [[0, 1], [2]]) == pytest.approx(1 - 9 / (3 + 3 + 4))


@pytest.mark.parametrize("name", ["rte", "mrpc", "cola"])
def test_padding_of_toy_rows(tmp_path, name):
    from petbench.tasks.toy import LEXICON

    task, spec, data = TASKS[name], TaskSpec(name=name), DataSpec(source="toy")
    train = cut(load_splits(task_named(name), data), ProtocolSpec(), spec, data).train
    encoded = encode(train, task, spec, "head", word_tokenizer(LEXICON), tmp_path)
    assert UNK not in encoded.ids
    assert padding_fraction(encoded.lengths, batch_order(encoded.lengths, 32, 0, 0)) < 0.08


@pytest.mark.skipif(not REAL_GLUE.is_dir(), reason="no real GLUE beside the repository")
@pytest.mark.parametrize("name", ["rte", "mrpc", "cola"])
def test_padding_of_real_rows_at_batch_32(tmp_path, name):
    """At most 8 %; plain shuffling pads a quarter of all tokens and more. One token a word here."""
    task, spec, data = TASKS[name], TaskSpec(name=name), DataSpec(dir=str(REAL_GLUE))
    train = cut(load_splits(task_named(name), data), ProtocolSpec(), spec, data).train
    encoded = encode(train, task, spec, "head", word_tokenizer(), tmp_path)
    bucketed, plain = (
        np.mean(
            [
                padding_fraction(encoded.lengths, batch_order(encoded.lengths, 32, 0, e, bucket))
                for e in range(3)
            ]
        )
        for bucket in (True, False)
    )
    assert bucketed <= 0.08 and plain > 0.25
