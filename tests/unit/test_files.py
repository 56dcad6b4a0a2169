"""Every file that petbench writes: whole or not at all, readable as the umask says, its refusal in words."""

from pathlib import Path

import numpy as np
import pytest
import torch

from petbench.errors import UserError
from petbench.files import filling, replacing, replacing_folder, write_json, write_text
from petbench.tasks.encode import token_cache
from petbench.tasks.glue import task_named
from petbench.tasks.rows.fetch import write_split
from petbench.tasks.splits import Split
from petbench.tuned.checkpoint import save_tensors

WRITERS = {
    "text": lambda folder: write_text(folder / "a.txt", "a"),
    "tensors": lambda folder: save_tensors({"a": torch.ones(2)}, folder / "a.safetensors"),
    "tokens": lambda folder: token_cache.write(
        folder, "key", {"ids": np.ones(1), "offsets": np.array([0, 1])}
    ),
    "rows": lambda folder: write_split(
        folder / "train.parquet", task_named("cola"), Split("train", [0], {"sentence": ["a"]}, [1])
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_are_readable_as_the_umask_says(name: str, tmp_path: Path) -> None:
    """A results folder, a cache and a data folder may be shared."""
    WRITERS[name](tmp_path / "new")
    (tmp_path / "plain.txt").write_text("b")
    (written,) = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert written.stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == '{\n  "a": 1\n}\n'


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "new" / "out", "--out") as half:
        (half / "a").write_text("half")
        raise KeyboardInterrupt
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "new" / "out").mkdir()  # an empty folder may be there
    with replacing_folder(tmp_path / "new" / "out", "--out") as half:
        (half / "sub").mkdir()
        (half / "sub" / "a").write_text("whole")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "new", "new/out", "new/out/sub", "new/out/sub/a",
    ]  # fmt: skip
    late = replacing_folder(tmp_path / "new" / "out", "--out")
    with pytest.raises(UserError, match=r"cannot write .*out: Directory not empty"), late as half:
        (half / "b").write_text("late")
    assert (tmp_path / "new/out/sub/a").read_text() == "whole"


def test_files_take_their_places_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ZeroDivisionError), filling(tmp_path, "--out") as half:
        (half / "a").write_text("new")
        _ = 1 / 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "mine": "mine"}
    with filling(tmp_path, "--out") as half:
        (half / "plots").mkdir()
        (half / "a").write_text("new")
        (half / "plots" / "b").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "mine", "plots"]
    assert (tmp_path / "a").read_text() == (tmp_path / "plots" / "b").read_text() == "new"


def test_a_refusal_says_why_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (WRITERS["text"], WRITERS["tensors"], WRITERS["rows"]):
        with pytest.raises(
            UserError, match=r"cannot write .*: (File exists|Not a directory)\. Free space or give another"
        ):
            write(tmp_path / "file")
    with pytest.raises(UserError, match="give another --out"):
        write_text(tmp_path / "file" / "b", "b", instead="--out")
