"""What is wrong with a run is said before torch is imported, and mistakes still come in one message."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from petbench.commands.early import check_members, check_run
from petbench.compose.expand import expand
from petbench.errors import UserError

TINY = ["task=rte", "model=tiny_bert", "data=toy"]


def values(*overrides: str) -> dict[str, Any]:
    (member,) = expand(overrides)
    return member.values


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([*TINY, "trainer.epochs=0"], "trainer.epochs: got 0"),
        (
            ["task=rte", "model=tiny_bert", "data=local", "data.dir=nowhere"],
            "data.dir=nowhere is not a folder",
        ),
        (["task=rte", "model=tiny_bert", "data=local", "data.dir=."], "holds no folder for task=rte"),
        (["task=rte", "data=toy", "model.name=./nowhere"], "there is no folder ./nowhere"),
        ([*TINY, "results_dir=taken"], "cannot write taken/runs: Not a directory"),
    ],
)
def test_mistakes_that_need_no_torch(
    overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(UserError, match=message):
        check_run(values(*overrides), overrides)


def test_what_waits_for_the_method() -> None:
    """A key of the method may be wrong, too: the method's own message names both. A plan needs no folder."""
    wrong = [*TINY, "adapter.rankk=2", "trainer.epochs=0"]
    check_run(values(*wrong), wrong)
    check_run(values("task=rte", "data=toy", "model.name=./nowhere", "plan=true"), [])


def test_a_sweep_starts_where_one_member_can() -> None:
    there, missing = values(*TINY), values("task=rte", "model=tiny_bert", "data=local", "data.dir=nowhere")
    check_members([missing, there])
    with pytest.raises(UserError, match=r"data\.dir=nowhere is not a folder"):
        check_members([missing, missing])


def test_torch_is_not_imported_by_the_checks(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom petbench.cli import run_command\n"
        "status = run_command(['train', 'task=rte', 'model=tiny_bert', 'data=local', 'data.dir=nowhere'])\n"
        "print(status, 'torch' in sys.modules)\n"
        "words = ['seed=0,1', 'task=rte', 'model=tiny_bert', 'data=local', 'data.dir=no']\n"
        "status = run_command(['train', '-m', *words])\n"
        "print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert [line for line in done.stdout.splitlines() if line.endswith(("True", "False"))] == ["2 False"] * 2
