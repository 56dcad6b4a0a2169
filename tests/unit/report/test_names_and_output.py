"""What is printed: names are text, and an output that breaks ends no run."""

import csv
import errno
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from petbench import console
from petbench.cli import run_command
from petbench.console import Grid, Output, print_table, say, shown, warn
from petbench.report.tables import build
from petbench.report.writers.latex import escape
from petbench.report.writers.markdown import to_markdown
from petbench.report.writers.spreadsheet import to_csv
from petbench.report.writers.terminal import print_report
from petbench.training.screen import RunScreen

NASTY = [
    "[/]",
    "[bold]x",
    "[link=file:///etc]y[/link]",
    ":smile:",
    "\x1b[31mred",
    "a\rb",
    "\x9b2J",
    "\u202eabc",
    "\ud83d",
    "\x07",
]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain: übung 日本 ± ⊗ 😀", "plain: übung 日本 ± ⊗ 😀"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb\x07\x00", "a\\rb\\x07\\x00"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202eabc", "\\u202eabc"),
        ("\ud83d", "\\ud83d"),
        ("[/]", "[/]"),
    ],
)
def test_signs_that_steer_a_terminal_stand_there_as_escapes(text: str, wanted: str) -> None:
    assert shown(text) == wanted


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_wherever_they_are_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Grid(title=name)
    table.add_column(name)
    table.add_row(name)
    print_table(table)
    say(name)
    warn(name)
    screen = RunScreen(name, 10, 0, "off")
    screen.line(name)
    printed = capsys.readouterr()
    assert printed.out.count(shown(name)) == 5
    assert printed.err == f"warning: {shown(name)}\n"
    assert not set(printed.out) & set("\x1b\r\x07\x9b\u202e\ud83d")


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_in_every_report(name: str, capsys: pytest.CaptureFixture[str], make: Any) -> None:
    report = build([make(name, seed=0), make("lora", seed=0, model=name)], {})
    print_report(report, Output(markup=False, emoji=False, width=200))
    text = capsys.readouterr().out
    assert shown(name) in text
    assert not set(text) & set("\x1b\r\x07\x9b\u202e\ud83d")
    assert not set(escape(name)) & set("\x1b\r\x07\x9b\u202e")


def test_html_and_markdown_in_names_are_text(make: Any) -> None:
    names = ["<script>alert(1)</script>", "![x](http://a)", "[a](b)", "`c`", "*d*", "e|f", "<img src=x>"]
    text = to_markdown(build([make(name, seed=0, model="<b>m</b>") for name in names], {}))
    for raw in ("<script", "<img", "<b>", "[a](b)", "![x]", "`c`", "*d*"):
        assert raw not in text
    for kept in ("&lt;script&gt;", r"\[a\](b)", r"\`c\`", r"\*d\*", r"e\|f", "## &lt;b&gt;m&lt;/b&gt;"):
        assert kept in text


def test_formulas_in_csv_are_quoted_and_numbers_are_not(make: Any) -> None:
    names = ["=1+1", "+cmd", "-x", "@sum", "\t=1", "plain"]
    text = to_csv(build([make(name, "cola", seed=0, value=-0.25) for name in names], {}))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["method"] for row in rows} == {"'=1+1", "'+cmd", "'-x", "'@sum", "'\t=1", "plain"}
    assert {row["mean"] for row in rows} == {"-0.25"}


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise (
            OSError(self.number, "broken")
            if self.number != errno.EPIPE
            else BrokenPipeError(errno.EPIPE, "pipe")
        )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO])
def test_printing_goes_on_when_the_output_broke(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(number))
    screen = RunScreen("a run", 10, 0, "off")
    say("one")
    screen.evaluated(1, 0.1, 0.5, "accuracy", 0.5, True)
    table = Grid()
    table.add_column("x")
    print_table(table)
    lost = console.out.end()
    assert lost is not None and lost.errno in (number, None)
    assert console.out.end() is None


@pytest.mark.parametrize(
    ("command", "number", "status"),
    [
        ("params", errno.ENOSPC, 1), ("params", errno.EPIPE, 0), ("list", errno.ENOSPC, 1), ("list", errno.EPIPE, 0),
        ("train", errno.ENOSPC, 0), ("train", errno.EPIPE, 0),
    ],
)  # fmt: skip
def test_the_exit_status_when_the_output_broke(
    command: str,
    number: int,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run of hours is done whatever became of its screen; a table that did not get through is not."""
    monkeypatch.chdir(tmp_path)
    words = {
        "params": ["model=tiny_bert", "adapter=krona"],
        "list": ["adapters"],
        "train": ["model=tiny_bert", "task=rte", "data=toy", "trainer.max_steps=1", "cache_dir=cache"],
    }
    monkeypatch.setattr(sys, "stdout", Broken(number))
    assert run_command([command, *words[command]]) == status
    if command == "train":
        assert len(list(Path("results").glob("runs/*/record.json"))) == 1
    if status:
        assert "broken" in capsys.readouterr().err


def test_a_disk_that_is_full_is_no_bug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(argv: list[str]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "some/file")

    monkeypatch.setattr("petbench.commands.doctor.doctor_main", fail)
    assert run_command(["doctor"]) == 1
    assert capsys.readouterr().err == "error: some/file: No space left on device.\n"


def test_a_path_that_is_too_long_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["predict", "x" * 300, "new.tsv"]) == 2
    assert "File name too long" in capsys.readouterr().err
