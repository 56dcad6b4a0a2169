"""One run with `logger=wandb`: the same numbers in W&B's file, in metrics.jsonl and in the record."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wandb_reader import history, latest, offline_file


def train(place: Path, *words: str) -> list[Path]:
    """The folders of tiny runs that were logged offline."""
    fixed = "adapter=krona task=rte model=tiny_bert data=toy trainer=smoke logger=wandb trainer.log_every=1"
    done = petbench(place, "train", *fixed.split(), *words)
    assert done.stderr.count("no API key, so offline") == 1
    return sorted(place.glob("results/runs/*"))


def petbench(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command without a key for W&B."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    clean |= {"HOME": str(place), "WANDB_ERROR_REPORTING": "false", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("petbench")), *words],
        capture_output=True,
        text=True,
        cwd=place,
        env=clean,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run."""
    (run,) = train(tmp_path_factory.mktemp("logged"), "logger.tags=[mine]")
    return run


def test_wandb_file_and_record_agree(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    records = offline_file(folder)
    (run,) = [item.run for item in records if item.WhichOneof("record_type") == "run"]
    assert run.run_id == record["run_id"] == folder.name
    assert {"krona", "rte", "mine", record["model"]} == set(run.tags)
    assert run.job_type == "train"
    summary = latest(records, "summary")
    assert summary["score"] == record["headline"]["value"]
    assert summary["tuned_params"] == record["params"]["tuned"]
    assert summary["tuned_percent"] == record["params"]["tuned_percent"]
    assert summary["step_seconds"] == record["cost"]["step_seconds_median"]
    assert summary["peak_memory_bytes"] == record["cost"]["peak_memory_bytes"]
    assert summary["status"] == record["status"] == "done"
    assert summary["selection_score"] == record["metrics"]["selection"]["accuracy"]
    assert summary["report/validation/accuracy"] == record["metrics"]["report"]["validation"]["accuracy"]
    assert summary["majority"] == record["provenance"]["data"]["majority"]["validation"]
    assert summary["collapsed"] is bool(record["metrics"]["constant"])
    assert (summary["best_step"], summary["precision"]) == (
        record["best"]["step"],
        record["provenance"]["precision"],
    )
    assert summary["time_to_best_seconds"] == record["cost"]["time_to_best_seconds"]
    scores = [row["selection/score"] for row in history(records) if "selection/score" in row]
    assert max(scores) == summary["selection_score"] and len(scores) == len(record["curve"])
    metrics = [item.metric for item in records if item.WhichOneof("record_type") == "metric"]
    (aim,) = [metric for metric in metrics if metric.name == "selection/score"]
    assert aim.summary.max and aim.step_metric == "step"
    config = latest(records, "config")
    shorts = (config["method"], config["task"], config["lr"], config["run_id"])
    assert shorts == ("krona", "rte", config["optim/lr"], folder.name)
    assert "targets=query+value" in config["setting"]
    assert not [
        key for key in config if key.startswith(("logger", "results_dir", "model/known", "trainer/device"))
    ]
    assert config["optim/lr"] == record["config"]["optim"]["lr"]
    assert config["adapter/method"] == "krona"
    assert record["wandb"]["mode"] == "offline"
    assert record["wandb"]["path"].endswith(record["run_id"])


def test_wandb_file_and_metrics_file_agree(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in history(offline_file(folder)) if "step" in row and "seconds" in row]
    assert len(lines) == len(rows) >= 2
    for line, row in zip(lines, rows, strict=True):
        assert (row["step"], row["epoch"]) == (line["step"], line["epoch"])
        assert {key: row[key] for key in line["values"]} == line["values"]


def test_score_table_holds_the_records_metrics(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    tables = [
        json.loads(path.read_text()) for path in folder.glob("wandb/offline-run-*/files/media/table/*.json")
    ]
    (scores,) = [table for table in tables if "metric" in table["columns"]]
    (counts,) = [table for table in tables if "adapter" in table["columns"]]
    found = {(rows, metric): value for rows, metric, value in scores["data"]}
    for name, values in record["metrics"]["report"].items():
        for metric, value in values.items():
            assert found[(f"report/{name}", metric)] == value
    assert dict(zip(counts["columns"], counts["data"][0], strict=True)) == record["params"]


def test_the_predictions_and_wandbs_own_matrix_are_the_runs_answers(folder: Path) -> None:
    paths = folder.glob("wandb/offline-run-*/files/media/table/**/*.json")
    tables = [json.loads(path.read_text()) for path in paths]
    (said,) = [table["data"] for table in tables if table["columns"] == ["idx", "label", "answer"]]
    lines = [json.loads(line) for line in next(folder.glob("predictions/report*")).read_text().splitlines()]
    names = ["entailment", "not_entailment"]
    assert said == [[line["idx"], names[line["label"]], names[line["prediction"]]] for line in lines]
    (counts,) = [
        table["data"] for table in tables if table["columns"] == ["Actual", "Predicted", "nPredictions"]
    ]
    right = sum(count for actual, answer, count in counts if actual == answer)
    assert right == sum(line["label"] == line["prediction"] for line in lines)


def test_pictures_are_in_the_runs_folder_and_in_wandb(folder: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    rows = history(offline_file(folder))
    for name in ("learning_curve", "confusion_matrix"):
        (image,) = [row for row in rows if any(key.startswith(name) for key in row)]
        (sent,) = folder.glob(f"wandb/offline-run-*/files/media/images/{name}_*.png")
        assert sent.read_bytes() == (folder / "plots" / f"{name}.png").read_bytes()
        assert sent.name in json.dumps(image)


def test_the_report_in_wandb_holds_the_records_numbers(folder: Path) -> None:
    place = folder.parents[2]
    said = petbench(place, "report", "--wandb", "team/lab").stdout
    (logged,) = place.glob("results/reports/*")
    assert f"W&B: team/lab/{logged.name} (offline)" in said
    records = offline_file(logged)
    (run,) = [item.run for item in records if item.WhichOneof("record_type") == "run"]
    assert (run.run_id, run.job_type, run.project) == (logged.name, "report", "lab")
    summary = latest(records, "summary")
    assert (summary["runs"], summary["tables"], summary["status"]) == (1, 1, "done")
    (path,) = logged.glob("wandb/offline-run-*/files/media/table/*.json")
    table = json.loads(path.read_text())
    (line,) = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    (row,) = csv.DictReader((place / "results/report/tables.csv").open())
    record = json.loads((folder / "record.json").read_text())
    assert line["mean"] == float(row["mean"]) == pytest.approx(record["headline"]["value"], rel=1e-7)
    assert line["tuned_params"] == float(row["tuned_params"]) == record["params"]["tuned"]
    assert (line["run_ids"], line["seeds"], line["std"]) == (record["run_id"], "0", None)
    plots = {path.stem for path in (place / "results/report/plots").glob("*.png")}
    sent = {path.stem for path in logged.glob("wandb/offline-run-*/files/media/images/plots/*.png")}
    assert {name.rsplit("_", 2)[0] for name in sent} == plots != set()


def test_the_members_of_a_sweep_share_a_group(tmp_path: Path) -> None:
    groups, cells = set(), set()
    for folder in (folders := train(tmp_path, "-m", "seed=0,1", "tuning={role:trial}")):
        (run,) = [item.run for item in offline_file(folder) if item.WhichOneof("record_type") == "run"]
        groups.add(run.run_group)
        assert run.job_type == "trial"
        cells.add(latest(offline_file(folder), "config")["cell"])
    assert len(folders) == 2 and len(cells) == 1
    assert len(groups) == 1
    assert groups.pop().startswith("20")  # no preset was chosen: the time it began
