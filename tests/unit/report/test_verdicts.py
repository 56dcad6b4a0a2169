"""Verdicts on records with known answers, and how often they cry wolf."""

from dataclasses import replace

import numpy as np
import pytest

from petbench.errors import UserError
from petbench.report.verdicts import judge, pick, verdict

TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
TASKS_SORTED = sorted(TASKS)


def sides(records, a="adapter=krona", b="adapter=lora"):
    return pick(records, a), pick(records, b)


def test_a_clear_winner(make) -> None:
    records = [make("krona", seed=seed, value=0.80 + seed / 1000) for seed in range(10)]
    records += [make("lora", seed=seed, value=0.78 + seed / 1000 - seed % 2 / 1000) for seed in range(10)]
    text = verdict(*sides(records))
    assert text == (
        "On rte, krona is ahead of lora by 2.1 points "
        "(95% interval 2.0 to 2.1; Wilcoxon signed-rank over 10 seeds, exact, p = 0.002)."
    )
    assert verdict(*sides(records, "adapter=lora", "adapter=krona")) == text


def test_too_few_seeds_says_how_many_more(make) -> None:
    records = [make("krona", seed=seed, value=0.80 + seed / 500) for seed in range(3)]
    records += [make("lora", seed=seed, value=0.70) for seed in range(3)]
    text = verdict(*sides(records))
    assert "no difference is shown: krona is 10.2 points higher" in text
    assert "3 pairs, equal ones left out, cannot reach p 0.05, whatever they score." in text
    assert "About 3 more seeds of each" in text


def test_one_seed(make) -> None:
    text = verdict(*sides([make("krona", value=0.8), make("lora", value=0.7)]))
    assert "At least 5 more seeds of each are needed." in text


def test_equal_means(make) -> None:
    records = [make(adapter, seed=seed, value=0.7) for adapter in ("krona", "lora") for seed in range(6)]
    assert "krona and lora have the same mean" in verdict(*sides(records))


def test_over_eight_tasks(make) -> None:
    records = [make("krona", task, 0, 0.80 + i / 1000) for i, task in enumerate(TASKS)]
    records += [make("lora", task, 0, 0.70) for task in TASKS]
    judged = judge(*sides(records))
    assert [each.where for each in judged] == [*TASKS_SORTED, "all 8 tasks"]
    assert judged[-1].different and judged[-1].p == pytest.approx(2 / 2**8 / 0.8)
    assert not any(each.different for each in judged[:-1])  # one seed a task


def test_two_tasks_speak_for_themselves_only(make) -> None:
    records = [
        make(adapter, task, seed, base + seed / 1000)
        for task in ("rte", "cola")
        for adapter, base in (("krona", 0.8), ("lora", 0.7))
        for seed in range(5)
    ]
    text = verdict(*sides(records))
    assert "10 pairs of task and seed" in text.splitlines()[0]
    assert "it speaks for these tasks only" in text.splitlines()[0]


def test_false_alarms_of_the_whole_verdict(make, monkeypatch) -> None:
    """Equal methods: any `is ahead` in at most 5% of comparisons, over all tasks and tests of one verdict.

    Strictly over all settings together; each setting within two standard errors of the simulation. That the
    tests themselves are exact is shown by enumeration in test_significance.
    """
    monkeypatch.setattr(
        "petbench.report.statistics.significance.mean_interval", lambda values: (0.0, 0.0)
    )  # for speed
    random = np.random.default_rng(7)
    settings, runs, total = [(1, 3), (1, 5), (1, 10), (3, 3), (3, 10), (8, 5), (8, 10)], 600, 0
    for tasks, seeds in settings:
        template = [
            make(a, task, s) for a in ("krona", "lora") for task in TASKS[:tasks] for s in range(seeds)
        ]
        both, alarms = sides(template), 0
        for _ in range(runs):
            drawn = [
                [_with(cell, dict(enumerate(random.normal(0.7, 0.02, seeds)))) for cell in side]
                for side in both
            ]
            alarms += any(each.different for each in judge(*drawn))
        assert alarms / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5
        total += alarms
    assert total / (runs * len(settings)) <= 0.05


def _with(cell, values):
    return replace(cell, values=values)


def test_run_ids_are_a_side(make) -> None:
    records = [make("krona", seed=0, value=0.8), make("lora", seed=0, value=0.7)]
    text = verdict(pick(records, records[0].run_id), pick(records, records[1].run_id))
    assert "krona is 10.0 points higher than lora" in text


def test_same_adapter_is_named_by_its_settings(make) -> None:
    records = [make("krona", lr=1e-3, value=0.8), make("krona", lr=5e-3, value=0.7)]
    assert "krona lr=1e-3 is 10.0 points higher than krona lr=5e-3" in verdict(
        *sides(records, "lr=1e-3", "lr=5e-3")
    )


def test_an_ambiguous_side_names_the_choices(make) -> None:
    records = [make("krona", lr=1e-3), make("krona", lr=5e-3), make("lora")]
    with pytest.raises(UserError, match=r"several settings on rte: krona lr=1e-3 or krona lr=5e-3\. Add one"):
        sides(records)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("adapter=nothing", "adapter=lora", "matches no record"),
        ("abcdef", "adapter=lora", "no record has the run id abcdef"),
        ("adapter=bitfit", "adapter=lora", "1 records, none of them finished"),
    ],
)
def test_bad_sides(make, a: str, b: str, message: str) -> None:
    records = [make("krona"), make("lora"), make("bitfit", status="failed")]
    with pytest.raises(UserError, match=message):
        sides(records, a, b)


def test_other_rows_do_not_compare(make) -> None:
    records = [make("krona", digest="d1"), make("lora", digest="d2"), make("bitfit", "cola")]
    with pytest.raises(UserError, match="on other rows or settings of the task"):
        judge(*sides(records))
    with pytest.raises(UserError, match="no common task: one side has rte, the other cola"):
        judge(*sides(records, b="adapter=bitfit"))


def test_cautions(make) -> None:
    records = [make("krona", "cola", seed, 0.0, source="toy", protocol="glue_dev") for seed in range(2)]
    records += [make("lora", "cola", seed, 0.5, source="toy", protocol="glue_dev") for seed in range(2)]
    records += [make("lora", "cola", 7, status="diverged", source="toy", protocol="glue_dev")]
    text = verdict(*sides(records))
    assert "toy rows" in text and "glue_dev the reported rows also picked" in text
    assert "2 runs collapsed (counted), 1 failed or diverged (left out)" in text
