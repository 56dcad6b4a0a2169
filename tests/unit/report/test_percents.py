"""Printed percents: each agrees with the counts beside it, and only the printed setting shows one."""

import csv

import pytest

from petbench.cli import run_command
from petbench.record import Params
from petbench.report.published.numbers import folder
from petbench.report.published.percents import FILE, printed_percent

BACKBONES = {"t5_base": 222_903_552, "bert_base": 109_482_240}
LINES = list(csv.DictReader((folder() / FILE).open(encoding="utf-8", newline="")))


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line['method']}-{line['setting']}")
def test_a_printed_percent_is_its_counts(line: dict[str, str]) -> None:
    trained = int(line["adapter_params"]) + int(line["norm_params"])
    digits = len(line["percent_printed"].partition(".")[2])
    ours = 100 * trained / BACKBONES[line["model"]]
    assert abs(ours - float(line["percent_printed"])) <= 10**-digits  # papers cut or round the last digit


def params(adapter: int, norm: int) -> Params:
    return Params(
        tuned=adapter + norm,
        adapter=adapter,
        head=0,
        norm=norm,
        other=0,
        trainable=adapter + norm,
        backbone=222_903_552,
        tuned_percent=0.0,
        trainable_percent=0.0,
    )


def test_another_size_has_no_printed_percent() -> None:
    assert printed_percent("t5_base", "krona", params(110_592, 47_616)) == "0.07 (krona)"
    assert printed_percent("t5_base", "krona", params(110_592, 0)) is None
    assert printed_percent("t5_base", "krona", params(221_184, 47_616)) is None
    assert printed_percent("bert_base", "krona", params(110_592, 47_616)) is None


def test_params_shows_the_column_where_a_paper_prints_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["params", "adapter=krona,parallel_adapter", "model=t5_base"]) == 0
    shown = capsys.readouterr().out
    assert "paper prints %" in shown and "0.07 (krona)" in shown
    assert "0.06" not in shown  # the preset's bottleneck is 24, the paper's 2
    assert run_command(["params", "adapter=krona", "model=bert_base"]) == 0
    assert "paper prints" not in capsys.readouterr().out
