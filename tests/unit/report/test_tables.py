"""Tables from hand-made records with known answers."""

import numpy as np
import pytest

from petbench.record import Provenance, Record
from petbench.report.layout import Row, Table
from petbench.report.tables import build

TEN = range(10)


def table_of(records, **options) -> Table:
    (table,) = build(records, **options).tables
    return table


def row_of(table: Table, label: str) -> Row:
    return next(row for row in table.rows if row.label == label)


def entry_of(table: Table, label: str, column: str):
    key = next(each.key for each in table.columns if each.label == column)
    return row_of(table, label).entries[key]


def test_mean_spread_and_missing_seeds(make) -> None:
    records = [make(seed=seed, value=value) for seed, value in enumerate([0.6, 0.7, 0.8])]
    records += [
        make("lora", seed=seed, value=0.65, status=status) for seed, status in enumerate(["done", "failed"])
    ]
    table = table_of(records)
    krona, lora = entry_of(table, "krona", "rte"), entry_of(table, "lora", "rte")
    assert krona.summary is not None and lora.summary is not None
    assert (krona.summary.n, krona.summary.mean, krona.summary.std) == (
        3,
        pytest.approx(0.7),
        pytest.approx(0.1),
    )
    assert (lora.summary.n, lora.summary.std, lora.cell.count("failed")) == (1, None, 1)
    assert any("1 failed, 0 diverged" in note for note in table.notes)
    assert any(note.startswith("n=1") for note in table.notes)


def test_a_cell_where_all_failed_is_shown(make) -> None:
    table = table_of([make("lora", seed=0), make("krona", seed=0, status="diverged")])
    entry = entry_of(table, "krona", "rte")
    assert entry.summary is None and entry.cell.count("diverged") == 1


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_run_that_failed_early_stands_in_the_column_of_its_cell(make, status: str) -> None:
    """It knows neither the digest of its rows nor the precision that `auto` meant there."""

    def early(adapter: str, task: str):
        record = make(adapter, task, status=status)
        return record.model_copy(update={"provenance": Provenance()})

    records = [make("lora", task, seed=seed, precision="bf16") for task in ("rte", "cola") for seed in (0, 1)]
    table = table_of([*records, early("krona", "rte"), early("lora", "cola")])
    assert [column.label for column in table.columns] == ["cola", "rte"]
    assert entry_of(table, "krona", "rte").cell.count(status) == 1
    assert entry_of(table, "lora", "cola").cell.count(status) == 1
    assert [row.label for row in table.rows].count("lora") == 1


def test_a_failed_run_of_its_own_settings_stays_apart(make) -> None:
    other = make("krona", task_config={"max_length": 64}, status="failed").model_copy(
        update={"provenance": Provenance()}
    )
    table = table_of([make("krona", seed=0), other])
    assert len(table.columns) == 2


def test_the_top_group_is_what_is_not_told_from_the_highest(make) -> None:
    records = [make("krona", seed=seed, value=0.800 + seed / 1000) for seed in range(5)]
    records += [make("lora", seed=seed, value=0.801 + seed / 1000) for seed in range(5)]
    records += [make("bitfit", seed=seed, value=0.600 + seed / 900) for seed in range(5)]
    table = table_of(records)
    entries = {row.label: entry_of(table, row.label, "rte") for row in table.rows}
    assert {name: entry.standing for name, entry in entries.items()} == {
        "lora": "top", "krona": "top", "bitfit": "behind",
    }  # fmt: skip
    assert {name: entry.letters for name, entry in entries.items()} == {
        "lora": "a",
        "krona": "a",
        "bitfit": "b",
    }
    assert entries["lora"].p is None and entries["bitfit"].p is not None and entries["bitfit"].p <= 0.001
    assert any(note.startswith("bold: the top group") and "on these rows" in note for note in table.notes)


def test_three_seeds_tell_much_and_not_little(make) -> None:
    """At 3 seeds 80 points are told; 0.1 points among scattering runs are not, and nothing is bold then."""
    far = [make(a, seed=s, value=v + s / 1000) for a, v in (("krona", 0.9), ("lora", 0.1)) for s in range(3)]
    assert entry_of(table_of(far), "lora", "rte").standing == "behind"
    near = [
        make(a, seed=s, value=v + s / 100) for a, v in (("krona", 0.8), ("lora", 0.801)) for s in range(3)
    ]
    table = table_of(near)
    assert {entry_of(table, row.label, "rte").standing for row in table.rows} == {"level"}
    assert any(note.startswith("a column without bold") for note in table.notes)


def test_the_bar_grows_with_the_number_of_rows(make) -> None:
    """The same difference is told between two rows, not among forty that scatter alike."""

    def column(k: int) -> list:
        spread = [-0.01, 0.0, 0.01]
        rows = [("best", 0.8 + 0.035)] + [(f"m{n}", 0.8) for n in range(k)]
        return [make(name, seed=s, value=v + spread[s]) for name, v in rows for s in range(3)]

    few, many = (entry_of(table_of(column(k)), "m0", "rte").p for k in (1, 39))
    assert few is not None and many is not None and few < many


def test_from_ten_cells_on_the_table_says_how_seeds_scatter(make) -> None:
    generator = np.random.default_rng(3)
    records = [
        make(f"m{n}", seed=s, value=0.8 + generator.normal(0, 0.01)) for n in range(12) for s in range(3)
    ]
    table = table_of(records)
    notes = [note for note in table.notes if note.startswith("± is as measured")]
    assert len(notes) == 1 and "empirical Bayes over 12 cells" in notes[0]
    few = table_of([record for record in records if record.adapter in ("m0", "m1")])
    assert not [note for note in few.notes if note.startswith("± is as measured")]


def test_a_collapse_is_counted_and_the_mean_of_the_rest_is_said(make) -> None:
    records = [make("krona", seed=s, value=0.70) for s in range(4)]
    records += [
        make("krona", seed=4, value=0.52, constant=("validation",)),
        make("lora", seed=0),
        make("lora", seed=1),
    ]
    table = table_of(records)
    entry = entry_of(table, "krona", "rte")
    assert entry.summary is not None and entry.summary.mean == pytest.approx(0.664)
    assert entry.mean_of_the_rest == pytest.approx(0.70)
    assert any(
        note
        == "krona on rte: 1 of 5 runs collapsed (1% to 72% of runs do, 95% interval); the others' mean is 70.0"
        for note in table.notes
    )


def test_average_is_a_named_macro_mean_without_wnli(make) -> None:
    scores = {"rte": 0.6, "cola": 0.5, "wnli": 0.1}
    records = [make("krona", task, seed, value) for task, value in scores.items() for seed in range(2)]
    records += [make("lora", "rte", 0, 0.9)]
    table = table_of(records)
    average = row_of(table, "krona").average
    assert average is not None and average.complete
    assert average.summary.mean == pytest.approx(0.55)
    assert table.formula.startswith(
        "average = unweighted mean of the headline metrics of cola, rte (2 tasks)"
    )
    assert "left out: wnli" in table.formula
    assert row_of(table, "lora").average is None  # one task is no average
    both = row_of(table_of(records, include_wnli=True), "krona").average
    assert both is not None and both.summary.mean == pytest.approx(0.4)


def test_an_average_over_some_tasks_says_so_and_ranks_nowhere(make) -> None:
    records = [make("krona", task, 0, 0.5) for task in ("rte", "cola", "sst2")]
    records += [make("full", task, 0, 0.6) for task in ("rte", "cola", "sst2")]
    records += [make("lora", task, 0, 0.9) for task in ("rte", "cola")]
    table = table_of(records)
    average = row_of(table, "lora").average
    assert average is not None and (average.tasks, average.of, average.standing) == (2, 3, "none")
    assert table.ranks is not None and set(table.ranks.average) == {"krona", "full"}
    assert [row.label for row in table.rows] == ["full", "krona", "lora"]  # complete rows first


def test_average_spread_is_over_seeds(make) -> None:
    values = {("rte", 0): 0.6, ("rte", 1): 0.8, ("cola", 0): 0.5, ("cola", 1): 0.3}
    average = row_of(table_of([make("krona", t, s, v) for (t, s), v in values.items()]), "krona").average
    assert average is not None
    assert average.summary.std == pytest.approx(0.0)  # 0.55 and 0.55


def test_siblings_are_named_by_what_differs(make) -> None:
    records = [
        make("krona", lr=lr, adapter_config={"factor_shape": shape})
        for lr, shape in [(1e-3, [32, 24]), (1e-3, [2, 384]), (5e-3, [32, 24])]
    ]
    records += [make("krona", "cola", lr=1e-3, adapter_config={"factor_shape": [32, 24]}), make("lora")]
    table = table_of(records)
    assert {row.label for row in table.rows} == {
        "krona factor_shape=32x24 lr=1e-3", "krona factor_shape=2x384 lr=1e-3", "krona factor_shape=32x24 lr=5e-3",
        "lora",
    }  # fmt: skip
    assert (
        len(row_of(table, "krona factor_shape=32x24 lr=1e-3").entries) == 2
    )  # the like setting on cola joins


def test_settings_that_follow_the_task_are_one_row_with_a_note(make) -> None:
    table = table_of([make("krona", "rte", lr=2e-3), make("krona", "cola", lr=1e-3)])
    assert [row.label for row in table.rows] == ["krona"]
    assert "krona: lr differ between tasks" in table.notes


def tuned_pair(make, *searched: str) -> list[Record]:
    """Two sizes of LoRA on two tasks; on each the trials chose another learning rate."""
    note = {"tuning": {"role": "final", "runs": 4, "searched": searched}}
    chosen = [(2, "rte", 5e-3), (2, "cola", 1e-3), (8, "rte", 2e-3), (8, "cola", 5e-3)]
    return [
        make("lora", task, seed, lr=lr, adapter_config={"rank": rank, "alpha": 2.0 * rank}, provenance=note)
        for rank, task, lr in chosen
        for seed in range(2)
    ]


def test_a_tuned_setting_splits_no_row(make) -> None:
    """A rate that the trials of a task chose is a result: the sizes are the rows, each with its mean over the tasks."""
    table = table_of(tuned_pair(make, "optim.lr"))
    assert {row.label for row in table.rows} == {"lora alpha=4 rank=2", "lora alpha=16 rank=8"}
    assert all(row.average is not None and row.average.complete for row in table.rows)
    assert "lora: rows also differ in lr" in table.notes


def test_a_given_setting_splits_rows_beside_tuned_ones(make) -> None:
    assert len(table_of(tuned_pair(make)).rows) == 4  # the tuning searched nothing: the rates were given
    given = make("lora", "rte", lr=9e-3, adapter_config={"rank": 4, "alpha": 8.0})
    assert len(table_of([*tuned_pair(make, "optim.lr"), given]).rows) == 5  # not every cell was tuned


def test_a_tuned_setting_tells_rows_apart_where_nothing_else_does(make) -> None:
    """One size tuned twice, by searches of other budgets, which chose other rates."""
    notes = [{"tuning": {"role": "final", "runs": runs, "searched": ["optim.lr"]}} for runs in (4, 8)]
    records = [make("lora", lr=lr, provenance=note) for lr, note in zip((1e-3, 2e-3), notes, strict=True)]
    assert {row.label for row in table_of(records).rows} == {"lora lr=1e-3", "lora lr=2e-3"}


def test_protocols_models_and_toy_rows_are_tables_of_their_own(make) -> None:
    records = [make(), make(protocol="glue_dev"), make(model="bert_base"), make(source="toy", digest="t")]
    titles = [table.title for table in build(records).tables]
    assert len(titles) == 4
    assert sum("TOY ROWS" in title for title in titles) == 1
    assert sum("SAME validation rows" in title for title in titles) == 1


def test_other_digests_are_columns_of_their_own(make) -> None:
    table = table_of([make(digest="aaaa"), make(digest="bbbb", seed=1)])
    assert [column.label for column in table.columns] == ["rte digest=aaaa", "rte digest=bbbb"]
    assert not any(column.averaged for column in table.columns)


def test_low_resource_runs_are_a_table_of_their_own(make) -> None:
    records = [make(), make(task_config={"train_examples": 500}), make(task_config={"train_examples": 100})]
    full, low = sorted(build(records).tables, key=lambda table: len(table.columns))
    assert [column.label for column in full.columns] == ["rte"]
    assert [column.label for column in low.columns] == ["rte n=100", "rte n=500"]


def test_precision_and_versions_are_split_or_marked(make) -> None:
    table = table_of(
        [make(seed=0), make(seed=1, precision="bf16"), make("lora", versions={"torch": "2.11.0"})]
    )
    assert {row.label for row in table.rows} == {"krona precision=fp32", "krona precision=bf16", "lora"}
    assert "mixed in this table: torch 2.11.0, 2.13.0" in table.notes
    assert any("precision is bf16, fp32" in note for note in table.notes)


def test_step_time_against_lora(make) -> None:
    records = [make("lora", task, step_seconds=0.1) for task in ("rte", "cola")]
    records += [make("krona", "rte", step_seconds=0.2), make("krona", "cola", step_seconds=0.05)]
    records += [make("bitfit", "rte", step_seconds=0.05, provenance={"device": {"name": "another"}})]
    table = table_of(records)
    assert row_of(table, "lora").costs.step_vs_lora == pytest.approx(1.0)
    assert row_of(table, "krona").costs.step_vs_lora == pytest.approx(1.0)  # geometric mean of 2 and 1/2
    assert row_of(table, "bitfit").costs.step_vs_lora is None  # another device


def test_costs_and_tuning(make) -> None:
    tuned = {"tuning": {"role": "final", "runs": 8, "seconds": 100.0}}
    records = [make("krona", "rte", seed=seed, provenance=tuned, params=1000) for seed in range(2)]
    records += [make("krona", "rte", seed=9, lr=0.5, provenance={"tuning": {"role": "trial"}})]
    report = build(records)
    costs = report.tables[0].rows[0].costs
    assert (costs.tuning_runs, costs.tuning_seconds, report.trials) == (8, 100.0, 1)
    assert costs.adapter is not None and (costs.adapter.low, costs.adapter.high) == (1000, 1000)
    assert costs.tuned is not None and costs.tuned.high == 1005
    assert costs.peak_memory == 2**20
