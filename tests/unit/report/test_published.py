"""Published numbers and ours beside them."""

import numpy as np
import pytest
from scipy import stats

from petbench.config.tree import options
from petbench.errors import UserError
from petbench.record import Answers
from petbench.record.metrics.table import row_values
from petbench.report.cells import group
from petbench.report.citations import bibtex, citation_of
from petbench.report.published.beside import ours_beside_theirs, reasons
from petbench.report.published.costs import costs_beside
from petbench.report.published.grid import grid_lines, rank_correlations, verdict
from petbench.report.published.numbers import COSTS, lookup, published, recipes, target
from petbench.report.published.rows import rows_variance
from petbench.report.sides import no_answers
from petbench.report.statistics.moderation import fit_prior


def printed(recipe: str, records, read=no_answers) -> str:
    """All that stands below the runs of `petbench reproduce`."""
    found = ours_beside_theirs(recipe, records, read)
    return "\n".join([*grid_lines(found), *reasons(found), verdict(found)])


def test_the_file_is_whole() -> None:
    assert len(published()) == 801
    assert {each.status for each in published()} == {"seen", "second_hand"}
    (krona,) = lookup(paper="krona", table="Table 1", method="KronA", task="rte")
    assert (krona.value, krona.metric, krona.std) == (77.70, "accuracy", None)


def test_every_target_names_printed_methods() -> None:
    for name in recipes():
        aim = target(name)
        printed = {each.method for each in lookup(paper=aim.paper, table=aim.table)}
        wanted = {method for methods in aim.methods.values() for method in methods}
        assert wanted <= printed, name


def test_ours_beside_theirs(make) -> None:
    recipe = {"config": {"recipe": "krona_table1"}, "model": "t5_base", "protocol": "compacter"}
    records = [make("krona", "rte", seed, value, **recipe) for seed, value in enumerate([0.76, 0.77, 0.78])]
    records += [make("krona", "rte", 9, 0.1, model="t5_base")]  # another setting, not the recipe's
    beside = ours_beside_theirs("krona_table1", records)
    (line,) = [line for line in beside.lines if line.ours is not None]
    assert line.ours is not None and line.ours.mean == pytest.approx(77.0)
    assert line.difference == pytest.approx(-0.70)
    assert line.word is not None and line.word.word == "cannot tell"  # one run of theirs: ± 5 points
    lines = list(grid_lines(beside))
    place = next(number for number, line in enumerate(lines) if line.startswith("krona (KronA)"))
    assert "77.7" in lines[place].split() and lines[place + 1].split() == ["ours", "77.0±1.0", "-0.7?"]
    gaps = "\n".join(reasons(beside))
    assert "their rows: half of official validation (test half); ours: protocol compacter" in gaps
    assert "theirs is a single run" in gaps
    said = verdict(beside, "about 3 h")
    assert "1 cannot tell; mean gap -0.70 points; 71 of 72 numbers have no run of ours, about 3 h." in said


def test_a_part_of_the_table_and_its_verdict(make) -> None:
    """Five methods on rte in the paper's order but for two neighbours: Spearman's 0.9."""
    recipe = {"config": {"recipe": "krona_table1"}, "model": "t5_base", "protocol": "compacter"}
    theirs = {line.adapter: line.theirs.value for line in ours_beside_theirs("krona_table1", []).of(
        ("full", "bitfit", "lora", "krona", "krona_b"), ("rte",)).lines}  # fmt: skip
    assert len(set(theirs.values())) == 5
    order = sorted(theirs, key=lambda name: theirs[name])
    order[0], order[1] = order[1], order[0]
    records = [make(name, "rte", 0, 0.5 + place / 50, **recipe) for place, name in enumerate(order)]
    whole = ours_beside_theirs(
        "krona_table1", [*records, make("krona", "rte", 0, 0.6, **(recipe | {"model": "tiny_t5"}))]
    )
    part = whole.of(tuple(theirs), ("rte",))
    assert {(line.adapter, line.theirs.task) for line in part.lines} == {(name, "rte") for name in theirs}
    assert rank_correlations(part) == [pytest.approx(0.9)]
    said = verdict(part)
    assert "rank correlation of the methods 0.90 (mean over 1 task)" in said
    assert said.endswith("all 5 numbers have runs of ours.")
    assert "our runs on tiny_t5, instead of t5_base, are not compared" in list(reasons(whole))


def test_other_rows_and_the_table_are_in_the_word(make) -> None:
    """By hand: t(.975)·sqrt(s²·(1 + 1/3) + 2·p·(1 − p)/277); then ten cells lend their spread."""
    recipe = {"config": {"recipe": "krona_table1"}, "model": "t5_base", "protocol": "compacter"}
    krona = [make("krona", "rte", seed, value, **recipe) for seed, value in enumerate([0.76, 0.77, 0.78])]

    def half(records) -> float:
        lines = [x for x in ours_beside_theirs("krona_table1", records).lines if x.adapter == "krona"]
        (word,) = [line.word for line in lines if line.ours is not None]
        assert word is not None and word.half is not None
        return word.half

    seeds, rows = 0.01**2 * (1 + 1 / 3), 2 * 0.77 * 0.23 / 277
    df = (seeds + rows) ** 2 / (seeds**2 / 2)
    alone = half(krona)
    assert alone == pytest.approx(stats.t.ppf(0.975, df) * (seeds + rows) ** 0.5)

    # Ten cells of like scatter: one common value, with the degrees of freedom of all of them, 20.
    names = [
        "full",
        "lora",
        "bitfit",
        "compacter",
        "houlsby",
        "krona_b",
        "krona_b_res",
        "parallel_adapter",
        "ia3",
    ]
    others = [
        make(name, "rte", seed, value, **recipe)
        for name in names
        for seed, value in enumerate([0.74, 0.75, 0.76])
    ]
    prior = fit_prior([(0.01**2, 2.0)] * 10)
    assert prior is not None and (prior.d0, prior.df) == (np.inf, 20)
    seeds = prior.s0_squared * (1 + 1 / 3)
    df = (seeds + rows) ** 2 / (seeds**2 / 20)
    assert half([*krona, *others]) == pytest.approx(stats.t.ppf(0.975, df) * (seeds + rows) ** 0.5, rel=1e-3)

    # On the whole validation split both stand on the same rows, and seeds alone decide.
    sst2 = [make("krona", "sst2", seed, value, **recipe) for seed, value in enumerate([0.94, 0.941, 0.942])]
    whole = [run.model_copy(update={"headline": run.headline.model_copy(update={"n": 872})}) for run in sst2]
    assert half(whole) == pytest.approx(stats.t.ppf(0.975, 2) * 0.001 * (1 + 1 / 3) ** 0.5)


def test_kept_answers_tell_the_rows_part_of_any_metric(make) -> None:
    recipe = {"config": {"recipe": "krona_table1"}, "model": "t5_base", "protocol": "compacter"}
    report = {"validation": {"accuracy": 0.85, "f1": 0.9, "accuracy_f1": 0.875}}
    runs = [make("krona", "mrpc", seed, 0.875, report=report, **recipe) for seed in range(3)]
    (number,) = lookup(paper="krona", table="Table 1", method="KronA", task="mrpc")
    (cell,) = group(runs)
    assert number.metric_id == "f1" and rows_variance(number, cell, lambda _: None) is None
    labels = np.arange(200) % 2
    said = np.where(np.arange(200) % 5 == 0, 1 - labels, labels)
    answers = Answers(np.arange(200), labels.astype(np.float32), said.astype(np.float32))
    values = row_values("f1", labels, said)
    assert values is not None
    expected = 2 * values.var(ddof=1) / 200
    assert rows_variance(number, cell, lambda _: answers) == pytest.approx(expected)
    assert "we stored no answers" in printed("krona_table1", runs)
    assert "we stored no answers" not in printed("krona_table1", runs, lambda _: answers)


def test_medians_and_restated_metrics_are_said(make) -> None:
    recipe = {"config": {"recipe": "lora_table2"}, "model": "roberta_base"}
    report = {"validation": {"accuracy": 0.90, "f1": 0.93, "accuracy_f1": 0.915}}
    records = [
        make("bitfit", "mrpc", 0, 0.915, report=report, **recipe),
        make("lora", "sst2", 0, 0.95, **recipe),
    ]
    text = printed("lora_table2", records)
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("bitfit (BitFit)"))
    assert "92.7" in lines[place].split() and lines[place + 1].split() == ["ours", "93.0", "+0.3?"]
    assert "their metric is printed as: accuracy (bitfit mrpc)" in text
    assert "BitFit's MRPC and QQP are those of BitFit's own paper" in text
    assert "theirs is the median of 5 runs, ours the mean (lora sst2)" in text


def test_the_metric_is_theirs(make) -> None:
    report = {"validation": {"accuracy": 0.9, "f1": 0.93, "accuracy_f1": 0.915}}
    recipe = {"config": {"recipe": "compacter_table1"}, "model": "t5_base"}
    beside = ours_beside_theirs(
        "compacter_table1", [make("compacter_pp", "mrpc", 0, 0.915, report=report, **recipe)]
    )
    ours = {line.theirs.metric: line.ours.mean for line in beside.lines if line.ours is not None}
    assert ours == {"accuracy": pytest.approx(90.0), "f1": pytest.approx(93.0)}


def test_mnli_parts(make) -> None:
    report = {"validation_matched": {"accuracy": 0.8}, "validation_mismatched": {"accuracy": 0.9}}
    ada = make(
        "full", "mnli", 0, 0.8, report=report, model="deberta_v3_base", config={"recipe": "adalora_table1"}
    )
    beside = ours_beside_theirs("adalora_table1", [ada])
    ours = {line.theirs.task: line.ours.mean for line in beside.lines if line.ours is not None}
    assert ours == {"mnli_matched": pytest.approx(80.0), "mnli_mismatched": pytest.approx(90.0)}
    lora = make("lora", "mnli", 0, 0.8, report=report, model="roberta_base", config={"recipe": "lora_table2"})
    (line,) = [line for line in ours_beside_theirs("lora_table2", [lora]).lines if line.ours is not None]
    assert line.ours is not None and line.ours.mean == pytest.approx(85.0)


def test_the_printed_size_nearest_to_ours(make) -> None:
    recipe = {"config": {"recipe": "adalora_table1"}, "model": "deberta_v3_base"}
    beside = ours_beside_theirs(
        "adalora_table1", [make("peft/adalora", "rte", 0, 0.85, params=1_200_000, **recipe)]
    )
    assert [line.theirs.method for line in beside.lines if line.ours is not None] == ["AdaLoRA 1.27M"]


def test_gaps_of_toy_and_short_runs_and_mnli_start(make) -> None:
    recipe = {"config": {"recipe": "lora_table2"}, "model": "roberta_base", "source": "toy"}
    record = make("lora", "rte", 0, 0.5, trainer={"max_steps": 20}, **recipe)
    text = "\n".join(reasons(ours_beside_theirs("lora_table2", [record])))
    for gap in (
        "OURS ARE TOY ROWS",
        "OURS WAS CUT SHORT: 20 steps",
        "theirs starts from MNLI, ours does not",
    ):
        assert gap in text


def test_costs(make) -> None:
    records = [
        make(adapter, "rte", 0, 0.7).model_copy(
            update={"cost": make().cost.model_copy(update={"train_seconds": time})}
        )
        for adapter, time in (("full", 100.0), ("krona", 70.0))
    ]
    records = [r.model_copy(update={"config": {**r.config, "recipe": "krona_table2"}}) for r in records]
    lines = {(line.adapter, line.quantity): line for line in costs_beside("krona_table2", records)}
    assert lines["krona", "training_time"].ours == pytest.approx(70.0)
    assert lines["krona", "training_time"].theirs == 75
    assert lines["compacter", "inference_latency"].ours is None


def test_unknown_recipe() -> None:
    with pytest.raises(UserError, match="Did you mean 'krona_table1'"):
        ours_beside_theirs("krona_tabel1", [])
    tables = [name for name in recipes() if target(name).table != COSTS]
    assert not [name for name in tables if len(printed(name, []).splitlines()) < 3]


@pytest.mark.parametrize("name", options("adapter"))
def test_a_citation_is_whole(name: str) -> None:
    for entry in citation_of(name) or ():
        assert entry.count("{") == entry.count("}")
        assert all(field in entry for field in ("title = ", "author = ", "year = "))


def keys(adapter: str) -> list[str]:
    return [entry.partition("{")[2].partition(",")[0] for entry in citation_of(adapter) or ()]


def test_citations_of_variants() -> None:
    assert keys("peft/lora") == keys("lora") == ["hu2022lora"]
    assert keys("krona_b_res") == ["edalati2022krona"]
    assert keys("phm_adapter") == ["zhang2021phm", "mahabadi2021compacter"]
    assert keys("kernel_mix_lite_qv") == ["chen2022kernelmix"]
    assert citation_of("full") == ()
    assert citation_of("unheard") is None
    assert "% No citation is known for: unheard" in bibtex(["unheard"], ["rte"])
    assert "% Methods without a paper: full" in bibtex(["full", "lora"], [])


def test_every_choice_cites_but_the_one_that_may_be_anything() -> None:
    assert [name for name in options("adapter") if citation_of(name) is None] == ["peft/custom"]
