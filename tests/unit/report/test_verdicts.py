"""Verdicts on records with known answers: each word is reached and right, and how often they cry wolf."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from petbench.commands.compare import compare_main
from petbench.errors import UserError
from petbench.record import Answers, Record, write_answers, write_record
from petbench.report.sentences import sentence, verdict
from petbench.report.tables import build
from petbench.report.verdicts import as_table, judge, pick

TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")


def sides(records, a="adapter=krona", b="adapter=lora"):
    return pick(records, a), pick(records, b)


def said(records, a="adapter=krona", b="adapter=lora", **options) -> str:
    both = sides(records, a, b)
    return verdict(judge(*both, **options), *both)


def two(make, first, second, task: str = "rte") -> list[Record]:
    records = [make("krona", task, seed, value) for seed, value in enumerate(first)]
    return records + [make("lora", task, seed, value) for seed, value in enumerate(second)]


def test_three_seeds_name_a_clear_winner(make) -> None:
    records = two(make, [0.832, 0.836, 0.838], [0.55, 0.552, 0.56])
    text = said(records)
    assert text.startswith("On rte, krona is ahead of lora by 28.1 points (95% interval ")
    assert "over seeds, on these rows; p < 0.001)" in text
    turned = said(records, "adapter=lora", "adapter=krona")
    assert turned.splitlines()[0] == text.splitlines()[0]  # whichever is named first


def test_equal_within_the_margin_and_open_at_a_smaller_one(make) -> None:
    values = [0.700 + k / 10_000 for k in range(8)]
    records = two(make, values, values[::-1])
    (judged,) = judge(*sides(records))
    assert judged.word == "equal" and judged.margin == 0.01  # 277 rows: fewer than a thousand
    assert "krona and lora are equal within 1: krona +0.0 points (90% interval" in sentence(
        judged, "krona", "lora"
    )
    (narrow,) = judge(*sides(records), margin=0.0001)
    assert narrow.word == "open"


def test_open_says_what_could_have_been_seen(make) -> None:
    (judged,) = judge(*sides(two(make, [0.80, 0.82, 0.78], [0.79, 0.81, 0.77])))
    assert judged.word == "open" and judged.least is not None
    least, endless = judged.least
    assert least > 0.03 and endless == 0  # no answers were kept, so rows are not known
    found = judged.difference
    assert found is not None  # at that difference the very test that was made has power 0.8
    bar = stats.t.ppf(0.975, found.df)
    assert stats.nct.sf(bar, found.df, least / found.se) == pytest.approx(0.8, abs=0.002)
    assert f"a true difference of {100 * least:.1f} or more would be detected (power 0.8)" in said(
        two(make, [0.80, 0.82, 0.78], [0.79, 0.81, 0.77])
    )


def test_a_single_run_is_open(make) -> None:
    text = said(two(make, [0.8], [0.7, 0.71]))
    assert text.startswith("On rte, open: krona has a single run, and one run says nothing about the spread.")


@pytest.mark.parametrize("seeds", [6, 12, 20])
def test_a_collapse_never_names_the_winner(make, seeds: int) -> None:
    """The first wins all seeds but one, in which it collapses: its mean is lower, and it is not behind."""
    better = [0.5, *(0.82 + k / 1000 for k in range(seeds - 1))]
    worse = [0.81 + k / 1000 for k in range(seeds)]
    records = two(make, better, worse)
    (judged,) = judge(*sides(records))
    assert judged.difference is not None and judged.difference.value < 0
    assert judged.split and judged.word == "open"
    assert "the first wins more runs, the second has the higher mean" in said(records)


def test_all_runs_collapsed_is_no_equality(make) -> None:
    collapsed = {"constant": ("validation",)}
    records = [make(a, "rte", seed, 0.527, **collapsed) for a in ("krona", "lora") for seed in range(3)]
    assert "every run of krona and of lora collapsed to one answer" in said(records)


def test_the_mean_of_tasks_has_its_own_error(make) -> None:
    """Two tasks, each with se 1: the mean's is sqrt(2)/2."""
    records = two(make, [0.80, 0.82, 0.84], [0.70, 0.72, 0.74], "rte")
    records += two(make, [0.60, 0.62, 0.64], [0.50, 0.52, 0.54], "cola")
    judged = judge(*sides(records))
    assert [each.where for each in judged] == ["cola", "rte", "the mean of 2 tasks"]
    one, _, mean = (each.difference for each in judged)
    assert one is not None and mean is not None
    assert mean.value == pytest.approx(0.1)
    assert mean.se == pytest.approx(one.se / 2**0.5)
    assert judged[-1].word == "ahead"


def test_over_eight_tasks(make) -> None:
    records = []
    for number, task in enumerate(TASKS):
        base = 0.7 + number / 100
        records += two(
            make, [base + 0.02, base + 0.025, base + 0.03], [base, base + 0.005, base + 0.01], task
        )
    text = said(records)
    assert text.startswith("On the mean of 8 tasks, krona is ahead of lora by 2.0 points")
    assert "Over tasks, krona has the higher mean on 8 of 8 (signed-rank over tasks, p 0.008)." in text
    assert "corrected over these 9 tests" in text


def test_false_alarms_of_the_whole_verdict(make) -> None:
    """Equal methods: any `ahead` in at most 5% of comparisons, over all tasks and tests of one verdict."""
    random = np.random.default_rng(7)
    settings, runs, total = [(1, 3), (1, 10), (3, 3), (3, 10), (8, 5)], 400, 0
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
            alarms += any(each.word == "ahead" for each in judge(*drawn))
        assert alarms / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5
        total += alarms
    assert total / (runs * len(settings)) <= 0.055


def _with(cell, values):
    runs = [
        run.model_copy(
            update={"headline": run.headline.model_copy(update={"value": float(values[run.seed])})}
        )
        for run in cell.records
    ]
    return replace(cell, values={seed: float(v) for seed, v in values.items()}, records=tuple(runs))


def test_run_ids_are_a_side(make) -> None:
    records = two(make, [0.8, 0.81], [0.7, 0.71])
    a, b = (",".join(r.run_id for r in records if r.adapter == name) for name in ("krona", "lora"))
    assert "krona is ahead of lora by 10.0 points" in said(records, a, b)


def test_same_adapter_is_named_by_its_settings(make) -> None:
    records = [
        make("krona", lr=lr, seed=s, value=v + s / 100)
        for lr, v in ((1e-3, 0.8), (5e-3, 0.6))
        for s in (0, 1)
    ]
    assert "krona lr=1e-3 is ahead of krona lr=5e-3 by 20.0 points" in said(records, "lr=1e-3", "lr=5e-3")


def kept(generator, rows: int, share: float) -> Answers:
    """Answers of a run that is right on this share of the rows."""
    labels = np.arange(rows) % 2
    right = generator.random(rows) < share
    answers = np.where(right, labels, 1 - labels).astype(np.float32)
    return Answers(np.arange(rows), labels.astype(np.float32), answers)


def test_answers_bring_the_rows_in(make, tmp_path: Path, capsys) -> None:
    """The command reads kept answers, speaks of seeds and rows, and JSON holds the same numbers."""
    generator = np.random.default_rng(0)
    for adapter, share in (("krona", 0.85), ("lora", 0.70)):
        for seed in range(3):
            answers = kept(generator, 400, share)
            value = float((answers.labels == answers.answers).mean())
            record = make(adapter, "sst2", seed, value)
            write_answers(write_record(record, tmp_path).parent, {"validation": answers})
    arguments = ["adapter=krona", "adapter=lora", "--results-dir", str(tmp_path)]
    assert compare_main(arguments) == 0
    text = capsys.readouterr().out
    assert text.startswith("On sst2, krona is ahead of lora by ") and "over seeds and rows" in text
    assert "rows 1." in text and "on 400 rows no number of seeds detects less than" in text
    assert compare_main([*arguments, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["verdict"], row["rows"], row["seeds"]) == ("ahead", 400, [3, 3])
    assert row["multi_bootstrap"]["standard_error"] == pytest.approx(row["standard_error"], rel=0.35)


@pytest.mark.parametrize("margin", ["0", "-1", "100", "nan"])
def test_a_margin_that_cannot_be_is_refused(margin: str) -> None:
    with pytest.raises(UserError, match=r"--margin: got .*Legal: points above 0, below 100"):
        compare_main(["adapter=a", "adapter=b", f"--margin={margin}"])


def test_a_table_of_the_same_has_no_missing_key(make) -> None:
    rows = as_table(judge(*sides(two(make, [0.8, 0.81], [0.7]))))
    assert rows[0]["verdict"] == "open" and rows[0]["difference"] is None and rows[0]["seeds"] == [2, 1]


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
    with pytest.raises(UserError, match="on different rows or settings of the task"):
        judge(*sides(records))
    with pytest.raises(UserError, match="no common task: one side has rte, the other cola"):
        judge(*sides(records, b="adapter=bitfit"))


def test_cautions(make) -> None:
    records = [make("krona", "cola", seed, 0.0, source="toy", protocol="glue_dev") for seed in range(2)]
    records += [make("lora", "cola", seed, 0.5, source="toy", protocol="glue_dev") for seed in range(2)]
    records += [make("lora", "cola", 7, status="diverged", source="toy", protocol="glue_dev")]
    text = said(records)
    assert "generated (toy)" in text and "glue_dev the reported rows also chose" in text
    assert "2 runs collapsed (counted), 1 failed or diverged (left out)" in text


TRUTHS = (  # true difference in points, deviation over seeds in points, runs, margin in points, the right word
    (10.0, 1.0, 3, 1.0, "ahead"),
    (2.0, 0.5, 10, 0.5, "ahead"),
    (0.0, 0.2, 10, 0.5, "equal"),
    (0.1, 0.4, 20, 0.5, "equal"),
    (1.0, 3.0, 3, 1.0, "open"),
    (0.0, 2.0, 5, 0.5, "open"),
)


@pytest.mark.parametrize(("truth", "deviation", "seeds", "margin", "word"), TRUTHS)
def test_each_word_is_reached_and_right_on_made_data(
    make, truth: float, deviation: float, seeds: int, margin: float, word: str
) -> None:
    """Runs with a known true difference: the right word in most draws, and a wrong one in 5% at most."""
    random = np.random.default_rng(3)
    both = sides([make(a, "rte", s) for a in ("krona", "lora") for s in range(seeds)])
    draws, said_word, wrong = 100, 0, 0
    for _ in range(draws):
        scores = random.normal([0.7 + truth / 100, 0.7], deviation / 100, (seeds, 2)).T
        drawn = [[_with(cell, dict(enumerate(values)))] for (cell,), values in zip(both, scores, strict=True)]
        (judged,) = judge(*drawn, margin=margin / 100)
        assert judged.difference is not None
        said_word += judged.word == word
        ahead_of_the_wrong = judged.word == "ahead" and judged.difference.value * truth <= 0
        equal_though_apart = judged.word == "equal" and abs(truth) > margin
        wrong += ahead_of_the_wrong or equal_though_apart
    assert said_word / draws >= 0.75
    assert wrong / draws <= 0.05 + 2 * (0.05 * 0.95 / draws) ** 0.5


def test_winning_nineteen_of_twenty_seeds_and_collapsing_once_is_never_behind(make) -> None:
    """Neither the verdict of two nor the table's top group puts such a method behind."""
    random = np.random.default_rng(5)
    for _ in range(20):
        worse = random.normal(0.81, 0.004, 20)
        better = np.maximum(random.normal(0.82, 0.004, 20), worse + 0.001)  # it wins every seed …
        better[random.integers(20)] = 0.509  # … but one, and its mean is the lower one
        records = two(make, list(better), list(worse), "sst2")
        (judged,) = judge(*sides(records))
        assert not (judged.word == "ahead" and judged.difference.value < 0)
        assert "lora is ahead" not in said(records)
        (table,) = build(records).tables
        (entry,) = [next(iter(row.entries.values())) for row in table.rows if row.adapter == "krona"]
        assert entry.standing != "behind"


def test_the_committed_full_is_ahead_of_the_committed_head_only(capsys) -> None:
    """The command of the documents, on three seeds or more of each."""
    examples = str(Path(__file__).parents[3] / "results" / "examples")
    assert compare_main(["adapter=full", "adapter=head_only", "--results-dir", examples]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("On sst2, full is ahead of head_only by ")
    assert compare_main(["adapter=full", "adapter=head_only", "--results-dir", examples, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "ahead" and min(row["seeds"]) >= 3 and row["difference"] > 0.2
