"""Rows of one's own: what columns, kind and labels are taken for, how rows are cut, and every kind of bad file."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from own_files import pairs, quality, stars, tickets
from petbench.config.sections import DataSpec, ProtocolSpec, TaskSpec
from petbench.config.task import Task
from petbench.errors import UserError
from petbench.tasks import own_cut
from petbench.tasks.protocols import cut
from petbench.tasks.rows import files
from petbench.tasks.rows.load import load_splits
from petbench.tasks.splits import Split, Splits
from petbench.tasks.task import name_of, own


def made(place: Path, **data: Any) -> tuple[Task, Splits]:
    """The task that files make, and its rows."""
    spec = DataSpec(file=str(place), **data)
    task = own(name_of(spec), spec)
    return task, load_splits(task, spec)


def test_four_files_are_taken_for_what_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, splits = made(tickets(tmp_path / "tickets.csv"))
    assert (task.name, task.text_fields, task.label) == ("tickets", ("title", "body"), "queue")
    assert task.labels == ("billing", "refund, other", "repair") and task.headline == "accuracy"
    assert "macro_f1" in task.metrics
    first = splits.part("train")
    assert first.texts["title"][0].startswith('the "') and "\n" in first.texts["body"][0]
    said = capsys.readouterr().err
    assert "text title and body; label queue, 3 classes: " in said and "(guessed; data.text" in said

    task, splits = made(pairs(tmp_path / "pairs.jsonl"))
    assert (task.text_fields, task.labels) == (("question", "answer"), ("fits", "not"))

    task, splits = made(quality(tmp_path / "quality.tsv"))
    assert task.regression and task.label_range == (0.0, 100.0) and task.headline == "pearson_spearman"
    labels = splits.part("train").labels or []
    centre, spread = task.units
    assert centre == pytest.approx(sum(labels) / len(labels)) and 20 < spread < 50
    assert "a number from 0 to 100, 6 different" in capsys.readouterr().err

    task, splits = made(stars(tmp_path / "stars.parquet"))
    assert (task.text_fields, task.label, task.labels) == (("review",), "stars", ("1", "2", "3"))
    assert set(splits.part("train").labels or []) == {0, 1, 2}


@pytest.mark.parametrize(
    ("labels", "kind", "wanted"),
    [
        (["1", "2", "10"] * 4, "auto", ("1", "2", "10")),  # numbers by size
        (["b", "a", "c"] * 4, "auto", ("a", "b", "c")),
        (["1.0", "2.0"] * 4, "auto", ("1.0", "2.0")),
        ([f"{n / 7}" for n in range(12)], "auto", ()),  # a fraction: a number
        ([str(n) for n in range(40)], "auto", ()),  # more whole numbers than classes have
        (["1", "2"] * 4, "number", ()),
        ([str(n) for n in range(30)] * 2, "classes", tuple(map(str, range(30)))),
    ],
)
def test_classes_or_a_number(tmp_path: Path, labels: list[str], kind: str, wanted: tuple[str, ...]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"word {n},{label}\n" for n, label in enumerate(labels)))
    assert made(path, kind=kind)[0].labels == wanted


@pytest.mark.parametrize(
    ("header", "data", "texts", "label"),
    [
        ("id,sentence,label", {}, ("sentence",), "label"),
        ("premise,hypothesis,gold_label", {}, ("premise", "hypothesis"), "gold_label"),
        ("a,b,target", {}, ("a", "b"), "target"),
        ("text,note,Label", {}, ("text",), "Label"),
        ("a,b,c,label", {"text": "b"}, ("b",), "label"),
        ("a,b,c,label", {"text": ["c", "a"]}, ("c", "a"), "label"),
        ("label,text,kind", {"label": "kind"}, ("text",), "kind"),
    ],
)
def test_columns(
    tmp_path: Path, header: str, data: dict[str, Any], texts: tuple[str, ...], label: str
) -> None:
    path = tmp_path / "a.csv"
    names = header.split(",")
    classes = {"label", "gold_label", "target", "Label", "kind"}

    def value(name: str, n: int) -> str:
        return f"c{n % 2}" if name in classes else str(n) if name == "id" else f"word {name} {n}"

    path.write_text(
        "\n".join([header, *(",".join(value(name, n) for name in names) for n in range(12))]) + "\n"
    )
    task, _ = made(path, **data)
    assert (task.text_fields, task.label) == (texts, label)


def test_class_names_that_a_parquet_file_has_are_kept(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = datasets.Dataset.from_dict(
        {"text": [f"t {n}" for n in range(8)], "label": [0, 1] * 4}, features=features
    )
    rows.to_parquet(tmp_path / "a.parquet")
    task, splits = made(tmp_path / "a.parquet")
    assert task.labels == ("no", "yes") and splits.part("train").labels == [0, 1] * 4


def test_the_digest_is_of_the_rows_alone(tmp_path: Path) -> None:
    one = made(tickets(tmp_path / "tickets.csv"))
    other = made(tickets(tmp_path / "renamed.csv"))
    assert one[0].name != other[0].name and one[0].definition() == other[0].definition()
    assert one[1].digest == other[1].digest
    assert made(tickets(tmp_path / "third.csv", seed=1))[1].digest != one[1].digest


def folder(tmp_path: Path, **sizes: int) -> Path:
    place = tmp_path / "folder"
    place.mkdir(exist_ok=True)
    for seed, (name, rows) in enumerate(sizes.items()):
        tickets(place / f"{name}.csv", rows, seed)
    return place


@pytest.mark.parametrize(
    ("sizes", "protocol", "wanted"),
    [  # train, selection, (report split, rows)
        ({"train": 100}, "petbench", (72, 8, ("validation", 20))),
        ({"train": 100}, "glue_dev", (80, 20, ("validation", 20))),
        ({"train": 100}, "compacter", (80, 10, ("validation", 10))),
        ({"train": 100, "dev": 30}, "petbench", (90, 10, ("validation", 30))),
        ({"train": 100, "val": 30, "test": 20}, "petbench", (100, 30, ("test", 20))),
        ({"train": 100, "test": 20}, "petbench", (90, 10, ("test", 20))),
        ({"train": 100, "validation": 30}, "compacter", (100, 15, ("validation", 15))),
    ],
)
def test_rows_by_use(tmp_path: Path, sizes: dict[str, int], protocol: str, wanted: Any) -> None:
    task, splits = made(folder(tmp_path, **sizes))
    spec = TaskSpec.model_validate({**task.model_dump(), "wording": "words"})
    rows = cut(splits, ProtocolSpec(name=protocol), spec, DataSpec())  # type: ignore[arg-type]
    (name, report), *_ = rows.report.items()
    assert (len(rows.train), len(rows.selection), (name, len(report))) == wanted
    if protocol != "glue_dev":
        assert not set(rows.selection.rows()) & set(report.rows()) or "val" in sizes
    assert not set(rows.train.rows()) & set(rows.selection.rows())


def test_cuts_are_stratified_and_keep_equal_texts_on_one_side() -> None:
    labels = [0] * 60 + [1] * 30 + [2] * 10
    texts = [f"row {n // 2}" for n in range(100)]  # every text twice
    whole = Split("train", list(range(100)), {"text": texts}, labels)
    task = Task(name="a", text_fields=("text",), labels=("x", "y", "z"), metrics=("accuracy",))
    kept, taken = own_cut.cut_off(task, whole, 20, ProtocolSpec())
    assert sorted(taken.labels or []) == [0] * 12 + [1] * 6 + [2] * 2
    assert not set(kept.rows()) & set(taken.rows())
    number = Task(name="a", text_fields=("text",), metrics=("pearson",), label_range=(0.0, 1.0))
    shares = own_cut.strata_of(number, Split("train", [0, 1, 2], {"text": ["a", "b", "c"]}, [0.0, 0.5, 1.0]))
    assert list(shares) == [0, 2, 4]


def csv_rows(*rows: str, header: str = "text,label") -> str:
    return "\n".join([header, *rows]) + "\n"


GOOD = [f"word {n},{'ab'[n % 2]}" for n in range(12)]
BAD_FILES = {  # name: (file name, content, more of data, the clear word)
    "no label column": (
        "a.csv",
        csv_rows(*(f"w {n},x {n} y" for n in range(9)), header="text,more"),
        {},
        "which column is the label",
    ),
    "a named column that is not there": (
        "a.csv",
        csv_rows(*GOOD),
        {"label": "lable"},
        "has no column 'lable'. Did you mean 'label'",
    ),
    "no text": (
        "a.csv",
        csv_rows(*(f"{n},{'ab'[n % 2]}" for n in range(9)), header="n,label"),
        {},
        "which columns are the text? no column holds text",
    ),
    "three texts": (
        "a.csv",
        csv_rows(*(f"w {n},v {n},u {n},{'ab'[n % 2]}" for n in range(9)), header="p,q,r,label"),
        {},
        "it may be p, q, r",
    ),
    "one class only": (
        "a.csv",
        csv_rows(*(f"word {n},a" for n in range(9))),
        {},
        "all 9 rows have one label in 'label' (a)",
    ),
    "a class with one row": ("a.csv", csv_rows(*GOOD, "the last,c"), {}, "line 14: class 'c' has one row"),
    "names that are no classes": (
        "a.csv",
        csv_rows(*(f"word {n},name{n}" for n in range(40))),
        {},
        "has 40 different values in 40 rows, so it does not hold classes",
    ),
    "a label that is missing": ("a.csv", csv_rows(*GOOD, "the last,"), {}, "line 14: no label in 'label'"),
    "duplicate columns": (
        "a.csv",
        csv_rows(*(f"w {n},v,a" for n in range(9)), header="text,text,label"),
        {},
        "2 columns are called 'text'",
    ),
    "two columns that hold the same": (
        "a.csv",
        csv_rows(*(f"w {n},w {n},{'ab'[n % 2]}" for n in range(9)), header="p,q,label"),
        {},
        "hold the same in every row",
    ),
    "a row with too few columns": (
        "a.csv",
        csv_rows(*GOOD, "alone"),
        {},
        "line 14: 1 fields, but the header has 2",
    ),
    "open quotes": ("a.csv", csv_rows(*GOOD, '"open,a'), {}, "Correct the quotes"),
    "UTF-16": (
        "a.csv",
        csv_rows(*GOOD).encode("utf-16"),
        {},
        "it looks like UTF-16). Save the file as UTF-8",
    ),
    "UTF-16 without its mark": ("a.csv", csv_rows(*GOOD).encode("utf-16-le"), {}, "it looks like UTF-16"),
    "Latin-1": (
        "a.csv",
        csv_rows(*GOOD, "café,a").encode("latin-1"),
        {},
        "line 14: broken UTF-8 (is it Latin-1",
    ),
    "no rows": ("a.csv", "text,label\n", {}, "has no rows"),
    "nothing": ("a.jsonl", "", {}, "has no rows"),
    "broken JSON": ("a.jsonl", '{"text": "x", "label": "a"}\n{"text": \n', {}, "line 2: not JSON"),
    "a text that is none": (
        "a.jsonl",
        "".join(
            json.dumps({"text": None if n == 5 else f"w {n}", "label": "ab"[n % 2]}) + "\n" for n in range(9)
        ),
        {},
        "line 6: 'text' is null",
    ),
    "a label that is a list": (
        "a.jsonl",
        "".join(json.dumps({"text": f"w {n}", "label": [n]}) + "\n" for n in range(9)),
        {},
        "the label in 'label' is a list",
    ),
    "a number that is none": (
        "a.csv",
        csv_rows(*(f"w {n},{n}.5" for n in range(9)), "w,high"),
        {"kind": "number"},
        "label 'high' in 'label' is not a number",
    ),
    "numbers that are all one": (
        "a.csv",
        csv_rows(*(f"w {n},2.5" for n in range(9))),
        {"kind": "number"},
        "all labels in 'label' are 2.5",
    ),
    "a broken Parquet file": ("a.parquet", b"PAR1 no", {}, "cannot read"),
    "another ending": ("a.xlsx", b"x", {}, "ending '.xlsx'. Legal: .tsv, .csv, .jsonl, .parquet"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_get_a_clear_word(tmp_path: Path, name: str) -> None:
    file, content, data, word = BAD_FILES[name]
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        made(tmp_path / file, **data)
    assert word in str(caught.value)


def test_a_bom_an_empty_text_and_4000_numbers_are_read_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + csv_rows(*GOOD, ",a").encode())
    task, splits = made(path)
    assert task.text_fields == ("text",)
    assert splits.warnings == ("train: 1 of 13 rows have an empty text",)
    path.write_text(csv_rows(*(f"word {n},{n / 3}" for n in range(4000))))
    task, _ = made(path)
    assert task.regression and "4,000 different" in capsys.readouterr().err


def test_what_is_said_of_validation_and_of_uneven_classes(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.mkdir()
    (place / "train.csv").write_text(csv_rows(*(f"word {n},{'b' if n < 3 else 'a'}" for n in range(30))))
    (place / "dev.csv").write_text(csv_rows("word 4,a", "word 5,a", "new,b"))
    _, splits = made(place)
    assert splits.warnings[0] == "2 of 3 validation rows are also in train: scores on them are too high"
    assert "uneven classes: a is 90% of train, b has 3 rows" in splits.warnings[1]
    (place / "dev.csv").write_text(csv_rows("x,a", "y,c", "z,c"))
    with pytest.raises(
        UserError, match=r"line 3: label 'c' \(2 rows of validation\) is not among those of train: a, b"
    ):
        made(place)
    (place / "dev.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"has dev\.csv and dev\.jsonl for validation"):
        made(place)


def test_places_without_train_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file or folder"):
        made(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.csv").write_text("x\n")
    with pytest.raises(UserError, match=r"has no train file; there: notes\.csv"):
        made(tmp_path / "empty")


def test_a_big_file_is_streamed_with_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "BAR_BYTES", 10_000)
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "big.csv"
    path.write_text(csv_rows(*(f"word {n} and more,{'ab'[n % 2]}" for n in range(2000))))
    _, splits = made(path)
    assert len(splits.part("train")) == 2000
    assert "reading big.csv" in capsys.readouterr().err
    pq.write_table(
        pa.table({"text": [f"w {n} {n * n}" for n in range(3000)], "label": ["a", "b"] * 1500}),
        tmp_path / "b.parquet",
    )
    assert len(made(tmp_path / "b.parquet")[1].part("train")) == 3000
    assert "reading b.parquet" in capsys.readouterr().err


def test_a_name_of_glue_stays_glues() -> None:
    assert [name_of(DataSpec(file=f)) for f in ("a/rte.csv", "my tickets (1).csv", "x")] == [
        "rte_own",
        "my_tickets_1",
        "x",
    ]
    assert name_of(DataSpec(hub="owner/set:config")) == "set"
