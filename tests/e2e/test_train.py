"""`petbench train` from the command line to the record: what is written, what is printed, what a run id means."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from petbench.cli import run_command
from petbench.console import shown
from petbench.inference.ask import head_answerer, replies
from petbench.record import Record, read_answers, read_record
from petbench.tasks.encode.encode import encode
from petbench.tasks.glue import task_named
from petbench.tasks.metrics import score
from petbench.training.prepare import rows_of
from petbench.tuned.load import load_run
from toy_runs import BASE, adapter_file, train


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder with a token cache of its own; one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def predictions(record: Record, part: str) -> list[dict[str, Any]]:
    path = Path("results/runs", record.run_id, "predictions", f"{part}.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_writes_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    record = train("adapter=krona", "trainer.max_steps=24", "trainer.eval_every=8")
    folder = Path("results/runs", record.run_id)
    text = capsys.readouterr().out
    assert record.status == "done"
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "adapter", "answers.npz", "config.yaml", "metrics.jsonl", "predictions", "record.json", "row_ids.json",
    }  # fmt: skip

    # Scores are those of the answers on disk.
    task = task_named("rte")
    for part, metrics in {
        "selection": record.metrics.selection,
        "report-validation": record.metrics.report["validation"],
    }.items():
        lines = predictions(record, part)
        again, _ = score(task, [line["prediction"] for line in lines], [line["label"] for line in lines])
        assert again == metrics
    assert record.headline is not None
    assert record.headline.value == record.metrics.report["validation"]["accuracy"]
    assert record.headline.n == len(predictions(record, "report-validation")) == 128

    # The kept answers are the reported ones, row by row, with what the head said of each class.
    kept, lines = read_answers(folder, "validation"), predictions(record, "report-validation")
    assert kept is not None and kept.logits is not None
    assert kept.ids.tolist() == [line["idx"] for line in lines]
    assert kept.answers.tolist() == [line["prediction"] for line in lines]
    assert kept.labels.tolist() == [line["label"] for line in lines]
    assert kept.logits.dtype == "float16" and kept.logits.shape == (128, 2)
    assert (
        kept.logits.astype("float32").argmax(axis=1) == kept.answers
    ).mean() > 0.97  # ties of half precision
    assert (folder / "answers.npz").stat().st_size < 4096

    # Rows: nobody selects on what is trained on or reported.
    ids = json.loads((folder / "row_ids.json").read_text())["idx"]
    assert not set(ids["train"]) & set(ids["selection"])
    assert [line["idx"] for line in predictions(record, "selection")] == ids["selection"]
    assert len(ids["train"]) + len(ids["selection"]) == 512

    # Counts add up and are those of the file.
    params = record.params
    assert params is not None
    assert params.trainable == params.adapter + params.head + params.norm + params.other == 578
    saved = load_file(adapter_file(record))
    assert sum(tensor.numel() for tensor in saved.values()) == params.trainable
    assert record.cost.adapter_bytes == adapter_file(record).stat().st_size

    # The curve: an evaluation every 8 steps, and the best of them is what is reported.
    assert [point.step for point in record.curve] == [8, 16, 24]
    best = max(record.curve, key=lambda point: (point.score, -point.step))
    assert record.best is not None
    assert record.best.step == best.step
    assert record.metrics.selection["accuracy"] == best.score
    assert record.best.epoch == pytest.approx(best.step / math.ceil(len(ids["train"]) / 32))

    # Cost: all measured, and consistent with each other.
    cost = record.cost
    assert cost.step_seconds_median is not None
    assert cost.train_seconds is not None
    assert cost.examples_per_second is not None
    # One epoch of 15 batches, 461 rows, and 9 batches more, of which one may be the short one of 13.
    assert round(cost.examples_per_second * cost.train_seconds) in (461 + 9 * 32, 461 + 8 * 32 + 13)
    assert cost.time_to_best_seconds is not None
    assert 0 < cost.time_to_best_seconds <= cost.train_seconds
    assert 0 < (cost.padding_fraction or 0) < 0.5
    assert (cost.peak_memory_bytes or 0) > 50e6
    assert record.merge is not None
    assert record.merge.mergeable
    assert (record.merge.max_abs_logit_change or 1) < 1e-4

    # Where it came from.
    facts = record.provenance
    assert facts.data.source == "toy" and record.is_toy
    assert facts.marks == ("toy rows",)
    assert facts.precision == record.precision == "fp32"
    assert facts.rows == {"train": 461, "selection": 51, "report/validation": 128}
    assert facts.versions["torch"] == torch.__version__
    assert record.date is not None and abs((datetime.now(UTC) - record.date).total_seconds()) < 600
    assert record.selection_score == record.metrics.selection[record.headline.name]
    assert not record.is_trial and record.wandb is None
    assert record.config["optim"]["lr"] == 5e-3
    assert record.schema_version == 1

    # What a person sees.
    first, second, third, *_ = text.splitlines()
    assert first.startswith(
        "petbench train: krona on rte with tiny_bert (data toy, protocol petbench, seed 0, 24 steps)"
    )
    rows = "rows 461 train, 51 selection, 128 report validation"
    assert second == f"run {record.run_id}: {rows}; 24 steps of 32; cpu, fp32"
    assert third == "The rows are generated (data=toy): scores say nothing about GLUE."
    assert "Parameters: krona on tiny_bert\n" in text
    assert "Scores: rte, protocol petbench (toy rows)\n" in text
    assert f"{record.headline.value:.4f}" in text
    report, selection = 100 * record.headline.value, 100 * record.metrics.selection["accuracy"]
    assert (
        f"krona on rte: accuracy {report:.1f} on 128 report rows (validation), {selection:.1f} on 51 selection rows\n"
        f"best at step {best.step:.0f} (epoch {record.best.epoch:.2f}); " in text
    )
    assert "peak memory " in text and "; fp32 on " in text
    assert text.splitlines()[-3:] == [
        f"run folder: results/runs/{record.run_id}",
        "next: petbench report  (tables of all runs there)",
        f"      petbench predict {record.run_id} FILE  (label new text)",
    ]


def test_a_finished_adapter_gives_its_answers_again() -> None:
    """STS-B: the answers are the head's own numbers."""
    record = train("adapter=krona", "task=stsb", "trainer.max_steps=10")
    loaded = load_run(record.run_id)
    report = rows_of(loaded.spec)[1].report["validation"]
    encoded = encode(report, loaded.task, loaded.spec.task, loaded.backbone.form, loaded.tokenizer)
    pad = loaded.tokenizer.pad_token_id
    answerer = head_answerer(True, loaded.backbone.layout.head_modules)
    said = replies(Accelerator(cpu=True), loaded.tuned.model, encoded, answerer, 64, pad)
    found = [reply.answer for reply in said]
    saved = load_file(adapter_file(record))
    assert all(torch.equal(tensor, saved[name]) for name, tensor in loaded.tuned.state().items())
    assert found == [line["prediction"] for line in predictions(record, "report-validation")]
    assert len(set(found)) > 100


def test_the_same_again_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["adapter=krona", "trainer.max_steps=3"]
    record = train(*words)
    before = {path: path.stat().st_mtime_ns for path in Path("results/runs").rglob("*")}
    capsys.readouterr()
    # Another place of the logs, another progress bar: the same run.
    again = train(*words, "logger=none", "trainer.progress=off", "trainer.log_every=1")
    assert again == record
    assert {path: path.stat().st_mtime_ns for path in Path("results/runs").rglob("*")} == before
    text = capsys.readouterr().out
    assert f"{record.run_id} is done already (krona, rte, seed 0): nothing to run." in text
    assert "Scores: rte" in text  # its tables all the same


def test_equal_seeds_give_equal_bytes_and_another_seed_another_run() -> None:
    words = ["adapter=krona", "trainer.max_steps=6"]
    first, again = train(*words), train(*words, results="again")
    other = train(*words, "seed=1", results="other")
    assert again.run_id == first.run_id
    assert adapter_file(again, "again").read_bytes() == adapter_file(first).read_bytes()
    assert again.metrics == first.metrics
    assert other.run_id != first.run_id
    assert adapter_file(other, "other").read_bytes() != adapter_file(first).read_bytes()


def test_a_run_can_start_from_another(tmp_path: Path) -> None:
    first = train("adapter=krona", "trainer.max_steps=6", results="first")
    second = train(
        "adapter=krona", "trainer.max_steps=1", "optim.lr=1e-12", "task=mrpc",
        f"init_from={tmp_path}/first/runs/{first.run_id}", results="second",
    )  # fmt: skip
    one, two = load_file(adapter_file(first, "first")), load_file(adapter_file(second, "second"))
    assert all(torch.allclose(one[name], two[name], atol=1e-9) for name in one)
    assert second.config["init_from"].endswith(first.run_id)


def test_t5_answers_in_text() -> None:
    record = train("adapter=krona", "model=tiny_t5", "trainer.max_steps=6")
    assert record.params is not None
    assert record.params.head == 0
    assert {line["prediction"] for line in predictions(record, "selection")} <= {0, 1}
    assert not record.metrics.unparsable  # scored label strings are always labels


def test_a_diverged_run_says_so_and_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    record = train("adapter=krona", "optim.lr=1e30", "trainer.max_steps=40", status=1)
    assert record.status == "diverged"
    assert record.reason is not None
    assert record.reason.startswith("the loss became nan between steps")
    assert record.headline is None
    assert record.params is not None
    error = capsys.readouterr().err
    assert error.startswith("error: the loss became nan between steps")
    assert "Try a smaller optim.lr" in error
    assert "Traceback" not in error


def test_a_failed_run_keeps_its_trace_and_can_be_tried_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["adapter=krona", "trainer.max_steps=3"]
    with monkeypatch.context() as patch:
        patch.setattr("petbench.training.fit.make_optimizer", lambda *_: 1 / 0)
        record = train(*words, status=1)
    assert (record.status, record.reason) == ("failed", "ZeroDivisionError: division by zero")
    trace = Path("results/runs", record.run_id, "error.txt")
    assert "ZeroDivisionError" in trace.read_text()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"error: run {record.run_id} failed: ZeroDivisionError: division by zero (trace: " in error
    assert run_command([*BASE, *words, "results_dir=results", "retry=false"]) == 1
    assert "retry=false does not try it again" in capsys.readouterr().err
    again = train(*words)
    assert again.status == "done"
    assert not trace.exists()


def test_a_plan_prints_and_writes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command([*BASE, "adapter=lora", "budget.params=1000", "plan=true"]) == 0
    text = capsys.readouterr().out
    assert "budget 1,000: lora rank=3" in text
    assert "Plan: lora on tiny_bert, 4 sites\n" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["[/]", "[bold]x", ":smile:", "\x1b[31mred", "=1+1", "<b>"])
def test_a_name_is_text_from_the_command_line_to_the_record(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = train("adapter=krona", f"adapter.name='{name}'", "trainer.max_steps=1")
    assert (record.status, record.adapter) == ("done", name)
    printed = capsys.readouterr().out
    assert printed.count(shown(name)) >= 2 and "\x1b" not in printed
    assert run_command(["report", "results", "--tables-only"]) == 0
    assert shown(name) in capsys.readouterr().out


def test_a_folder_is_made_where_it_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the one that Hydra itself makes for a sweep."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for text in ("~/r", "lr=1e-3", "res (1)", "übung"):
        words = [*BASE, "adapter=krona", "trainer.max_steps=1", f"results_dir={text}"]
        assert run_command(words if text != "~/r" else ["train", "-m", *words[1:]]) == 0
        folder = tmp_path / "home" / "r" if text == "~/r" else Path(text)
        assert len(list(folder.glob("runs/*/record.json"))) == 1
    assert not Path("~").exists()


def test_a_cut_of_train_is_marked() -> None:
    record = train("adapter=krona", "trainer.max_steps=1", "data.max_train_examples=100")
    assert "at most 100 train rows" in record.provenance.marks
    assert record.provenance.rows["train"] == 100


def test_a_broken_record_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*BASE, "adapter=krona", "trainer.max_steps=2"]) == 0
    (path,) = Path("results/runs").glob("*/record.json")
    path.write_text(path.read_text()[:200])
    capsys.readouterr()
    assert run_command([*BASE, "adapter=krona", "trainer.max_steps=2"]) == 2
    assert "is not a petbench record" in capsys.readouterr().err


def test_a_broken_resume_state_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        *BASE,
        "adapter=krona",
        "trainer.max_steps=4",
        "trainer.eval_every=2",
        "trainer.keep_resume_state=true",
    ]
    assert run_command(words) == 0
    (folder,) = Path("results/runs").iterdir()
    (folder / "record.json").unlink()
    state = folder / "resume.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    capsys.readouterr()
    assert run_command(words) == 0  # begun afresh
    assert "resume.safetensors" in capsys.readouterr().err
    record = read_record(folder)
    assert record is not None
    assert record.status == "done"
