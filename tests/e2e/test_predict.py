"""`petbench predict` on new text, and a finished run back in memory."""

import csv
import json
from pathlib import Path

import pytest
import torch

import petbench
from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.sections import DataSpec
from petbench.config.spec import parse
from petbench.errors import UserError
from petbench.record import Record
from petbench.tasks.glue import task_named
from petbench.tasks.rows.load import load_splits
from petbench.tasks.splits import Split
from petbench.training.prepare import prepare
from petbench.training.run import run
from petbench.tuned.checkpoint import write_adapter_config
from petbench.tuned.load import load_run

ROWS = 24
KINDS = [("sst2", "tiny_bert"), ("sst2", "tiny_t5"), ("stsb", "tiny_bert"), ("stsb", "tiny_t5")]


@pytest.fixture(scope="module", params=KINDS, ids=["-".join(kind) for kind in KINDS])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    """A run that predicted its toy test rows, and its results folder."""
    task, model = request.param
    results = tmp_path_factory.mktemp("results")
    (member,) = expand(
        [f"task={task}", f"model={model}", "adapter=full", "data=toy", "protocol=glue_test", "optim.lr=0.01",
         "trainer.max_steps=75", "trainer.batch_size=16", "trainer.eval_every=25", "trainer.precision=fp32",
         "trainer.progress=off", f"results_dir={results}", f"cache_dir={results}", f"data.toy_validation={ROWS}"]
    )  # fmt: skip
    return run(prepare(parse(member.values, spec_of))), results


def test_rows(task: str) -> Split:
    """The rows that the run has predicted."""
    return load_splits(task_named(task), DataSpec(source="toy", toy_validation=ROWS)).part("test")


test_rows.__test__ = False  # type: ignore[attr-defined]


def write(path: Path, rows: Split) -> Path:
    """The rows as a file of new text, with a column too many, in another order of columns."""
    fields = [*reversed(rows.texts), "note"]
    values = [[*reversed(row), "x"] for row in rows.rows()]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(fields, row, strict=True))) + "\n" for row in values))
    else:
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([fields, *values])
    return path


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl"])
def test_predict_gives_what_the_run_predicted(
    finished: tuple[Record, Path], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, results = finished
    task = task_named(record.task)
    file = write(tmp_path / f"new.{kind}", test_rows(record.task))
    out = tmp_path / f"labels.{kind}"
    folder = results / "runs" / record.run_id
    assert run_command(["predict", str(folder), str(file), "--out", str(out)]) == 0
    made = (folder / "predictions" / "predict-test.jsonl").read_text().splitlines()
    answers = [json.loads(line)["prediction"] for line in made]
    wanted = [task.labels[a] if task.labels else f"{a:.3f}" for a in answers]
    assert (
        task.regression or len(set(wanted)) > 1
    )  # the model tells rows apart, so an order gone wrong would show
    if kind == "jsonl":
        found = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["index"] for row in found] == list(range(ROWS))
        assert [row["prediction"] for row in found] == wanted
    else:
        comma = "\t" if kind == "tsv" else ","
        lines = [f"{row}{comma}{label}" for row, label in enumerate(wanted)]
        assert out.read_text().splitlines() == [f"index{comma}prediction", *lines]
    assert f"wrote {ROWS} labels" in capsys.readouterr().err


def test_without_out_the_labels_go_to_standard_output(
    finished: tuple[Record, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, results = finished
    file = write(tmp_path / "new.tsv", test_rows(record.task).take([0, 1]))
    assert run_command(["predict", record.run_id, str(file), "--results", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "index\tprediction" and [line.split("\t")[0] for line in lines[1:]] == ["0", "1"]


def test_every_line_gets_an_answer_or_is_named(
    finished: tuple[Record, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, results = finished
    fields = task_named(record.task).text_fields
    header, row = "\t".join(fields), "\t".join("a fine film" for _ in fields)
    file = tmp_path / "new.tsv"
    file.write_text(f"{header}\n{row}\n\n{row}\n\n")
    status = run_command(["predict", record.run_id, str(file), "--results", str(results)])
    printed = capsys.readouterr()
    if len(fields) == 1:
        assert status == 0
        answers = [line.split("\t") for line in printed.out.splitlines()[1:]]
        assert [number for number, _ in answers] == ["0", "1", "2", "3"]
        assert answers[0][1] == answers[2][1] and answers[1][1] == answers[3][1]
        assert "2 of 4 rows have an empty sentence; they are labelled, too" in printed.err
    else:
        assert status == 2 and "new.tsv, line 3: empty; a row here has 2 fields" in printed.err
        assert printed.out == ""


def test_a_loaded_run_holds_what_was_saved(finished: tuple[Record, Path]) -> None:
    record, results = finished
    loaded = load_run(record.run_id, results)
    assert (loaded.run_id, loaded.task.name) == (record.run_id, record.task)
    again = petbench.load(results / "runs" / record.run_id)
    assert not again.model.training
    for name, tensor in loaded.tuned.state().items():
        assert torch.equal(again.state()[name], tensor)
    assert record.params is not None
    trained = sum(p.numel() for n, p in again.model.named_parameters() if n in again.trained_names)
    assert trained == record.params.trainable


def test_mistakes_are_said_before_the_model_is_loaded(
    finished: tuple[Record, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, results = finished
    folder = str(results / "runs" / record.run_id)
    (tmp_path / "new.tsv").write_text("text\nhello\n")
    assert run_command(["predict", folder, str(tmp_path / "new.tsv")]) == 2
    field = task_named(record.task).text_fields[0]
    assert f"no column '{field}'; there: text. {record.task} needs" in capsys.readouterr().err
    assert run_command(["predict", folder, str(tmp_path / "new.tsv"), "--out", "labels.xlsx"]) == 2
    assert "--out: ending '.xlsx'. Legal: .tsv, .csv, .jsonl." in capsys.readouterr().err
    assert run_command(["predict", "nowhere", str(tmp_path / "new.tsv"), "--results", str(results)]) == 2
    assert "no trained run at 'nowhere'" in capsys.readouterr().err


def test_another_backbone_is_refused(finished: tuple[Record, Path], tmp_path: Path) -> None:
    record, results = finished
    source = results / "runs" / record.run_id / "adapter"
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["backbone_digest"] = "0123456789abcdef"
    write_adapter_config(tmp_path / "adapter_config.json", config)
    with pytest.raises(UserError, match=r"trained on other weights of 'tiny_.*0123456789ab in training"):
        load_run(tmp_path)
