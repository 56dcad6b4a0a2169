"""Golden rows: exact input text, target and T5 token ids, by task, form and wording, checked by hand."""

import numpy as np
import pytest

from made_glue import REAL_T5
from petbench.config.sections import TaskSpec
from petbench.tasks.encode.encode import encode, target_ids
from petbench.tasks.glue import TASKS
from petbench.tasks.splits import Split
from petbench.tasks.wording import Wording, wording_of

ONE, TWO = "A dog runs.", "An animal moves."

# task: (texts, label, {wording: (input, target)})
GOLDEN = {
    "cola": (
        (ONE,),
        1,
        {
            "compacter": ("sentence: A dog runs.", "1"),
            "t5": ("cola sentence: A dog runs.", "acceptable"),
            "words": ("sentence: A dog runs.", "acceptable"),
        },
    ),
    "sst2": (
        (ONE,),
        0,
        {
            "compacter": ("sentence: A dog runs.", "0"),
            "t5": ("sst2 sentence: A dog runs.", "negative"),
            "words": ("sentence: A dog runs.", "negative"),
        },
    ),
    "mrpc": (
        (ONE, TWO),
        0,
        {
            "compacter": ("sentence1: A dog runs. sentence2: An animal moves.", "0"),
            "t5": ("mrpc sentence1: A dog runs. sentence2: An animal moves.", "not_equivalent"),
            "words": ("sentence1: A dog runs. sentence2: An animal moves.", "not_equivalent"),
        },
    ),
    "stsb": (
        (ONE, TWO),
        3.25,
        {
            "compacter": ("sentence1: A dog runs. sentence2: An animal moves.", "3.2"),
            "t5": ("stsb sentence1: A dog runs. sentence2: An animal moves.", "3.2"),
            "words": ("sentence1: A dog runs. sentence2: An animal moves.", "3.2"),
        },
    ),
    "qqp": (
        (ONE, TWO),
        1,
        {
            "compacter": ("question1: A dog runs. question2: An animal moves.", "1"),
            "t5": ("qqp question1: A dog runs. question2: An animal moves.", "duplicate"),
            "words": ("question1: A dog runs. question2: An animal moves.", "duplicate"),
        },
    ),
    "mnli": (
        (ONE, TWO),
        2,
        {
            "compacter": ("premise: A dog runs. hypothesis An animal moves.", "2"),
            "t5": ("mnli hypothesis: An animal moves. premise: A dog runs.", "contradiction"),
            "words": ("premise: A dog runs. hypothesis: An animal moves.", "contradiction"),
        },
    ),
    "qnli": (
        (ONE, TWO),
        1,
        {
            "compacter": ("question: A dog runs. sentence: An animal moves.", "1"),
            "t5": ("qnli question: A dog runs. sentence: An animal moves.", "not_entailment"),
            "words": ("question: A dog runs. sentence: An animal moves.", "not_entailment"),
        },
    ),
    "rte": (
        (ONE, TWO),
        0,
        {
            "compacter": ("sentence1: A dog runs. sentence2: An animal moves.", "0"),
            "t5": ("rte sentence1: A dog runs. sentence2: An animal moves.", "entailment"),
            "words": ("sentence1: A dog runs. sentence2: An animal moves.", "entailment"),
        },
    ),
    "wnli": (
        (ONE, TWO),
        0,
        {
            "compacter": ("sentence1: A dog runs. sentence2: An animal moves.", "0"),
            "t5": ("wnli sentence1: A dog runs. sentence2: An animal moves.", "not_entailment"),
            "words": ("sentence1: A dog runs. sentence2: An animal moves.", "not_entailment"),
        },
    ),
    "ax": (
        (ONE, TWO),
        1,
        {
            "compacter": ("premise: A dog runs. hypothesis An animal moves.", "1"),
            "t5": ("mnli hypothesis: An animal moves. premise: A dog runs.", "neutral"),
            "words": ("premise: A dog runs. hypothesis: An animal moves.", "neutral"),
        },
    ),
}
STYLES = ("compacter", "compacter_named", "t5", "words")
# As compacter, the task's own name in front; the diagnostic rows are asked as mnli rows.
for task, (_, _, by_style) in GOLDEN.items():
    text, target = by_style["compacter"]
    by_style["compacter_named"] = (f"{'mnli' if task == 'ax' else task} {text}", target)
CASES = [(task, style) for task in TASKS for style in STYLES]


def golden(task, style):
    texts, label, by_style = GOLDEN[task]
    return dict(zip(TASKS[task].text_fields, texts, strict=True)), label, *by_style[style]


@pytest.mark.parametrize("task,style", CASES)
def test_input_and_target_text(task, style):
    texts, label, wanted, target = golden(task, style)
    wording = wording_of(TaskSpec(name=task, wording=style))
    assert wording.render(texts) == wanted
    assert wording.target_of(label) == target
    assert wording.parse(f" {target} ") == (3.2 if task == "stsb" else label)


def test_the_named_wording_as_the_paper_code_has_it():
    """Written out whole: these rows were read off the code's own output format."""
    texts = {"sentence1": ONE, "sentence2": TWO}
    wording = wording_of(TaskSpec(name="mrpc", wording="compacter_named"))
    assert wording.render(texts) == "mrpc sentence1: A dog runs. sentence2: An animal moves."
    assert wording.targets == ("0", "1")
    mnli = wording_of(TaskSpec(name="mnli", wording="compacter_named"))
    texts = {"premise": ONE, "hypothesis": TWO}
    assert mnli.render(texts) == "mnli premise: A dog runs. hypothesis An animal moves."
    fine = wording_of(TaskSpec(name="stsb", wording="compacter_named", stsb_step=0.1))
    assert fine.target_of(3.35) == "3.4" and len(fine.targets) == 51


def test_targets_are_in_label_order():
    assert Wording(TASKS["rte"], "t5").targets == ("entailment", "not_entailment")
    assert Wording(TASKS["mnli"], "compacter").targets == ("0", "1", "2")
    grid = Wording(TASKS["stsb"], "compacter").targets
    assert len(grid) == 26 and grid[:3] == ("0.0", "0.2", "0.4") and grid[-1] == "5.0"
    fine = Wording(TASKS["stsb"], "compacter", 0.1)
    assert len(fine.targets) == 51 and fine.targets[17] == "1.7" and fine.values[17] == 1.7


@pytest.mark.parametrize(
    "step,label,target",
    [(0.2, 3.8, "3.8"), (0.2, 2.5, "2.4"), (0.2, 4.93, "5.0"), (0.2, float(np.float32(3.8)), "3.8"), (0.1, 3.25, "3.2"),
     (0.1, 4.75, "4.8"), (0.1, 0.0, "0.0")],
)  # fmt: skip
def test_scores_are_rounded_to_the_grid(step, label, target):
    wording = Wording(TASKS["stsb"], "t5", step)
    assert wording.target_of(label) == target
    assert target in wording.targets
    # The same as T5's round(5·x)/5 and the Compacter code's rounding to one decimal.
    numpy_form = np.round(label * 5) / 5 if step == 0.2 else np.round(label, 1)
    assert target == f"{numpy_form:.1f}"


@pytest.mark.parametrize(
    "text,label",
    [("3.4", 3.4), (" 7 ", 5.0), ("-1", 0.0), ("3.41", 3.41), ("nan", None), ("inf", None), ("1e3", None), ("", None),
     ("3,4", None), ("entailment", None)],
)  # fmt: skip
def test_parse_scores(text, label):
    assert Wording(TASKS["stsb"], "compacter").parse(text) == label


@pytest.mark.parametrize(
    "text,label",
    [("3.4", 3.4), (" 7 ", 7.0), ("-1", -1.0), ("1e3", 1000.0), ("nan", None), ("inf", None), ("", None), ("3,4", None),
     ("five", None)],
)  # fmt: skip
def test_parse_scores_literally(text, label):
    assert Wording(TASKS["stsb"], "compacter").parse_literally(text) == label


def test_classes_are_parsed_alike():
    for style in STYLES:
        wording = Wording(TASKS["rte"], style)
        assert [wording.parse_literally(t) for t in (*wording.targets, "2")] == [0, 1, None]


@pytest.mark.parametrize("text", ["", "Entailment", "not entailment", "2", "entailment."])
def test_an_answer_that_is_no_label_is_none(text):
    assert Wording(TASKS["rte"], "t5").parse(text) is None


# Pieces of the T5 vocabulary, looked up by hand; a word's pieces do not depend on its neighbours.
# For example `premise:` is ▁ 3, premise 17398, : 10, and `not_entailment` is ▁not 59, _ 834, en 35, tail 5756,
# ment 297.
T5_PIECES = {
    "A": [71], "dog": [1782], "runs.": [3154, 5], "An": [389], "animal": [2586], "moves.": [6914, 5],
    "sentence:": [7142, 10], "sentence1:": [7142, 536, 10], "sentence2:": [7142, 357, 10],
    "question:": [822, 10], "question1:": [822, 536, 10], "question2:": [822, 357, 10],
    "premise:": [3, 17398, 10], "hypothesis:": [22455, 10], "hypothesis": [22455],
    "cola": [3, 12600], "sst2": [3, 7, 7, 17, 357], "mrpc": [3, 51, 52, 102, 75], "stsb": [3, 7, 17, 7, 115],
    "qqp": [3, 1824, 1824, 102], "mnli": [3, 51, 29, 40, 23], "qnli": [3, 1824, 29, 40, 23],
    "rte": [3, 52, 17, 15], "wnli": [3, 210, 29, 40, 23],
    "0": [3, 632], "1": [209], "2": [204], "3.2": [3, 19162],
    "acceptable": [9961], "negative": [2841], "duplicate": [19197], "contradiction": [27252], "neutral": [7163],
    "not_equivalent": [59, 834, 15, 1169, 15592], "entailment": [3, 35, 5756, 297],
    "not_entailment": [59, 834, 35, 5756, 297],
}  # fmt: skip
END = 1


def by_hand(text):
    return [piece for word in text.split() for piece in T5_PIECES[word]] + [END]


@pytest.fixture(scope="module")
def t5():
    if not REAL_T5.is_file():
        pytest.skip("no T5 vocabulary beside the repository")
    from transformers import T5Tokenizer

    return T5Tokenizer.from_pretrained(str(REAL_T5.parent))


@pytest.mark.parametrize("task,style", CASES)
def test_t5_token_ids_of_text_rows(t5, tmp_path, task, style):
    texts, label, wanted, target = golden(task, style)
    split = Split("validation", [0], {name: [text] for name, text in texts.items()}, [label])
    encoded = encode(split, TASKS[task], TaskSpec(name=task, wording=style), "text", t5, tmp_path)
    assert encoded.input_ids(0) == by_hand(wanted)
    assert encoded.targets == [by_hand(target)]
    assert encoded.types is None


@pytest.mark.parametrize("task", TASKS)
def test_t5_token_ids_of_head_rows(t5, tmp_path, task):
    texts, label, _ = GOLDEN[task]
    split = Split(
        "validation", [0], {f: [t] for f, t in zip(TASKS[task].text_fields, texts, strict=True)}, [label]
    )
    encoded = encode(split, TASKS[task], TaskSpec(name=task), "head", t5, tmp_path)
    assert encoded.input_ids(0) == [
        piece for text in texts for piece in by_hand(text)
    ]  # an end after each text
    assert encoded.labels is not None and encoded.labels.tolist() == [label]
    assert encoded.labels.dtype == (np.float32 if task == "stsb" else np.int64)
    assert encoded.targets is None


def test_every_target_of_the_real_vocabulary_differs(t5):
    for task in TASKS.values():
        for style in STYLES:
            for step in (0.2, 0.1):
                ids = target_ids(Wording(task, style, step), t5)
                assert len({tuple(row) for row in ids}) == len(ids) and all(row[-1] == END for row in ids)
