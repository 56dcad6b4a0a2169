"""Expected best of k trials in the report: table, file, page and plot; what failed has its price."""

import csv
import json
from pathlib import Path

import pytest

from petbench.cli import run_command
from petbench.record import Record, write_record
from petbench.report.budgets import searched
from petbench.report.figures import files as plots
from petbench.report.tables import build
from petbench.report.views import payload
from petbench.report.writers.markdown import to_markdown


def trial(make, score: float | None, lr: float, seconds: float = 60.0, adapter: str = "lora") -> Record:
    """A trial with its selection score; None: it failed."""
    status = "failed" if score is None else "done"
    run = make(adapter, seed=1000, lr=lr, status=status, value=0.1, provenance={"tuning": {"role": "trial"}})
    cost = run.cost.model_copy(update={"train_seconds": seconds, "eval_seconds": None})
    metrics = run.metrics.model_copy(update={"selection": {} if score is None else {"accuracy": score}})
    return run.model_copy(update={"cost": cost, "metrics": metrics})


def trials(make) -> list[Record]:
    scores = [0.6, 0.8, None, 0.7]
    found = [trial(make, score, 10.0**-k, 60.0 * (k + 1)) for k, score in enumerate(scores)]
    return [*found, make("lora", value=0.75), make("krona", value=0.7)]


def test_a_failed_trial_scores_as_the_worst_and_costs_its_time(make) -> None:
    (found,) = searched(trials(make))
    assert (found.method, found.task, found.failed, len(found.budgets)) == ("lora", "rte", 1, 4)
    # In order: 0.6 (failed), 0.6, 0.7, 0.8. Best of one: the mean; of two: Σ x·((i/4)² − ((i−1)/4)²).
    assert found.budgets[0].score == pytest.approx(0.675)
    assert found.budgets[1].score == pytest.approx((0.6 * 1 + 0.6 * 3 + 0.7 * 5 + 0.8 * 7) / 16)
    assert [each.seconds for each in found.budgets] == pytest.approx([150.0 * k for k in (1, 2, 3, 4)])
    assert [each.trials for each in found.shown()] == [1, 2, 4]


def test_what_is_no_search_is_not_there(make) -> None:
    assert searched([make("lora"), make("krona")]) == ()
    assert searched([trial(make, 0.6, 1e-3), make("lora")]) == ()  # one trial is not a choice
    assert searched([trial(make, None, 1e-3), trial(make, None, 1e-2)]) == ()
    two = searched(
        [*(trial(make, 0.5, lr) for lr in (1, 2)), *(trial(make, 0.6, lr, 1.0, "krona") for lr in (1, 2))]
    )
    assert [each.method for each in two] == ["krona", "lora"]


def test_the_report_has_the_table_its_file_and_the_check(make, tmp_path: Path, capsys) -> None:
    for record in trials(make):
        write_record(record, tmp_path)
    assert run_command(["report", str(tmp_path), "--tables-only"]) == 0
    assert "Expected best of k trials" in capsys.readouterr().out
    text = (tmp_path / "report" / "tables.md").read_text()
    assert "| method | task (metric) | model, protocol | trials | k = 1 | k = 2 | k = 4 |" in text
    assert (
        "| lora | rte (accuracy) | minilm, petbench | 4, 1 failed | 67.5 (2.5 min) | 71.9 (5.0 min) |" in text
    )
    lines = list(csv.DictReader((tmp_path / "report" / "tuning.csv").open()))
    assert [(line["k"], line["trials"], line["failed"]) for line in lines] == [
        (str(k), "4", "1") for k in (1, 2, 3, 4)
    ]
    assert float(lines[1]["expected_best"]) == pytest.approx(0.71875)
    assert float(lines[3]["seconds"]) == 600
    assert run_command(["report", str(tmp_path), "--check"]) == 0
    assert "Expected best" not in to_markdown(build([make("lora"), make("krona")]))


def test_page_and_plot_draw_it(make, tmp_path: Path) -> None:
    records = trials(make)
    data = payload(build(records), records)
    (line,) = data["budgets"]
    assert (line["method"], line["task"], line["tables"]) == ("lora", "rte", (0,))
    assert [(p["x"], p["n"], p["seconds"]) for p in line["points"]] == [
        (k, 4, 150.0 * k) for k in (1, 2, 3, 4)
    ]
    assert [p["y"] for p in line["points"]] == pytest.approx([67.5, 71.875, 74.53125, 76.2109375])
    json.dumps(data)
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    written = plots.write_plots(build(records), records, tmp_path)
    assert {"tuning_budget.png", "tuning_budget.svg"} <= {path.name for path in written}
    assert "tuning trials" in (tmp_path / "tuning_budget.svg").read_text()
