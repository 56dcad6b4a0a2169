"""Every task trains in both forms and ends in a zip: on toy rows, and on real rows where they are there."""

import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from petbench.adapters.registry import spec_of
from petbench.commands.submit import submit_main
from petbench.compose.expand import expand
from petbench.config.sections import DataSpec, TaskSpec
from petbench.config.spec import RunSpec, parse
from petbench.errors import UserError
from petbench.inference.ask import answerer_of, replies
from petbench.models.load import load
from petbench.record import Record
from petbench.tasks.encode.encode import encode
from petbench.tasks.glue import TASKS, task_named
from petbench.tasks.rows.load import load_splits
from petbench.tasks.submission.check import check_submission
from petbench.training.prepare import prepare
from petbench.training.run import run

GLUE = Path(__file__).resolve().parents[3] / "shared" / "glue"
MODELS = {"head": "tiny_bert", "text": "tiny_t5"}
TRAINABLE = [name for name, task in TASKS.items() if task.train]
ROWS = 16  # of toy validation and test splits
QUICK = (
    "adapter=lora", "trainer.max_steps=2", "trainer.batch_size=8", "trainer.progress=off", "logger=none",
    "trainer.precision=fp32", "task.max_length=48",
)  # fmt: skip


@cache
def spec(*overrides: str) -> RunSpec:
    (member,) = expand([*QUICK, *overrides])
    return parse(member.values, spec_of)


@pytest.fixture(scope="module")
def toy_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Record]]:
    """Form -> a run of every task with train rows, whose test rows are predicted."""
    results = tmp_path_factory.mktemp("results")
    size = (f"data.toy_validation={ROWS}", "data.toy_train=48")
    return {
        form: [
            run(prepare(spec(f"task={name}", f"model={model}", "data=toy", "protocol=glue_test", *size,
                     f"results_dir={results}", f"cache_dir={results / 'cache'}")))
            for name in TRAINABLE
        ]
        for form, model in MODELS.items()
    }  # fmt: skip


@pytest.mark.parametrize("form", list(MODELS))
@pytest.mark.parametrize("place", range(len(TRAINABLE)), ids=TRAINABLE)
def test_a_task_trains_on_toy_rows(toy_runs: dict[str, list[Record]], form: str, place: int) -> None:
    record = toy_runs[form][place]
    task = task_named(TRAINABLE[place])
    assert (record.status, record.task, record.config["task"]["form"]) == ("done", task.name, "auto")
    assert record.headline is not None and record.headline.name == task.headline
    assert record.headline.n == ROWS and -1 <= record.headline.value <= 1
    assert set(record.metrics.report) == set(task.validation)
    assert record.curve[-1].step == 2 and record.curve[-1].loss > 0
    assert not record.metrics.unparsable  # scoring always gives a legal label


@pytest.mark.parametrize("form", list(MODELS))
def test_toy_runs_make_a_zip_that_the_checker_takes(
    toy_runs: dict[str, list[Record]], form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [record.run_id for record in toy_runs[form] if record.task != "wnli"]
    results = toy_runs[form][0].config["results_dir"]
    target = tmp_path / "glue.zip"
    assert submit_main([*runs, "--results", results, "--out", str(target)]) == 0
    said = capsys.readouterr().out
    assert f"WNLI: no run was given; all {ROWS} rows get the majority class of its train rows (0)." in said
    assert "Generated rows (data=toy)" in said
    counts = {stem: ROWS for task in TASKS.values() for stem in task.glue.files.values()}
    assert check_submission(target, counts) == []
    assert "CoLA.tsv: 16 rows, expected 1063" in check_submission(target)
    assert submit_main(["--check", str(target), *runs, "--results", results]) == 0
    assert submit_main(["--check", str(target)]) == 1
    with zipfile.ZipFile(target) as archive:
        assert len(archive.namelist()) == 11
        assert archive.read("WNLI.tsv").decode().splitlines()[:2] == ["index\tprediction", "0\t0"]
        ax = archive.read("AX.tsv").decode().splitlines()
        mnli = next(r for r in toy_runs[form] if r.task == "mnli")
    made = Path(results) / "runs" / mnli.run_id / "predictions" / "predict-ax.jsonl"
    first: Any = json.loads(made.read_text().splitlines()[0])
    assert ax[1] == f"0\t{task_named('ax').labels[first['prediction']]}"


def test_ax_is_refused_for_training() -> None:
    with pytest.raises(UserError, match="train on mnli"):
        run(prepare(spec("task=ax", "model=tiny_bert", "data=toy")))


real = pytest.mark.skipif(not GLUE.is_dir(), reason=f"the real rows are not in {GLUE}")


@real
@pytest.mark.parametrize("form", list(MODELS))
@pytest.mark.parametrize("name", ["cola", "sst2", "mrpc", "stsb", "rte", "wnli"])
def test_a_task_trains_on_real_rows(name: str, form: str, tmp_path: Path) -> None:
    record = run(prepare(
        spec(f"task={name}", f"model={MODELS[form]}", "data=local", f"data.dir={GLUE}", f"results_dir={tmp_path}",
             f"cache_dir={tmp_path}", "data.max_train_examples=32", "protocol.selection_max=32")
    ))  # fmt: skip
    assert record.status == "done" and record.headline is not None
    assert record.headline.n == task_named(name).rows["validation"]
    assert record.provenance.data.source == "local" and not record.provenance.data.partial


@real
@pytest.mark.parametrize("form", list(MODELS))
@pytest.mark.parametrize(
    ("name", "split"), [("ax", "test"), ("qnli", "validation"), ("mnli", "validation_matched")]
)
def test_a_task_without_train_rows_there_is_answered(
    name: str, split: str, form: str, tmp_path: Path
) -> None:
    task, rows = (
        task_named(name),
        load_splits(task_named(name), DataSpec(source="local", dir=str(GLUE))).part(split),
    )
    asked = spec("task=rte", f"model={MODELS[form]}").model_copy(update={"task": TaskSpec(name=name)})
    backbone = load(asked.model, form, task.num_labels, task.regression, 0)  # type: ignore[arg-type]
    few = rows.take(range(24))
    encoded = encode(few, task, asked.task, backbone.form, backbone.tokenizer, tmp_path)
    answerer = answerer_of(asked, task, backbone.form, backbone.tokenizer, backbone.layout.head_modules)
    found = replies(
        Accelerator(cpu=True), backbone.model, encoded, answerer, 8, backbone.tokenizer.pad_token_id
    )
    assert len(found) == 24 and {reply.answer for reply in found} <= set(range(len(task.labels)))
