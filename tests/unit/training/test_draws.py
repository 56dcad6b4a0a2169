"""Draws: sources of variance follow the seed, stand in the record, and leave a setting one cell."""

from pathlib import Path

import pytest
import torch

from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.machine.seeds import derive_seed
from petbench.record import read_records
from petbench.report.cells import group
from petbench.training.draws import drawn, draws, order_seed
from petbench.training.prepare import prepare, rows_of


def spec(*overrides: str) -> RunSpec:
    (member,) = expand(["model=tiny_bert", "data=toy", "task=rte", "adapter=krona", *overrides])
    return parse(member.values, spec_of)


def cut_of(*overrides: str) -> dict[str, set[int]]:
    """Rows by part of a run with 64 train examples."""
    ids = rows_of(spec("task.train_examples=64", *overrides))[1].ids
    return {part: set(numbers) for part, numbers in ids.items()}


@pytest.mark.parametrize(
    ("vary", "moves"),
    [
        ("[order]", set()),
        ("[]", set()),
        ("[sample]", {"train"}),
        ("[split]", {"selection"}),  # and the train rows, which are cut from what is left
        ("[split,sample,order]", {"train", "selection"}),
    ],
)
def test_rows_follow_the_seed_where_vary_says_so(vary: str, moves: set[str]) -> None:
    first, second = cut_of(f"vary={vary}", "seed=0"), cut_of(f"vary={vary}", "seed=1")
    moved = {part for part in ("train", "selection", "report/validation") if first[part] != second[part]}
    assert moved - {"train"} == moves - {"train"}
    if "split" not in vary:
        assert ("train" in moved) == ("train" in moves)
    assert {part: len(ids) for part, ids in first.items()} == {part: len(ids) for part, ids in second.items()}


def test_methods_of_one_seed_share_their_draws() -> None:
    every = "vary=[split,sample,order]"
    assert draws(spec(every, "seed=3")) == draws(spec(every, "seed=3", "adapter=lora", "optim.lr=0.1"))
    assert cut_of(every, "seed=3") == cut_of(every, "seed=3", "adapter=lora")


def test_another_split_seed_is_another_series_of_draws() -> None:
    assert cut_of("vary=[split]") != cut_of("vary=[split]", "protocol.split_seed=1")
    assert drawn(spec("vary=[order]", "protocol.split_seed=7")).protocol.split_seed == 7


def test_the_order_follows_the_seed_unless_it_is_taken_out() -> None:
    assert order_seed(spec("seed=5")) == derive_seed(5, "order")
    assert (
        order_seed(spec("vary=[]", "seed=5")) == order_seed(spec("vary=[split]")) == derive_seed(0, "order")
    )


def test_run_ids_of_the_default_stay_and_others_are_their_own() -> None:
    assert "vary" not in spec().canonical()  # committed records have no such key
    ids = [prepare(spec(*more)).run_id for more in ([], ["vary=[order]"], ["vary=[]"], ["vary=[split]"])]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    turned = spec("vary=[order,split,order]")
    assert turned.vary == ("split", "order")
    assert prepare(turned).run_id == prepare(spec("vary=[split,order]")).run_id
    again = parse(turned.canonical(), spec_of)
    assert again == turned


def test_an_unknown_source_names_the_legal_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["params", "model=tiny_bert", "vary=[splits]"]) == 2
    message = capsys.readouterr().err
    assert "vary" in message and "'split'" in message and "'sample' or 'order'" in message


def test_draws_are_in_the_record_and_the_setting_is_one_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    asked = [
        "task=rte", "model=tiny_bert", "data=toy", "adapter=bitfit", "trainer.max_steps=2", "trainer.device=cpu",
        "trainer.precision=fp32", "task.train_examples=64", "vary=[split,sample,order]",
    ]  # fmt: skip
    assert run_command(["train", "-m", "seed=0,1", *asked]) == 0
    records = list(read_records("results"))
    assert [set(run.provenance.draws) for run in records] == [{"split", "sample", "order"}] * 2
    assert records[0].provenance.draws["split"] != records[1].provenance.draws["split"]
    (cell,) = group(records)
    assert sorted(cell.values) == [0, 1]
    assert cell.row_settings["vary"] == ["split", "sample", "order"]
