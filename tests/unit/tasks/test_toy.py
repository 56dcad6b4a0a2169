"""Generated rows: same schema, seeded, disjoint, within the lexicon, learnable."""

import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from petbench.config.sections import DataSpec
from petbench.tasks.glue import TASKS, task_named
from petbench.tasks.rows.load import load_splits
from petbench.tasks.toy import LEXICON


def toy(task, **sizes):
    return load_splits(task_named(task), DataSpec(source="toy", **sizes))


@pytest.mark.parametrize("name", TASKS)
def test_same_schema_as_glue(name):
    task, splits = TASKS[name], toy(name)
    assert splits.source == "toy" and tuple(splits.parts) == task.splits
    for split_name, split in splits.parts.items():
        assert tuple(split.texts) == task.text_fields
        assert len(split) == (512 if split_name == "train" else 128)
        assert (split.labels is None) == (split_name in task.test)
    if task.train and not task.regression:
        shares = Counter(splits.part("train").labels)
        assert set(shares) == set(range(len(task.labels)))
        assert max(shares.values()) / 512 < 0.65
    if task.regression:
        assert min(splits.part("train").labels) == 0.0 and max(splits.part("train").labels) == 5.0


@pytest.mark.parametrize("name", TASKS)
def test_every_word_is_in_the_lexicon(name):
    words = {
        word
        for split in toy(name).parts.values()
        for row in split.rows()
        for text in row
        for word in text.split()
    }
    assert words <= set(LEXICON)
    assert all(re.fullmatch(r"[a-z]+|[.,?]", word) for word in LEXICON) and len(LEXICON) < 250


def test_rows_are_the_same_each_time_and_differ_by_task():
    assert toy("rte").digest == toy("rte").digest
    assert toy("rte").digest != toy("rte", toy_train=100).digest
    assert toy("mnli").part("validation_matched").rows() != toy("mnli").part("validation_mismatched").rows()


def test_a_short_split_is_the_start_of_a_long_one():
    short, long = toy("sst2", toy_train=50).part("train"), toy("sst2", toy_train=400).part("train")
    assert short.rows() == long.rows()[:50] and short.labels == long.labels[:50]


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.train])
def test_train_texts_are_distinct_and_in_no_other_split(name):
    splits = toy(name)
    train = splits.part("train").rows()
    assert len(set(train)) == len(train)
    for split_name in splits.parts:
        if split_name != "train":
            assert not set(train) & set(splits.part(split_name).rows())


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.train and name != "cola"])
def test_a_bag_of_words_beats_the_majority_clearly(name):
    """Words of each field, counted apart; CoLA's classes have equal words and need their order."""
    task, splits = TASKS[name], toy(name)
    train, held = splits.part("train"), splits.part(task.validation[0])

    def marked(split):
        return [
            " ".join(f"{i}{w}" for i, text in enumerate(row) for w in re.findall("[a-z]+", text))
            for row in split.rows()
        ]

    counter = CountVectorizer().fit(marked(train))
    model = (Ridge() if task.regression else LogisticRegression(max_iter=1000)).fit(
        counter.transform(marked(train)), train.labels
    )
    found = model.predict(counter.transform(marked(held)))
    if task.regression:
        assert np.corrcoef(found, held.labels)[0, 1] > 0.7
    else:
        majority = max(Counter(held.labels).values()) / len(held)
        assert np.mean(found == np.array(held.labels)) > majority + 0.15
