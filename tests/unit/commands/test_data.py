"""`petbench data check` in words and exit status."""

from pathlib import Path

import pytest

from petbench.cli import run_command
from petbench.tasks.glue import task_named
from petbench.tasks.rows.fetch import write_split
from petbench.tasks.toy import toy_splits


def test_check_lists_every_split_and_fails_on_a_bad_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wnli = task_named("wnli")
    splits = toy_splits(wnli, wnli.rows["train"], wnli.rows["test"])
    for name in ("train", "test"):
        write_split(tmp_path / "wnli" / f"{name}.parquet", wnli, splits.part(name))
    assert run_command(["data", "check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "wnli  train                 ok           635 rows" in said
    assert said.endswith(f"{tmp_path}: 2 splits right, 0 bad, 28 missing\n")
    write_split(tmp_path / "wnli" / "test.parquet", wnli, splits.part("test").take(range(9)))
    assert run_command(["data", "check", str(tmp_path)]) == 1
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "wnli test bad 9 rows 9 rows, officially 146" in said


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["data", "check", str(tmp_path / "none")]) == 2
    assert "is not a folder. Give one that `petbench data fetch DIR` has filled" in capsys.readouterr().err
