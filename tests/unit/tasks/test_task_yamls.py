"""Tasks that are YAMLs and nothing else: SuperGLUE's five, rows by schema, columns put together, the hub."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from petbench.compose.expand import choice
from petbench.config.sections import DataSpec, TaskSpec
from petbench.config.task import Task
from petbench.errors import UserError
from petbench.tasks.glue import bibtex_of, is_glue
from petbench.tasks.rows import hub
from petbench.tasks.rows.columns import columns_of, texts_of
from petbench.tasks.rows.load import load_splits
from petbench.tasks.task import own
from petbench.tasks.wording import wording_of

SUPERGLUE = ("boolq", "cb", "copa", "rte", "wic")


def superglue(name: str) -> TaskSpec:
    return TaskSpec.model_validate(choice("task", f"superglue/{name}"))


@pytest.mark.parametrize("name", SUPERGLUE)
def test_superglue_has_toy_rows_by_its_schema_alone(name: str) -> None:
    task = superglue(name)
    splits = load_splits(task, DataSpec(source="toy", toy_train=64, toy_validation=32))
    train = splits.part("train")
    assert list(train.texts) == list(task.text_fields) and len(splits.part("validation")) == 32
    assert set(train.labels or []) == set(range(task.num_labels))
    assert not set(train.rows()) & set(splits.part("validation").rows())
    again = load_splits(task, DataSpec(source="toy", toy_train=80, toy_validation=32))
    assert again.part("train").rows()[:64] == train.rows()
    assert not is_glue(task) and "wang2019superglue" in bibtex_of(f"superglue_{name}")


RAW = {  # as SuperGLUE's own files have them: a row, its texts, its label
    "boolq": (
        {"question": "is it", "passage": "It is.", "label": True},
        {"question": "is it", "passage": "It is."},
        "True",
    ),
    "cb": (
        {"premise": "p", "hypothesis": "h", "label": "neutral"},
        {"premise": "p", "hypothesis": "h"},
        "neutral",
    ),
    "copa": (
        {
            "premise": "It rained.",
            "question": "effect",
            "choice1": "wet",
            "choice2": "dry",
            "label": "choice1",
        },
        {"premise": "It rained. What was the effect?", "choices": "wet or dry"},
        "choice1",
    ),
    "wic": (
        {"word": "bank", "sentence1": "a bank", "sentence2": "the bank", "label": False},
        {"sentence1": "bank: a bank", "sentence2": "the bank"},
        "False",
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_superglue_rows_from_a_file(tmp_path: Path, name: str) -> None:
    row, texts, label = RAW[name]
    task = superglue(name)
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    splits = load_splits(task, DataSpec(file=str(tmp_path), allow_partial=True))
    train = splits.part("train")
    assert splits.partial == ("train",)
    with pytest.raises(UserError, match=f"has 1 rows, officially {task.rows['train']}"):
        load_splits(task, DataSpec(file=str(tmp_path)))
    assert {field: column[0] for field, column in train.texts.items()} == texts
    assert train.labels == [task.labels.index(label)]


def test_fields_are_put_together_from_columns() -> None:
    columns = {"a": "{x}: {y} ({x})", "b": "z"}
    assert columns_of(("a", "b"), columns) == ["x", "y", "z"]
    raw: dict[str, Any] = {"x": ["1"], "y": ["{two}"], "z": ["3"]}
    assert texts_of(raw, ("a", "b"), columns) == {"a": ["1: {two} (1)"], "b": ["3"]}


def test_numbers_of_any_scale_have_a_grid_of_answers() -> None:
    spec = TaskSpec.model_validate(
        {
            "name": "a",
            "text_fields": ["t"],
            "metrics": ["pearson"],
            "label_range": [0, 100],
            "wording": "words",
        }
    )
    wording = wording_of(spec)
    assert wording.targets[:3] == ("0.0", "4.0", "8.0") and wording.targets[-1] == "100.0"
    assert [wording.target_of(label) for label in (-5.0, 0.0, 41.0, 99.0, 250.0)] == [
        "0.0", "0.0", "40.0", "100.0", "100.0"
    ]  # fmt: skip
    assert wording.parse("250") == 100.0 and wording.parse("x") is None
    small = spec.model_copy(update={"label_range": (0.0, 0.01)})
    assert len(set(wording_of(small).targets)) == 26
    assert spec.units == (50.0, 25.0)


WRONG = {
    "labels: got one": {"labels": ["a"]},
    "label_range: missing": {"metrics": ["pearson"]},
    "label_range: got": {"metrics": ["pearson"], "label_range": [5, 0]},
    "headline: got 'f1'": {"labels": ["a", "b"], "metrics": ["accuracy"], "headline": "f1"},
}


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_yaml_is_said(word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Task.model_validate({"name": "a", "text_fields": ["t"], **WRONG[word]})


def test_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"text": [f"row {n}" for n in range(12)], "label": [0, 1] * 6}
    splits = {
        "train": datasets.Dataset.from_dict(rows, features=features),
        "test": datasets.Dataset.from_dict({"text": ["new", "newer"], "label": [-1, -1]}, features=features),
    }
    asked = []

    def load_dataset(*names: Any) -> Any:
        asked.append(names)
        return datasets.DatasetDict(splits)

    monkeypatch.setattr(hub, "hub_reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = DataSpec(hub="owner/set:small")
    task = own("set", data)
    assert asked == [("owner/set", "small")] and task.labels == ("no", "yes")
    found = load_splits(task, data)
    assert found.part("train").labels == [0, 1] * 6 and found.part("test").labels is None
    del splits["train"]
    with pytest.raises(UserError, match="there is no 'train' split; there: test"):
        load_splits(task, data)
