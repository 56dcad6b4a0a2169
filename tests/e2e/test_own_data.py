"""Rows of one's own through every command: the tour of docs/own-data.md, its ids, its answers, and SST-2 as a CSV."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import petbench
from made_glue import REAL_GLUE
from own_files import pairs, quality, stars, tickets
from page_tour import Tour, commands, ran, toured
from petbench.config.sections import DataSpec
from petbench.record import Record, read_records
from petbench.tasks.glue import task_named
from petbench.tasks.rows.load import load_splits
from petbench.tasks.splits import Splits

NEW = [("the storm", "the river sells"), ("the table", "the box , again"), ("the dog", "the cat moves")]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    """The page's commands, run in order in a folder with its four files."""
    folder = tmp_path_factory.mktemp("tour")
    tickets(folder / "tickets.csv")
    pairs(folder / "pairs.jsonl")
    quality(folder / "quality.tsv")
    stars(folder / "stars.parquet")
    with (folder / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("subject", "mail"), *NEW])
    with toured("own-data.md", folder) as made:
        yield made


def test_every_command_of_the_page_does_its_work(tour: Tour) -> None:
    failed = {line: said for line, said in tour.said.items() if said[0] != 0}
    assert not failed and len(tour.said) >= 10


def test_what_a_file_is_taken_for_is_said(tour: Tour) -> None:
    told = tour.of("petbench params")[2]  # of the first command: once a process
    assert "tickets.csv: text title and body; label queue, 3 classes: " in told
    said = tour.of("petbench train data.file=tickets.csv")[1]
    assert "Scores: tickets, protocol petbench (" in said and "macro_f1" in said and "accuracy" in said
    assert "24 rows to report on were cut from train" in said


def test_records_hold_the_task_whole(tour: Tour) -> None:
    records = tour.records("tickets")
    assert len(records) == 4 and {record.task for record in records} == {"tickets"}
    task = records[0].config["task"]
    assert task["text_fields"] == ["title", "body"] and task["labels"] == [
        "billing",
        "refund, other",
        "repair",
    ]
    saved = tour.folder / "tickets/runs" / records[0].run_id / "adapter/adapter_config.json"
    assert str(tour.folder) not in saved.read_text()  # what may be shared names no place of this machine
    assert set(records[0].metrics.report["validation"]) == {"accuracy", "macro_f1"}
    headlines = {record.task: record.headline.name for record in tour.records("others") if record.headline}
    assert headlines == {"pairs": "accuracy", "stars": "macro_f1"}


def test_tables_say_not_glue(tour: Tour) -> None:
    assert "NOT GLUE (the user's own rows)" in tour.of("petbench report")[1]
    assert "NOT GLUE" in (tour.folder / "tickets/report/tables.md").read_text()
    assert tour.of("petbench compare")[0] == 0


def test_a_copy_under_another_name_is_the_same_run(tour: Tour) -> None:
    (tour.folder / "copy.csv").write_bytes((tour.folder / "tickets.csv").read_bytes())
    line = next(
        line for line in commands("own-data.md") if line.startswith("petbench train data.file=tickets.csv")
    )
    status, said, _ = ran(line.replace("tickets.csv", "copy.csv"))
    assert status == 0 and "is done already" in said
    status, said, _ = ran(line.replace("data.file=tickets.csv", "data.file=copy.csv data.text=title"))
    assert status == 0 and "is done already" not in said


def test_predictions_hold_names_and_probabilities_and_are_scored(tour: Tour) -> None:
    rows = [json.loads(line) for line in (tour.folder / "labels.jsonl").read_text().splitlines()]
    assert len(rows) == 120
    for row in rows:
        shares = row["probabilities"]
        assert set(shares) == {"billing", "refund, other", "repair"}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(shares, key=shares.__getitem__)
    told = tour.of("petbench predict tickets/runs/RUN")[2]
    found = re.search(r"scores on 120 labelled rows: .*accuracy (\d\.\d{4})", told)
    with (tour.folder / "tickets.csv").open(newline="") as file:
        labels = [row["queue"] for row in csv.DictReader(file)]
    right = sum(row["prediction"] == label for row, label in zip(rows, labels, strict=True))
    assert found and float(found[1]) == pytest.approx(right / 120, abs=1e-4)
    assert re.search(r"120 rows in [\d.]+ m?s, [\d.]+ m?s a row", told)


def test_a_folder_of_runs_is_the_mean_of_their_logits(tour: Tour) -> None:
    _, said, told = tour.of("petbench predict tickets new.csv")
    shown = [row["prediction"] for row in csv.DictReader(io.StringIO(said))]
    assert f"{len(NEW)} rows by 4 runs in" in told
    classes = ["billing", "refund, other", "repair"]
    sums = [dict.fromkeys(classes, 0.0) for _ in NEW]
    import torch

    for record in tour.records("tickets"):
        if record.config["task"]["text_fields"] != ["title", "body"]:
            continue
        pipe = petbench.pipeline(tour.folder / "tickets/runs" / record.run_id)
        for row, (title, body) in enumerate(NEW):
            batch = pipe.tokenizer(title, body, return_tensors="pt")
            with torch.no_grad():
                logits = pipe.model(**batch).logits[0].tolist()
            for name, value in zip(classes, logits, strict=True):
                sums[row][name] += value
    assert shown == [max(row, key=row.__getitem__) for row in sums]


def test_runs_of_several_tasks_are_no_ensemble(tour: Tour) -> None:
    status, _, told = ran("petbench predict others new.csv")
    assert status == 2 and "holds runs of several tasks: " in told


def test_a_pipeline_in_two_lines_answers_as_predict_does(tour: Tour) -> None:
    run = sorted((tour.folder / "tickets/runs").iterdir())[0]
    classify = petbench.pipeline(run)
    first = json.loads((tour.folder / "labels.jsonl").read_text().splitlines()[0])
    with (tour.folder / "tickets.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    answer = classify({"text": row["title"], "text_pair": row["body"]})
    answer = answer[0] if isinstance(answer, list) else answer
    assert answer["label"] == first["prediction"]
    assert answer["score"] == pytest.approx(first["probabilities"][answer["label"]], abs=1e-4)


def test_numbers_come_in_their_own_units_from_predict_pipeline_and_the_merged_checkpoint(tour: Tour) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    (record,) = tour.records("quality")
    run = tour.folder / "quality/runs" / record.run_id
    status, said, told = ran(f"petbench predict {run} quality.tsv")
    answers = [float(line.split("\t")[1]) for line in said.splitlines()[1:]]
    assert status == 0 and "pearson_spearman" in told and "absolute_error" in told
    assert sum(answers) / len(answers) == pytest.approx(50, abs=15) and max(answers) > min(answers)
    text = (tour.folder / "quality.tsv").read_text().splitlines()[1].split("\t")[0]
    plain = AutoModelForSequenceClassification.from_pretrained(tour.folder / "plain")
    tokenizer = AutoTokenizer.from_pretrained(tour.folder / "plain")
    number = plain(**tokenizer(text, return_tensors="pt")).logits.item()
    assert number == pytest.approx(answers[0], abs=0.01)
    assert petbench.pipeline(run)(text)[0]["score"] == pytest.approx(answers[0], abs=0.01)


def test_standard_input(tour: Tour, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sorted((tour.folder / "tickets/runs").iterdir())[0]
    objects = "".join(json.dumps({"title": one, "body": two}) + "\n" for one, two in NEW)
    found = []
    for text in ("".join(f"{one}\t{two}\n" for one, two in NEW), objects):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        status, said, told = ran(f"petbench predict {run} - --batch 2")
        assert status == 0, told
        found.append(said)
    assert found[0] == found[1] and len(found[0].splitlines()) == len(NEW) + 1
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"only one text\n")))
    status, _, told = ran(f"petbench predict {run} -")
    assert status == 2 and "standard input, line 1: 1 fields, but the header has 2" in told


MISTAKES = {
    "task=sst2 data.file=tickets.csv": "data.file: task=sst2 has its own rows",
    "task=own": "task=own has no rows: give data.file=FILE",
    "data.file=tickets.csv data=toy": "data.file: got rows and data=toy",
    "data.file=none.csv": "there is no file or folder",
    "data.file=tickets.csv data.hub=a/b": "got file and hub",
    "data.file=tickets.csv data.text=[id,title,body]": "Legal: one column, or two different ones",
    "data.file=tickets.csv data.label=queue data.kind=number": "is not a number",
    "data.file=tickets.csv task.headline=f1": "task.headline: 'f1' is unknown. Legal: accuracy, macro_f1",
    "data.file=tickets.csv task.metrics=[bleu]": "task.metrics, for classes: 'bleu' is unknown",
    "data.file=quality.tsv task.headline=absolute_error": "of which lower is better",
    "data.file=tickets.csv task.train_examples=500": "task.train_examples=500: tickets has",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_exit_2_and_leaves_nothing(tour: Tour, mistake: str) -> None:
    status, _, told = ran(f"petbench train adapter=lora model=tiny_bert results_dir=wrong {mistake}")
    assert status == 2 and MISTAKES[mistake] in told, told
    assert not (tour.folder / "wrong").exists()


def test_submit_refuses(tour: Tour) -> None:
    record = tour.records("others")[0]
    status, _, told = ran(f"petbench submit others/runs/{record.run_id} --out glue.zip")
    assert status == 2 and f"is of {record.task}, which is not a GLUE task" in told


def test_new_task_writes_a_yaml_that_trains(tour: Tour) -> None:
    status, said, told = ran("petbench new task queues --from tickets.csv --text title --label queue")
    assert status == 0 and "wrote my_conf/task/queues.yaml" in said, told
    settings = "adapter=lora model=tiny_bert trainer.max_steps=2 results_dir=queues"
    line = f"petbench train --config-dir my_conf task=queues {settings}"
    status, said, told = ran(line)
    assert status == 0 and "Scores: queues" in said, told
    (record,) = tour.records("queues")
    assert record.config["task"]["text_fields"] == ["title"]
    status, _, told = ran("petbench new task queues --from tickets.csv --text title --label queue")
    assert status == 2 and "is there already" in told
    status, _, told = ran("petbench new task rte --from tickets.csv")
    assert status == 2 and "there is a task 'rte' already" in told


def as_csv(splits: Splits, folder: Path) -> Path:
    """SST-2's train and validation rows as plain files, labels by name."""
    folder.mkdir()
    names = task_named("sst2").labels
    for part in ("train", "validation"):
        rows = splits.part(part)
        with (folder / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sentence", "label"])
            assert rows.labels is not None
            writer.writerows(zip(rows.texts["sentence"], [names[int(n)] for n in rows.labels], strict=True))
    return folder


def both(folder: Path, glue: str, more: str) -> tuple[Record, Record]:
    """A run of task=sst2 and one of the same rows as files."""
    settings = f"adapter=lora trainer.max_steps=12 trainer.precision=fp32 logger=none {more}"
    for line in (
        f"petbench train task=sst2 {glue} results_dir={folder}/glue {settings}",
        f"petbench train data.file={folder}/rows results_dir={folder}/own {settings}",
    ):
        status, said, told = ran(line)
        assert status == 0, said + told
    (one,), (other,) = (list(read_records(folder / name)) for name in ("glue", "own"))
    return one, other


def answers(record: Record, results: Path) -> str:
    return (results / "runs" / record.run_id / "predictions/report-validation.jsonl").read_text()


@pytest.mark.parametrize("more", ["model=tiny_bert", "model=tiny_t5 task.wording=words"])
def test_sst2_as_a_csv_is_sst2(tmp_path: Path, more: str) -> None:
    sizes = {"toy_train": 96, "toy_validation": 48}
    as_csv(load_splits(task_named("sst2"), DataSpec(source="toy", **sizes)), tmp_path / "rows")
    one, other = both(tmp_path, "data=toy data.toy_train=96 data.toy_validation=48", more)
    assert one.metrics.report["validation"]["accuracy"] == other.metrics.report["validation"]["accuracy"]
    assert answers(one, tmp_path / "glue") == answers(other, tmp_path / "own")
    assert one.run_id != other.run_id


@pytest.mark.skipif(not (REAL_GLUE / "sst2").is_dir(), reason="no folder with real GLUE rows")
def test_real_sst2_as_a_csv_is_sst2(tmp_path: Path) -> None:
    as_csv(
        load_splits(task_named("sst2"), DataSpec(dir=str(REAL_GLUE), allow_partial=True)), tmp_path / "rows"
    )
    few = "model=tiny_bert data.max_train_examples=64 protocol.selection_max=32"
    one, other = both(tmp_path, f"data.dir={REAL_GLUE} data.allow_partial=true", few)
    assert one.headline is not None and other.headline is not None
    assert one.headline.value == other.headline.value and one.headline.n == 872
    assert answers(one, tmp_path / "glue") == answers(other, tmp_path / "own")
