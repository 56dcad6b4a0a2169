"""Cuts: disjoint, seeded, stratified, nested; marks say what a reader must know."""

from collections import Counter

import pytest

from made_glue import REAL_GLUE
from petbench.config.sections import DataSpec, ProtocolSpec, TaskSpec
from petbench.errors import UserError
from petbench.tasks.glue import TASKS, task_named
from petbench.tasks.protocols import cut
from petbench.tasks.rows.load import companion_splits, load_splits
from petbench.tasks.sampling import group_cut, paper_permutation, stratified_order
from petbench.tasks.splits import Split, Splits

TOY = DataSpec(source="toy")
TRAINABLE = [name for name, task in TASKS.items() if task.train]


def made(task="rte", protocol="petbench", data=TOY, splits=None, **more):
    protocol_fields = {key: more.pop(key) for key in list(more) if key in ProtocolSpec.model_fields}
    splits = splits or load_splits(task_named(task), data)
    return cut(splits, ProtocolSpec(name=protocol, **protocol_fields), TaskSpec(name=task, **more), data)


def rows_of(part):
    return {(part.name, i) for i in part.idx}


@pytest.mark.parametrize("task", TRAINABLE)
@pytest.mark.parametrize("protocol", ["petbench", "compacter", "glue_test"])
def test_train_selection_and_report_share_no_row(task, protocol):
    made_cut = made(task, protocol)
    report = set().union(*(rows_of(part) for part in made_cut.report.values()))
    assert not rows_of(made_cut.selection) & report
    assert not rows_of(made_cut.train) & rows_of(made_cut.selection)
    assert not rows_of(made_cut.train) & report
    assert made_cut.marks[-1] == "toy rows"


def test_petbench_sizes_and_strata():
    made_cut = made("mrpc")
    assert (len(made_cut.train), len(made_cut.selection)) == (461, 51)
    whole = load_splits(task_named("mrpc"), TOY).part("train")
    share = Counter(whole.labels)[1] / 512
    assert abs(Counter(made_cut.selection.labels)[1] - 51 * share) <= 1
    assert len(made("mrpc", selection_max=20).selection) == 20
    assert list(made_cut.report) == ["validation"] and made_cut.headline_split == "validation"


def test_mnli_reports_matched_first_and_mismatched():
    assert list(made("mnli").report) == ["validation_matched", "validation_mismatched"]
    compacter = made("mnli", "compacter")
    assert compacter.selection.name == "validation_mismatched"
    assert list(compacter.report) == ["validation_matched"]


def test_compacter_halves_validation_of_small_tasks_and_cuts_train_of_large_ones():
    small, large = made("rte", "compacter"), made("sst2", "compacter")
    assert (len(small.train), len(small.selection), len(small.report["validation"])) == (512, 64, 64)
    assert small.selection.name == "validation"
    assert (len(large.train), len(large.selection), len(large.report["validation"])) == (461, 51, 128)
    assert large.selection.name == "train"


def test_compacter_takes_a_thousand_rows_of_a_large_train_split():
    made_cut = made("sst2", "compacter", DataSpec(source="toy", toy_train=10_500))
    assert len(made_cut.selection) == 1000 and len(made_cut.train) == 9500


def test_the_papers_permutation():
    """First numbers of torch.randperm(10) with generator seed 42, which the Compacter code uses."""
    assert paper_permutation(10, 42) == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]


def test_glue_dev_is_marked():
    made_cut = made("rte", "glue_dev")
    assert made_cut.ids["selection"] == made_cut.ids["report/validation"]
    assert "selected and reported on the same rows" in made_cut.marks
    assert len(made_cut.train) == 512


def test_glue_test_predicts_test_rows_and_companions():
    splits = load_splits(task_named("mnli"), TOY)
    protocol = ProtocolSpec(name="glue_test")
    with_ax = cut(splits, protocol, TaskSpec(name="mnli"), TOY, companion_splits(task_named("mnli"), TOY))
    assert list(with_ax.predict) == ["test_matched", "test_mismatched", "ax"]
    assert all(part.labels is None for part in with_ax.predict.values())
    assert "no ax rows to predict" in cut(splits, protocol, TaskSpec(name="mnli"), TOY).marks


def test_split_seed_changes_the_cut_and_nothing_else_does():
    assert made("rte").ids == made("rte").ids
    assert made("rte").ids["selection"] != made("rte", split_seed=1).ids["selection"]
    assert made("rte", "compacter").ids != made("rte", "compacter", split_seed=42).ids


def test_low_resource_samples_are_nested_and_stratified():
    cuts = {n: made("mrpc", train_examples=n) for n in (20, 100, 400)}
    ids = {n: set(found.ids["train"]) for n, found in cuts.items()}
    assert {n: len(found) for n, found in ids.items()} == {20: 20, 100: 100, 400: 400}
    assert ids[20] < ids[100] < ids[400]
    whole = made("mrpc").train.labels
    share = sum(whole) / len(whole)
    assert all(abs(sum(cuts[n].train.labels) - n * share) <= 1 for n in cuts)
    assert ids[100] != set(made("mrpc", train_examples=100, sample_seed=1).ids["train"])
    assert cuts[20].ids["selection"] == made("mrpc").ids["selection"]
    assert "20 train examples" in cuts[20].marks


def test_low_resource_scores_are_spread():
    labels = made("stsb", train_examples=60).train.labels
    assert set(map(round, labels)) == {0, 1, 2, 3, 4, 5}


def test_too_large_a_sample_names_the_legal_range():
    with pytest.raises(UserError, match=r"task.train_examples=4000: rte has 461 train rows.*Legal: 1 to 461"):
        made("rte", train_examples=4000)


def test_max_train_examples_cuts_after_the_selection():
    made_cut = made("rte", data=DataSpec(source="toy", max_train_examples=40))
    assert len(made_cut.train) == 40 and len(made_cut.selection) == 51
    assert "at most 40 train rows" in made_cut.marks
    assert len(made("rte", data=DataSpec(source="toy", max_train_examples=4000)).train) == 461


def test_ax_and_a_missing_train_split_are_user_errors():
    with pytest.raises(UserError, match="train on mnli"):
        made("ax")
    no_train = Splits(
        "qnli", "local", "DIR/qnli", {"validation": load_splits(task_named("qnli"), TOY).part("validation")}
    )
    with pytest.raises(UserError, match="there is no 'train' split in DIR/qnli"):
        made("qnli", splits=no_train)


def test_partial_and_absent_splits_are_marked():
    parts = dict(load_splits(task_named("mnli"), TOY).parts)
    del parts["validation_mismatched"]
    splits = Splits("mnli", "local", "DIR/mnli", parts, partial=("train",))
    assert made("mnli", splits=splits).marks == (
        "validation_mismatched is not in DIR/mnli",
        "partial data: train has 512 of 392702 rows",
    )


def test_equal_texts_stay_on_one_side():
    rows = [f"text {i // 2}" for i in range(200)]
    kept, taken = group_cut(rows, [0, 1] * 100, 30, seed=0)
    assert len(taken) == 30 and sorted(kept + taken) == list(range(200))
    assert not {rows[i] for i in kept} & {rows[i] for i in taken}


def test_stratified_order_is_a_permutation_with_even_prefixes():
    labels = [0] * 70 + [1] * 30
    order = stratified_order(labels, 3)
    assert sorted(order) == list(range(100))
    for n in (10, 37, 80):
        assert abs(sum(labels[i] for i in order[:n]) - 0.3 * n) <= 1


def test_a_cut_keeps_equal_texts_on_one_side():
    def split(name, texts):
        return Split(name, list(range(len(texts))), {"sentence": texts}, [0] * len(texts))

    parts = {
        "train": split("train", ["a", "a", "b", *map(str, range(97))]),
        "validation": split("validation", ["a", "x"]),
    }
    made_cut = made("cola", splits=Splits("cola", "local", "DIR", parts))
    assert not set(made_cut.train.rows()) & set(made_cut.selection.rows())
    assert sum(row == ("a",) for part in (made_cut.train, made_cut.selection) for row in part.rows()) == 2


# Validation rows of GLUE whose whole text also stands in its train split, in either part of the cut.
REPEATS = {"cola": 16, "sst2": 0, "mrpc": 0, "stsb": 6, "rte": 0, "wnli": 0}


@pytest.mark.skipif(not REAL_GLUE.is_dir(), reason="no real GLUE beside the repository")
@pytest.mark.parametrize("task", REPEATS)
def test_real_rows_repeat_no_more_than_glue_itself(task):
    made_cut = made(task, data=DataSpec(dir=str(REAL_GLUE)))
    train, selection = set(made_cut.train.rows()), set(made_cut.selection.rows())
    assert not train & selection
    repeated = sum(row in train | selection for row in made_cut.report["validation"].rows())
    assert repeated == REPEATS[task]
    assert not rows_of(made_cut.selection) & rows_of(made_cut.report["validation"])


def split_of(name, labels, texts=None, idx=None):
    texts = texts or [f"text {name} {n}" for n in range(len(labels))]
    return Split(name, idx or list(range(len(labels))), {"sentence1": texts, "sentence2": texts}, labels)


def splits_of(train, validation, task="rte"):
    return Splits(task, "local", "made", {"train": train, "validation": validation})


@pytest.mark.parametrize(
    ("protocol", "train", "validation", "part"),
    [
        ("petbench", split_of("train", [0]), split_of("validation", [0, 1]), "train"),
        (
            "petbench",
            split_of("train", [0, 1] * 9, ["equal"] * 18),
            split_of("validation", [0, 1]),
            "selection",
        ),
        ("compacter", split_of("train", [0, 1]), split_of("validation", [0]), "selection"),
    ],
)
def test_a_part_without_rows_is_an_error(protocol, train, validation, part):
    with pytest.raises(UserError, match=f"protocol={protocol}: the {part} part would be empty"):
        made("rte", protocol, DataSpec(), splits_of(train, validation))


def test_a_part_with_one_label_is_said():
    said = made(
        "rte", "petbench", DataSpec(), splits_of(split_of("train", [1] * 20), split_of("validation", [0] * 4))
    )
    assert said.warnings == (
        "all 18 train rows have one label (not_entailment)",
        "all 2 selection rows have one label (not_entailment)",
        "all 4 validation rows have one label (entailment)",
    )
    assert set(said.warnings) <= set(said.marks)
    mixed = splits_of(split_of("train", [0, 1] * 10), split_of("validation", [0, 1]))
    assert made("rte", "petbench", DataSpec(), mixed).warnings == ()
    scores = splits_of(split_of("train", [2.5] * 20), split_of("validation", [1.0, 2.0]), "stsb")
    assert "all 18 train rows have one label (2.5)" in made("stsb", "petbench", DataSpec(), scores).warnings
