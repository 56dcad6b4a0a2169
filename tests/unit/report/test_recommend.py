"""Which method to use: made records with known truth, each limit, and the words when nothing can be told."""

import json
from typing import Any

import pytest

from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.record import Cost, Merge, Record, write_record
from petbench.report.recommend import Answer, Limits, recommend
from petbench.report.sides import no_answers
from petbench.report.tables import build

SEEDS = range(6)
# adapter: tuned parameters (a norm's 5 included), mean score, ms merged, merges. small and middle are equal, full is
# ahead of both, weak is behind all.
METHODS: dict[str, tuple[int, float, float, bool]] = {
    "weak": (105, 0.60, 1.0, True),
    "small": (1005, 0.700, 1.0, True),
    "middle": (5005, 0.701, 2.0, True),
    "large": (50005, 0.702, 4.0, False),
    "full": (90005, 0.80, 1.0, True),
}


def made(
    make: Any, tasks: tuple[str, ...] = ("rte",), names: tuple[str, ...] = tuple(METHODS)
) -> list[Record]:
    records = []
    for name in names:
        params, mean, latency, merges = METHODS[name]
        for task in tasks:
            for seed in SEEDS:
                value = mean + (0.004 if seed % 2 else -0.004)
                record = make(name, task, seed, value, params=params - 5)
                cost = Cost(
                    latency_unmerged_ms=latency, peak_memory_bytes=params * 1000, train_seconds=params / 100
                )
                merge = Merge(mergeable=merges)
                records.append(record.model_copy(update={"cost": cost, "merge": merge}))
    return records


def answer(records: list[Record], **limits: Any) -> Answer:
    (table,) = build(records).tables
    return recommend(table, Limits(**limits), no_answers)


def test_without_limits_the_best_is_told_from_the_rest(make: Any) -> None:
    found = answer(made(make))
    assert found.pick is not None
    assert (found.pick.label, [row.label for row in found.group], found.told) == ("full", ["full"], True)
    assert (found.candidates, found.steps) == (5, ())


@pytest.mark.parametrize(
    ("limits", "pick", "group"),
    [
        ({"params": 60_000}, "small", {"small", "middle", "large"}),
        ({"percent": 6.0}, "small", {"small", "middle"}),
        ({"params": 1004}, "weak", {"weak"}),
        ({"params": 1005}, "small", {"small"}),
        ({"latency_ms": 1.5, "params": 60_000}, "small", {"small"}),
        ({"memory": 6e6}, "small", {"small", "middle"}),
        ({"train_seconds": 500.05}, "small", {"small", "middle", "large"}),
        ({"params": 60_000, "mergeable": True}, "small", {"small", "middle"}),
    ],
)
@pytest.mark.parametrize("tasks", [("rte",), ("rte", "mrpc", "cola")])
def test_every_limit_leaves_the_cheapest_of_the_top_group(
    make: Any, tasks: tuple[str, ...], limits: dict[str, Any], pick: str, group: set[str]
) -> None:
    found = answer(made(make, tasks), **limits)
    assert found.pick is not None
    assert found.pick.label == pick
    assert {row.label for row in found.group} == group
    assert len(found.columns) == len(tasks)
    top = found.steps[-1]
    assert (top.row.label, top.within, top.judged.word) == ("full", False, "ahead")


def test_equal_methods_are_not_told_apart_and_a_single_run_is_left_out(make: Any) -> None:
    records = made(make, names=("small", "middle"))
    found = answer([*records, make("alone", "rte", 0, 0.9)])
    assert found.pick is not None
    assert (found.pick.label, found.told, found.candidates) == ("small", False, 2)
    assert found.left_out["alone"].what == "a single run, which says nothing about the spread"


def test_a_cost_that_was_not_measured_is_not_within_a_limit(make: Any) -> None:
    records = [record.model_copy(update={"cost": Cost()}) for record in made(make)]
    found = answer(records, latency_ms=100)
    assert found.pick is None
    assert {why.what for why in found.left_out.values()} == {"latency in ms not measured"}


def test_the_command_says_which_what_more_would_buy_and_how_to_train_it(
    make: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (member,) = expand(["adapter=krona", "task=rte", "optim.lr=0.007", "data.max_train_examples=100"])
    for number, record in enumerate(made(make)):
        config = member.values | {"seed": record.seed}
        config["adapter"] = config["adapter"] | {"layers": f"last:{list(METHODS).index(record.adapter) + 1}"}
        run_id = f"{number:012x}"
        write_record(record.model_copy(update={"config": config, "run_id": run_id}), tmp_path)
    assert run_command(["recommend", str(tmp_path), "--max-params", "60k"]) == 0
    text = capsys.readouterr().out
    assert "Use small (1,005 tuned parameters; 1 ms an answer merged; 70.0 over 6 seeds) on rte." in text
    assert "smallest of 3 methods (of 4 under the limits)" in text
    assert "+10.0 (" in text and "over the limits" in text
    assert "petbench train adapter=krona task=rte model=minilm adapter.layers=last:2 optim.lr=0.007\n" in text
    assert run_command(["recommend", str(tmp_path), "--json", "--mergeable"]) == 0
    (plain,) = json.loads(capsys.readouterr().out)
    assert (plain["use"], plain["left_out"]) == ("full", {"large": {"what": "does not merge", "found": None}})


@pytest.mark.parametrize(
    "wrong", [["--max-params", "-1"], ["--max-memory", "much"], ["--max-latency-ms", "nan"]]
)
def test_a_limit_that_is_none_says_what_is_legal(
    wrong: list[str], tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["recommend", str(tmp_path), *wrong]) == 2
    assert "Legal: a number above 0" in capsys.readouterr().err
