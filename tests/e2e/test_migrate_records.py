"""`scripts/migrate_records.py`: records of the old rules get the ids that the same runs have today."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from model_folders import other_weights, write_model
from petbench.cli import run_command
from petbench.config.spec import parse
from petbench.record import Record, read_records

SCRIPT = Path(__file__).parents[2] / "scripts" / "migrate_records.py"
EXAMPLES = SCRIPT.parents[1] / "results" / "examples"
FEW = ["adapter=krona", "data=toy", "data.toy_train=16", "data.toy_validation=16", "trainer.max_steps=1",
       "trainer.batch_size=8", "trainer.precision=fp32", "trainer.device=cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("migrate_records", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def train(*overrides: str) -> Record:
    """One run; its record."""
    before = {record.run_id for record in read_records("results")}
    assert run_command(["train", *FEW, *overrides]) == 0
    (made,) = (record for record in read_records("results") if record.run_id not in before)
    return made


def made_old(script: ModuleType, record: Record, **changes: Any) -> str:
    """Turn a run's folder into what schema 1 left behind; the old id."""
    folder = Path("results/runs", record.run_id)
    rows = record.provenance.content.rows
    content: dict[str, Any] = record.model_dump(mode="json")
    content["config"] |= changes
    content["run_id"] = old = script.old_id(content["config"], rows)
    del content["provenance"]["content"]
    (folder / "record.json").write_text(json.dumps(content, indent=2) + "\n")
    saved = folder / "adapter/adapter_config.json"
    adapter = json.loads(saved.read_text())
    del adapter["content"]
    saved.write_text(json.dumps(adapter | {"run_id": old}))
    folder.rename(folder.parent / old)
    return str(old)


def test_old_records_get_the_ids_that_these_runs_have(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_model(tmp_path / "m")
    runs = [
        train("task=rte", "model.name=m"),
        train("task=stsb", "model=tiny_t5"),
        train("task=mnli", "model=tiny_bert", "protocol=glue_dev"),
        train("task=sst2", "model=tiny_bert", "protocol=glue_test"),
    ]
    second = train("task=rte", "model=tiny_bert", f"init_from={train('task=mrpc', 'model=tiny_bert').run_id}")
    (first,) = (r for r in read_records("results") if r.task == "mrpc")
    old_start = made_old(script, first)
    ids = {made_old(script, run): run for run in runs}
    ids |= {old_start: first, made_old(script, second, init_from=old_start): second}
    assert not set(ids) & {run.run_id for run in ids.values()}

    planned = script.migrate(Path("results"), dry_run=True)
    assert planned == script.Migrated({old: run.run_id for old, run in ids.items()}, (), {})
    assert {path.name for path in Path("results/runs").iterdir()} == set(ids)  # a dry run
    assert script.migrate(Path("results")) == planned
    assert {record.run_id: record for record in read_records("results")} == {
        r.run_id: r for r in ids.values()
    }
    assert script.migrate(Path("results")) == script.Migrated({}, (), {})  # again: nothing to do

    capsys.readouterr()
    assert run_command(["train", *FEW, "task=rte", "model.name=m"]) == 0
    assert f"{runs[0].run_id} is done already" in capsys.readouterr().out
    from petbench.tuned.load import load_run

    assert load_run(runs[0].run_id).run_id == runs[0].run_id


def test_what_cannot_be_known_stays_and_is_named(script: ModuleType, tmp_path: Path) -> None:
    for name in ("m", "gone"):
        write_model(tmp_path / name)
    replaced = made_old(script, train("task=rte", "model.name=m"))
    gone = made_old(script, train("task=rte", "model.name=gone"))
    failed = made_old(script, train("task=rte", "model=tiny_bert"))
    path = Path("results/runs", failed, "record.json")
    path.write_text(path.read_text().replace('"status": "done"', '"status": "failed"'))
    rows = made_old(script, train("task=stsb", "model=tiny_bert"))
    path = Path("results/runs", rows, "record.json")
    content = json.loads(path.read_text())
    content["provenance"]["data"]["splits"] = {"train": "0" * 64}
    path.write_text(json.dumps(content))
    once = train("task=cola", "model=tiny_bert")
    twice = Path("results/runs/twin")
    shutil.copytree(Path("results/runs", once.run_id), twice)
    other_weights(tmp_path / "m")
    shutil.rmtree(tmp_path / "gone")
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    done = script.migrate(Path("results"))
    left = done.left
    assert (done.moved, done.rewritten) == ({}, ())
    assert "trained on the weights" in left[replaced]
    assert "there is no folder" in left[gone]
    assert left[failed] == "it is failed and does not say what it was made of: run it again"
    assert "its rows cannot be told from its id" in left[rows]
    assert f"is the record of run {once.run_id}, not of this folder" in left["twin"]
    assert {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()} == before


def test_a_record_on_one_line_stays_on_one_line(script: ModuleType) -> None:
    run = train("task=rte", "model=tiny_bert")
    path = Path("results/runs", made_old(script, run), "record.json")
    path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")) + "\n")
    script.migrate(Path("results"))
    text = Path("results/runs", run.run_id, "record.json").read_text()
    assert text.count("\n") == 1 and json.loads(text) == run.model_dump(mode="json")


def test_an_old_record_gets_what_its_predictions_tell(script: ModuleType) -> None:
    """`metrics.constant` from the kept predictions, and the fields of today, under the same id."""
    run = train("task=rte", "model=tiny_bert")
    folder = Path("results/runs", run.run_id)
    raw = json.loads((folder / "record.json").read_text())
    del raw["metrics"]["constant"], raw["date"]
    (folder / "record.json").write_text(json.dumps(raw))
    path = folder / "predictions" / "report-validation.jsonl"
    lines = [json.loads(line) | {"prediction": 1} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert script.migrate(Path("results")) == script.Migrated({}, (run.run_id,), {})
    (now,) = read_records("results")
    assert "validation" in now.metrics.constant and now.collapsed and now.date is None
    assert json.loads((folder / "record.json").read_text()) == now.model_dump(mode="json")
    assert script.migrate(Path("results")) == script.Migrated({}, (), {})


def cost_seconds(seconds: dict[str, tuple[float, float]]) -> None:
    """Write into the records of two trials for each factor shape that they took so long, and into their final run's."""
    left = {shape: list(some) for shape, some in seconds.items()}
    for record in read_records("results"):
        path = Path("results/runs", record.run_id, "record.json")
        raw = json.loads(path.read_text())
        shape = str(raw["config"]["adapter"]["factor_shape"])
        if record.is_trial:
            raw["cost"] |= {"train_seconds": left[shape].pop(), "eval_seconds": 0.0}
        else:
            for tuning in (raw["config"]["tuning"], raw["provenance"]["tuning"]):
                tuning["seconds"] = sum(seconds[shape])
        path.write_text(json.dumps(raw))


def test_a_final_run_gets_what_its_tuning_searched(script: ModuleType) -> None:
    """Two shapes with the same rates tried: each final run finds its own trials, by what these took."""
    sweep = [
        "sweep=tuned",
        "budget_runs=2",
        "final_seeds=1",
        "task=rte",
        "model=tiny_bert",
        "adapter.scale=1",
    ]
    for shape in ("[4,16]", "[8,8]"):
        rates = "adapter.tuning.search={optim.lr:[1e-3,1e-2]}"
        assert run_command(["train", *FEW, *sweep, f"adapter.factor_shape={shape}", rates]) == 0
    cost_seconds({"[4, 16]": (8.0, 1.0), "[8, 8]": (4.0, 2.0)})  # such short runs could take equally long
    finals = {record.run_id: record for record in read_records("results") if not record.is_trial}
    assert len(finals) == 2
    for run_id in finals:
        path = Path("results/runs", run_id, "record.json")
        raw = json.loads(path.read_text())
        for tuning in (raw["config"]["tuning"], raw["provenance"]["tuning"]):
            assert tuning.pop("searched") == ["optim.lr"]
        path.write_text(json.dumps(raw))
    assert script.migrate(Path("results")) == script.Migrated({}, tuple(sorted(finals)), {})
    assert {record.run_id: record for record in read_records("results") if not record.is_trial} == finals
    trials = [record for record in read_records("results") if record.is_trial]
    final = finals[min(finals)]
    note = final.provenance.tuning.model_copy(update={"searched": None})
    old = final.model_copy(update={"provenance": final.provenance.model_copy(update={"tuning": note})})
    assert script.with_searched(old, trials) == final
    own = next(
        t for t in trials if t.config["adapter"]["factor_shape"] == final.config["adapter"]["factor_shape"]
    )
    fewer = [trial for trial in trials if trial is not own]
    assert script.with_searched(old, fewer) == old  # a trial is missing: it cannot be known
    cost_seconds({"[4, 16]": (4.5, 4.5), "[8, 8]": (4.5, 4.5)})
    alike = [record for record in read_records("results") if record.is_trial]
    note = note.model_copy(update={"seconds": 9.0})
    old = final.model_copy(update={"provenance": final.provenance.model_copy(update={"tuning": note})})
    assert script.with_searched(old, alike) == old  # those of one rate took as long as those of one shape


def test_the_committed_records_have_todays_ids() -> None:
    from petbench.adapters.registry import spec_of

    records = list(read_records(EXAMPLES))
    assert len(records) >= 120
    wrong = [
        record.run_id
        for record in records
        if parse(record.config, spec_of).run_id(record.provenance.content.model_dump()) != record.run_id
    ]
    assert not wrong, (
        "the rules of ids changed: python scripts/migrate_records.py results/examples, then the tables"
    )
