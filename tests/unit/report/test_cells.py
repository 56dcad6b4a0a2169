"""Which records share a cell, and what is said of it."""

import pytest

from petbench.report.cells import group


def test_seeds_share_a_cell_and_where_it_ran_does_not_matter(make) -> None:
    records = [make(seed=seed, value=0.7 + seed / 100) for seed in range(3)]
    records.append(make(seed=3, value=0.8, trainer={"device": "cuda"}, config={"results_dir": "elsewhere"}))
    (cell,) = group(records)
    assert cell.values == {0: 0.7, 1: 0.71, 2: 0.72, 3: 0.8}
    assert cell.counts == {"done": 4}


@pytest.mark.parametrize(
    "change",
    [{"precision": "bf16"}, {"digest": "d2"}, {"protocol": "glue_dev"}, {"lr": 2e-3}, {"source": "toy"},
     {"model": "bert_base"}, {"task_config": {"max_length": 64}}, {"trainer": {"epochs": 20.0}}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_must_never_be_averaged(make, change) -> None:
    cells = group([make(seed=0, value=0.6), make(seed=1, value=0.8, **change)])
    assert [len(cell.values) for cell in cells] == [1, 1]


def test_other_versions_are_averaged_but_marked(make) -> None:
    (cell,) = group([make(seed=0), make(seed=1, versions={"torch": "2.11.0"})])
    assert cell.marks == ("mixed versions of torch: 2.11.0, 2.13.0",)


def test_failed_and_diverged_are_counted_and_have_no_value(make) -> None:
    records = [make(seed=0), make(seed=1, status="failed"), make(seed=2, status="diverged")]
    (cell,) = group(records)
    assert cell.values == {0: 0.7}
    assert (cell.count("failed"), cell.count("diverged"), cell.count("done")) == (1, 1, 1)


def test_a_run_that_failed_before_its_rows_were_known_joins_its_cell(make) -> None:
    (cell,) = group([make(seed=1, status="failed", digest="", precision=""), make(seed=0)])
    assert (cell.count("failed"), len(cell.values)) == (1, 1)


def test_tuning_trials_are_no_results(make) -> None:
    records = [make(seed=0), make(seed=1, provenance={"tuning": {"role": "trial"}})]
    assert [dict(cell.values) for cell in group(records)] == [{0: 0.7}]


def test_collapsed_runs(make) -> None:
    data = {"data": {"source": "local", "digest": "d1", "majority": {"validation": 0.5271}}}
    assert make(task="cola", value=0.0).collapsed
    assert make(value=0.5271, provenance=data).collapsed
    assert make(value=0.4729, constant=("selection", "validation")).collapsed
    assert not make(constant=("selection",)).collapsed
    assert not make(value=0.53, provenance=data).collapsed
    assert not make(task="cola", value=0.01).collapsed
    assert not make(status="failed").collapsed
    (cell,) = group([make(task="cola", seed=0, value=0.0), make(task="cola", seed=1, value=0.5)])
    assert cell.collapsed == (0,)
    assert len(cell.values) == 2  # counted, not dropped
