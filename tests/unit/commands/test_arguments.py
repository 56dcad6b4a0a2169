"""Mistakes in the arguments of every command: exit 2, what was got, what is legal, and nothing written."""

import os
import re
from pathlib import Path

import pytest

from petbench.cli import COMMANDS, run_command

CORES = os.cpu_count() or 1
OUT_IS_FILE = r"argument --out: taken is a file\. Give a folder"
BELOW_FILE = r"argument --out: cannot write taken/x.*: \S*taken is a file, not a folder"
WANDB = r"Legal: 1 to 128 characters, none of / \\ # \? % :"
TABLE: list[tuple[str, str]] = [
    ("status nowhere", r"there is no folder nowhere"),
    ("status --every 0", r"argument --every: got '0'\. Legal: a whole number from 1 to 3600"),
    ("info kronna", r"adapter: 'kronna' is unknown\. Did you mean 'krona'\?"),
    ("info krona --model tiny_burt", r"model: 'tiny_burt' is unknown"),
    ("recommend nowhere", r"no records in nowhere/runs"),
    *(
        (f"bench --{name} {value}", rf"argument --{name}: got '{value}'\. Legal: a whole number from 1 to ")
        for name in ("batch", "length", "rounds", "threads")
        for value in ("0", "-1", "1.5", "a", "1e3", "", "9999999999")
    ),
    (f"bench --threads {CORES + 1}", rf"Legal: a whole number from 1 to {CORES}"),
    ("bench --what speed", r"--what: got 'speed'\. Legal: step, latency, memory"),
    ("bench --nosuch", r"unrecognized arguments: --nosuch"),
    *(
        (
            f"predict run new.tsv --batch {value}",
            rf"argument --batch/--batch-size: got '{value}'\. Legal: a whole number from 1",
        )
        for value in ("0", "-3", "x", "2.0")
    ),
    ("predict run", r"the following arguments are required: FILE"),
    ("predict run new.tsv --device tpu", r"argument --device: invalid choice: 'tpu' \(choose from"),
    ("predict run new.tsv --out labels.xlsx", r"--out: ending '\.xlsx'\. Legal: \.tsv, \.csv, \.jsonl"),
    ("predict run new.tsv --out taken/x.tsv", BELOW_FILE),
    ("predict run new.tsv --out folder.tsv", r"argument --out: folder\.tsv is a folder\. Give a file"),
    ("predict nowhere new.tsv", r"no trained run at 'nowhere'"),
    ("merge nowhere --out new", r"no trained run at 'nowhere'"),
    ("merge run", r"the following arguments are required: --out"),
    ("merge run --out taken", OUT_IS_FILE),
    ("merge run --out taken/x", BELOW_FILE),
    ("merge run --out taken/x/y/z", BELOW_FILE),
    ("export run --out taken", OUT_IS_FILE),
    ("export run --out taken/x", BELOW_FILE),
    ("export run --out new --to onnx", r"argument --to: invalid choice: 'onnx'"),
    *(
        (
            f"export run --out new --{name} {value}",
            rf"argument --{name}: got '{value}'\. Legal: a whole number from 1 up",
        )
        for name in ("max-rank", "approximate")
        for value in ("0", "-1", "a", "1.5")
    ),
    ("export nowhere --out new", r"no trained run at 'nowhere'"),
    ("report nowhere", r"no records in nowhere/runs"),
    ("report taken", r"no records in taken/runs"),
    ("report --out taken", OUT_IS_FILE),
    ("report --out taken/x", BELOW_FILE),
    ("report --where rte", r"'rte' is not a condition\. Write key=value"),
    *(
        (f"report --wandb {name}", WANDB)
        for name in ("a/b/c", "a#b", "a?b", "a%b", "a:b", "a\\b", "x" * 129, "/b", "a/")
    ),
    ("power nowhere", r"'nowhere' is not a setting\. Legal: task=NAME, seeds=3,5,10"),
    ("power seeds=1", r"seeds: got '1'\. Legal: whole numbers from 2 to 1,000"),
    ("power --seeds-std 1", r"--seeds-std needs the number of report rows, at least 2"),
    ("power --difference 0", r"--difference: got 0\. Legal: points above 0, up to 100"),
    ("compare a", r"the following arguments are required: B"),
    ("compare adapter=krona adapter=lora", r"no records in results/runs"),
    ("submit", r"submit: no runs named"),
    ("submit nowhere --out glue.zip", r"no run 'nowhere'"),
    ("submit nowhere --out taken/x.zip", BELOW_FILE),
    ("submit --check nowhere.zip", r"argument --check: there is no file nowhere\.zip"),
    ("sync nowhere", r"results folder 'nowhere' does not exist"),
    ("sync taken", r"results folder 'taken' does not exist"),
    ("data check nowhere", r"nowhere"),
    ("recommend nowhere", r"no records in nowhere/runs"),
    ("new", r"petbench new: got ''\. Legal: method NAME --dir DIR; task NAME --from FILE"),
    ("new task a --from nowhere.csv", r"there is no file or folder"),
    ("new task 1a --from taken", r"got '1a'\. Legal: letters, digits and _"),
    ("data steal nowhere", r"argument action: invalid choice: 'steal'"),
    ("data check", r"the following arguments are required: DIR"),
    ("list adaptrs", r"list: 'adaptrs' is unknown\. Did you mean 'adapters'\?"),
    ("list", r"the following arguments are required: kind"),
    ("conformance kronna", r"'kronna' is unknown\. Did you mean 'krona'\?"),
    ("conformance", r"the following arguments are required: name"),
    ("new method krona --dir made", r"NAME: there is an adapter=krona already"),
    ("new method My-Method --dir made", r"NAME: got 'My-Method'\. Legal: lower-case letters"),
    ("new task x --dir made", r"the following arguments are required: --from"),
    ("doctor now", r"unrecognized arguments: now"),
    ("wandb page me/mine", r"argument kind: invalid choice: 'page'"),
    ("reproduce", r"name a recipe: petbench reproduce recipe=NAME\. Legal: "),
    ("reproduce recipe=kronna", r"recipe: 'kronna' is unknown"),
    ("reproduce recipe=krona_table1 --only task=rte task=rte", r"task is given twice"),
    ("params adapter=kronna", r"adapter: 'kronna' is unknown"),
    ("params --jsn", r"unrecognized arguments: --jsn"),
    *(
        (f"{command} --config-dir nowhere", r"--config-dir\S*: there is no folder nowhere")
        for command in ("params", "reproduce recipe=x", "train", "train -m")
    ),
    ("train --config-dir taken", r"--config-dir: there is no folder taken"),
    ("train -m --nosuch", r"unknown flags in a sweep: --nosuch"),
    ("train recipe=kronna", r"recipe: 'kronna' is unknown"),
]


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file")
    Path("folder.tsv").mkdir()
    Path("new.tsv").write_text("sentence\nx\n")


@pytest.mark.parametrize(("line", "message"), TABLE, ids=[line for line, _ in TABLE])
def test_a_mistake_is_said(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(Path().rglob("*"))
    assert run_command(line.split(" ")) == 2
    error = capsys.readouterr().err.removeprefix("petbench predict: run labels new.tsv\n")
    error = error.removeprefix(
        "petbench predict: nowhere labels new.tsv\n"
    )  # the first line of what it was to do
    assert re.search(message, error), error
    assert error.startswith("error: ") and "bug" not in error.lower() and len(error.splitlines()) <= 3
    assert set(Path().rglob("*")) == before


def test_the_table_has_every_command() -> None:
    assert {line.split(" ")[0] for line, _ in TABLE} == set(COMMANDS)


@pytest.mark.parametrize("command", ["merge", "export", "predict"])
def test_a_tilde_in_a_run_is_the_home_folder(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    more = ["new.tsv"] if command == "predict" else ["--out=~/new"]
    assert run_command([command, "~/r", *more, "--results-dir=~/res"]) == 2
    assert f"no trained run at '{tmp_path}/home/r'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "petbench.commands.arguments.os.access", lambda path, mode: False
    )  # root may write anywhere
    assert run_command(["merge", "run", "--out", "a/b"]) == 2
    assert re.search(r"argument --out: cannot write a/b: \S+ is read-only", capsys.readouterr().err)
