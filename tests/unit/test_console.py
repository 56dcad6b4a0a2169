"""What a person sees: lines where there is no terminal, titles in one piece, silence of all processes but one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from petbench.cli import run_command
from petbench.commands import tables
from petbench.commands.tables import params_table
from petbench.console import busy, member_of_sweep, print_table, say, spinning, warn
from petbench.training.screen import RunScreen


def test_plain_lines_come_at_evaluations_and_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("petbench.training.screen.time.monotonic", lambda: now[0])
    screen = RunScreen("krona on rte", 100, 0, "auto")
    screen.step(1, 0.5)
    now[0] = 16.0  # a line every 15 s
    screen.step(2, 0.25)
    screen.step(3, None)  # nobody has asked the device for this loss
    screen.step(4, 0.125)
    screen.evaluated(10, 0.5, 0.2, "accuracy", 0.75, best=True)
    screen.evaluated(20, 1.0, 0.1, "accuracy", 0.7, best=False)
    screen.close()
    assert capsys.readouterr().out.splitlines() == [
        "step 2/100  loss 0.2500",
        "step 10/100  epoch 0.50  loss 0.2000  selection accuracy 0.7500  best so far",
        "step 20/100  epoch 1.00  loss 0.1000  selection accuracy 0.7000",
    ]


def test_a_title_is_one_line_whatever_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title="a title that is much longer than the narrow table below it [not markup]")
    table.add_column("x")
    table.add_row("1")
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a title that is much longer than the narrow table below it [not markup]"
    assert lines[1].strip() == "┏━━━┓"


def test_a_wide_table_is_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    params = dict.fromkeys(
        ("tuned", "adapter", "head", "norm", "other", "trainable", "backbone"), 1_234_567_890
    )
    row = {"adapter": "a" * 60, "params": params | {"tuned_percent": 12.34567}, "mergeable": None}
    print_table(params_table([row], "wide"))
    text = capsys.readouterr().out
    assert "a" * 60 in text
    assert text.count("1,234,567,890") == 7
    assert re.search(r"│ +12 │", text)


def test_brackets_and_long_lines_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    text = "adapter.factor_shape=[32,24] " * 20
    say(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_one_run_among_several_says_whose_its_lines_are(capsys: pytest.CaptureFixture[str]) -> None:
    """And is silent where a bar on the same terminal shows how it goes; its warnings are never lost."""
    with member_of_sweep("krona rte minilm seed 0", silent=False):
        screen = RunScreen("krona on rte", 10, 0, "auto")
        screen.evaluated(10, 0.5, 0.2, "accuracy", 0.75, best=False)
        screen.close()
        warn("rows are odd")
    with member_of_sweep("lora rte minilm seed 0", silent=True):
        say("nobody sees this")
        warn("disk is slow")
    say("the sweep's own line")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "krona rte minilm seed 0 | step 10/10  epoch 0.50  loss 0.2000  selection accuracy 0.7500",
        "the sweep's own line",
    ]
    assert printed.err.splitlines() == [
        "warning: krona rte minilm seed 0: rows are odd",
        "warning: lora rte minilm seed 0: disk is slow",
    ]


def test_no_spinner_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with spinning():
        busy("loading")
        say("a line")
    assert capsys.readouterr().out == "a line\n"


def test_the_second_process_of_a_launcher_prints_nothing() -> None:
    program = "from petbench.console import say, print_table, is_main_process; from rich.table import Table\n"
    program += "say('here'); print_table(Table(title='t')); import sys; sys.exit(is_main_process())"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "RANK": "1"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_doctor_says_what_is_in_reach(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("petbench.commands.doctor.hub_reachable", lambda *_: False)
    monkeypatch.delenv("PETBENCH_GLUE", raising=False)
    assert run_command(["doctor"]) == 0
    text = capsys.readouterr().out
    for start in (
        "python ",
        "torch ",
        "transformers ",
        "peft ",
        "device ",
        "precision ",
        "extra optuna ",
        "disk ",
    ):
        assert any(line.startswith(start) for line in text.splitlines()), start
    assert "hub            not in reach" in text
    assert "PETBENCH_GLUE is not set" in text
    (tmp_path / "rte").mkdir()
    (tmp_path / "rte/train.parquet").touch()
    monkeypatch.setenv("PETBENCH_GLUE", str(tmp_path))
    assert run_command(["doctor"]) == 0
    assert "tasks there: rte" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ({"torch": ("1.0", "99.0")}, ["every version lies in the tested range"]),
        (
            {"torch": ("98.0", "99.0"), "peft": ("0.1", "0.2")},
            ["torch VERSION is older than what was tested: 98.0 to 99.0",
             "peft VERSION is newer than what was tested: 0.1 to 0.2"],
        ),
    ],
    ids=["inside", "outside"],
)  # fmt: skip
def test_doctor_says_which_versions_were_not_tested(
    ranges: dict[str, tuple[str, str]],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("petbench.commands.doctor.hub_reachable", lambda *_: False)
    monkeypatch.setattr("petbench.commands.doctor.ranges", lambda: ranges)
    assert run_command(["doctor"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tested ")]
    here = [re.sub(r"(?<=torch |.peft )[\d.]+(?= is)", "VERSION", line) for line in lines]
    assert here == [f"tested         {line}" for line in said]


def test_lists_say_what_each_choice_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["list", "tasks"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert len(lines) == 16
    assert any(line.startswith("  rte   ") for line in lines)
    assert run_command(["list", "adapterz"]) == 2
    assert "list: 'adapterz' is unknown. Did you mean 'adapters'?" in capsys.readouterr().err


def test_every_method_is_listed_with_formula_and_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["list", "adapters"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    form = re.compile(r"\S+ +[^:]+: .*[=+·⊙⊗\[].*\. [A-Z]\D+ (19|20)\d\d, arXiv \d{4}\.\d{5}\.")
    assert len(lines) > 35
    assert not [line for line in lines if not form.fullmatch(line)]


def test_rows_without_a_measured_value_are_blank() -> None:
    assert tables._cell(None) == ""
    assert tables._cell(True) == "yes"
    assert tables._cell(12345) == "12,345"
