"""The page as a file: whole, self-contained, and with the report's own numbers."""

import json
import re

import pytest

from petbench.plot_style import PALETTE, YARDSTICK_LOOKS
from petbench.record import Point
from petbench.report.page.page import SCRIPTS, embedded, render, write_page
from petbench.report.tables import build
from petbench.report.views import payload

SEEDS = range(3)


def _curve(top: float, points: int = 10) -> tuple[Point, ...]:
    return tuple(
        Point(step=10 * k, epoch=k / 2, seconds=1.5 * k, loss=1 / k, score=top * k / points)
        for k in range(1, points + 1)
    )


@pytest.fixture
def records(make):
    """Two methods on two tasks, 3 seeds; one failed, one collapsed run."""
    out = [
        make(adapter, task, seed, base + seed / 100, step_seconds=0.25)
        for adapter, base in (("krona", 0.70), ("lora", 0.60))
        for task in ("rte", "mrpc")
        for seed in SEEDS
    ]
    out += [make("krona", "rte", 3, status="failed"), make("lora", "cola", 0, 0.0)]
    return [record.model_copy(update={"curve": _curve(0.7)}) for record in out]


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def cell_of(data: dict, method: str, task: str) -> dict:
    (cell,) = [c for c in data["cells"] if (c["method"], c["task"]) == (method, task)]
    return cell


def test_the_reports_numbers_are_in_the_page(records) -> None:
    report = build(records)
    data = data_of(render(report, records))
    cell = cell_of(data, "krona", "rte")
    assert (cell["mean"], cell["n"], cell["failed"]) == (71.0, 3, 1)
    assert cell["std"] == pytest.approx(1.0)
    assert cell["seeds"] == [[0, 70.0], [1, 71.0], [2, 72.0]]
    assert cell["step"] == 0.25
    (row,) = [r for r in data["tables"][0]["rows"] if r["method"] == "lora"]
    (theirs,) = [r for r in report.tables[0].rows if r.adapter == "lora"]
    assert row["average"] == pytest.approx(100 * theirs.average.summary.mean, abs=1e-3)
    assert data["tables"][0]["formula"] == report.tables[0].formula
    assert set(report.tables[0].notes) == set(data["tables"][0]["notes"])


def test_numbers_reach_the_page_unrounded(make) -> None:
    """81.2495 is 81.2 and, rounded to 81.25 on the way, would be 81.3; costs and curves likewise."""
    score = 0.81249999
    made = [make(seed=seed, value=score, step_seconds=0.0123449999) for seed in SEEDS]
    curve = (Point(step=1, epoch=0.5, seconds=1.2344999, loss=0.12349999, score=score),) * 2
    made = [record.model_copy(update={"curve": curve}) for record in made]
    data = data_of(render(build(made), made))
    (cell,) = data["cells"]
    (row,) = data["tables"][0]["rows"]
    assert cell["mean"] == pytest.approx(100 * score, rel=1e-15)
    assert cell["seeds"] == [[seed, 100 * score] for seed in SEEDS]
    assert (cell["step"], row["step"]) == (0.0123449999, 0.0123449999)
    assert row["tuned_percent"] == made[0].params.tuned_percent
    assert data["runs"]["score"] == [100 * score] * 3
    (drawn, *_) = cell["curves"]
    assert (drawn["y"][0], drawn["t"][0], drawn["l"][0]) == (100 * score, 1.2344999, 0.12349999)


def test_runs_without_a_score_are_shown_with_their_reason(records) -> None:
    data = payload(build(records), records)
    place = data["runs"]["status"].index("failed")
    assert data["runs"]["reason"][place] == "made to"
    assert data["runs"]["score"][place] is None
    assert ["1", "failed", True] in data["facts"]
    assert records[-1].collapsed
    assert ["1", "collapsed to one answer", True] in data["facts"]
    assert cell_of(data, "lora", "cola")["seeds"] == [[0, 0.0, 1]]


def test_nothing_is_loaded_from_anywhere(records) -> None:
    page = render(build(records), records)
    assert "http:" not in page and "https:" not in page
    assert not re.search(
        r"<(?:img|iframe|object|embed)\b|@import|url\((?!#)|\bsrc=|\bfetch\(|XMLHttpRequest", page
    )
    assert "default-src 'none'" in page
    assert not re.search(r"@@[A-Z]+@@", page)


def test_markup_in_a_record_stays_text(records) -> None:
    evil = "</script><script>alert(1)</script><!--@@STYLE@@"
    bad = [*records, records[0].model_copy(update={"run_id": "evil", "status": "failed", "reason": evil})]
    page = render(build(bad), bad)
    assert "alert(1)</script>" not in page
    assert page.count("<script") == len(re.findall(r"</script>", page)) == 3
    assert evil in data_of(page)["runs"]["reason"]


def test_embedded_json_refuses_what_is_not_json() -> None:
    assert json.loads(embedded({"a": "<b> \u2028"})) == {"a": "<b> \u2028"}
    with pytest.raises(ValueError, match="JSON"):
        embedded({"a": float("nan")})


def test_equal_input_gives_an_equal_file(records, tmp_path) -> None:
    for name in ("a.html", "b.html"):
        write_page(build(records), records, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_two_thousand_records_stay_under_five_megabytes(make) -> None:
    curve = _curve(0.7, 300)
    made = [
        make(f"method{k % 20}", task, seed, 0.5 + k % 7 / 100).model_copy(update={"curve": curve})
        for k in range(100)
        for task in ("rte", "mrpc", "stsb", "sst2")
        for seed in [k // 20]
    ]
    many = [
        record.model_copy(update={"model": model, "run_id": f"{model}{k}"})
        for model in "abcde"
        for k, record in enumerate(made)
    ]
    assert len(many) == 2000
    page = render(build(many), many)
    assert len(page.encode()) < 5_000_000
    kept = data_of(page)["cells"][0]["curves"][0]["x"]
    assert (kept[0], kept[-1]) == (10, 3000)  # thinned, both ends kept


def test_low_resource_line_meets_the_full_one(make) -> None:
    made = [make("krona", "rte", seed, 0.70) for seed in SEEDS]
    made += [
        make("krona", "rte", seed, value, task_config={"train_examples": cut}, digest=f"d{cut}")
        for cut, value in ((100, 0.5), (1000, 0.6))
        for seed in SEEDS
    ]
    (line,) = payload(build(made), made)["low"]
    assert sorted((p["x"] or 0, p["y"], p["n"]) for p in line["points"]) == [
        (0, pytest.approx(70.0), 3),
        (100, pytest.approx(50.0), 3),
        (1000, pytest.approx(60.0), 3),
    ]
    assert len(line["tables"]) == 2


def test_tuning_curve_reads_selection_scores_and_counts_trials(make) -> None:
    made = []
    for rate, score in ((1e-4, 0.5), (1e-3, 0.8), (1e-2, 0.6)):
        for seed in (0, 1):
            trial = {"tuning": {"role": "trial"}} if rate != 1e-3 else {}
            run = make("lora", "rte", seed, 0.1, lr=rate, provenance={"versions": {}, **trial})
            metrics = run.metrics.model_copy(update={"selection": {"accuracy": score}})
            made.append(run.model_copy(update={"metrics": metrics}))
    (line,) = payload(build(made), made)["tuning"]
    assert [(p["x"], p["y"], p["n"]) for p in line["points"]] == [
        (1e-4, 50.0, 2),
        (1e-3, 80.0, 2),
        (1e-2, 60.0, 2),
    ]
    assert [p["x"] for p in line["points"] if p.get("best")] == [1e-3]


def test_protocol_and_toy_rows_are_in_the_head(make) -> None:
    made = [make(seed=s, source="toy", protocol="glue_dev") for s in SEEDS]
    (table,) = payload(build(made), made)["tables"]
    assert "glue_dev" in table["head"] and "optimistic" in table["head"]
    assert any("TOY" in kind for kind in table["kinds"])


def test_page_and_plot_files_give_a_method_the_same_colour(records) -> None:
    page = render(build(records), records)
    light = page[page.index(":root {") : page.index(':root[data-theme="dark"]')]
    assert tuple(re.findall(r"--c\d: (#\w+);", light)) == PALETTE
    assert re.findall(r"--n\d: (#\w+);", light) == [colour for colour, _ in YARDSTICK_LOOKS.values()]
    assert len(SCRIPTS) == page.count('"use strict";')
