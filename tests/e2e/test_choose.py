"""`sweep=choose` on a small file: three rounds, an answer, the same command again; `recommend` without records."""

from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from own_files import tickets
from petbench.cli import run_command
from petbench.record import read_records
from petbench.sweep.choose import FIRST_ROWS, Pace, _rows_for

WORDS = [
    "train",
    "sweep=choose",
    "data.file=tickets.csv",
    "model=tiny_bert",
    "trainer.max_steps=60",
    "trainer.eval_every=60",
    "optim.lr=2e-2",
    "results_dir=r",
]
WORDS += ["adapter=head_only,ia3,krona,lora", "--minutes", "5"]


def said(*words: str) -> tuple[int, str]:
    out = StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        status = run_command(list(words))
    return status, " ".join(out.getvalue().split())


@dataclass
class Chosen:
    folder: Path
    first: tuple[int, str]
    again: tuple[int, str]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Chosen:
    folder = tmp_path_factory.mktemp("choose")
    tickets(folder / "tickets.csv", rows=400)
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        return Chosen(folder, said(*WORDS), said(*WORDS))


def test_three_rounds_and_an_answer(chosen: Chosen) -> None:
    status, text = chosen.first
    assert status == 0, text
    assert text.count("label queue, 3 classes") == 1
    assert (
        "Round 1 of 3: 4 methods on 256 rows" in text
        and "Round 3 of 3: 3 methods on all rows and 2 seeds" in text
    )
    assert "The command of its runs, which saw all rows:" in text and "petbench train adapter=" in text
    records = list(read_records(chosen.folder / "r"))
    trials = [record for record in records if record.is_trial]
    assert all(record.is_cut and record.seed == 1000 for record in trials) and 4 <= len(trials) <= 7
    finals = [record for record in records if not record.is_trial]
    assert len(finals) == 6 and {record.seed for record in finals} == {0, 1}
    assert all(record.config["data"]["max_train_examples"] is None for record in finals)


def test_where_nothing_is_learnt_there_is_no_answer(chosen: Chosen) -> None:
    """Four steps: all rows get one answer, so scores rank nothing, and more rows are tried as long as there are any."""
    words = [word for word in WORDS if not word.startswith(("trainer.max_steps", "results_dir"))]
    with chdir(chosen.folder):
        status, text = said(*words, "trainer.max_steps=4", "trainer.select=last", "results_dir=short")
    assert status == 0
    assert "Round 2 of 3: 4 methods on all rows" in text and "Round 3" not in text
    assert "No answer within 5 minutes: on all 288 rows 0 of 4 methods give more than one answer" in text
    assert (
        "The same command goes on with more time: --minutes 10; where all rows teach nothing, train longer"
        in text
    )


def test_where_the_time_is_over_there_is_no_answer(chosen: Chosen) -> None:
    """Round 1, which is there, took more than the time: nothing is trained after it."""
    before = len(list((chosen.folder / "r/runs").iterdir()))
    with chdir(chosen.folder):
        status, text = said(*WORDS[:-1], "0.001")
    assert status == 0 and text.count("Round ") == 1
    assert "No answer within 0.001 minutes: on 256 rows" in text
    assert len(list((chosen.folder / "r/runs").iterdir())) == before


def test_a_collapsed_method_is_never_the_answer(chosen: Chosen) -> None:
    records = [record for record in read_records(chosen.folder / "r") if not record.is_trial]
    learnt = {record.adapter for record in records if not record.collapsed}
    use = chosen.first[1].partition("Use ")[2].split(" ")[0]
    assert use in learnt
    if learnt != {record.adapter for record in records}:
        assert "nothing learnt: no better than one answer for all rows" in chosen.first[1]


def test_the_same_command_runs_nothing_anew(chosen: Chosen) -> None:
    status, text = chosen.again
    assert status == 0 and text.count("Nothing to run.") == text.count("Round ") >= 2
    answer = chosen.first[1][chosen.first[1].index("Use ") :]
    assert answer in text


def test_no_records_names_the_command(tmp_path: Path) -> None:
    status, text = said("recommend", str(tmp_path))
    assert status == 2 and "petbench train sweep=choose data.file=FILE" in text


@pytest.mark.parametrize("minutes", ["0", "-1", "soon", "true"])
def test_minutes_are_a_number_above_0(minutes: str, chosen: Chosen) -> None:
    with chdir(chosen.folder):
        status, text = said(*WORDS[:-1], minutes)
    assert status == 2 and "minutes: got" in text


@pytest.mark.parametrize(
    ("seconds", "whole", "rows"),
    [
        (1e9, 10_000, None),
        (1.0, 200, None),
        (8.0, 10_000, 0),
        (8.0 + 4 * 255, 10_000, 0),
        (8.0 + 4 * 256, 10_000, FIRST_ROWS),
        (8.0 + 4 * 1023, 10_000, 768),
        (8.0 + 4 * 1024, 10_000, 1024),
        (8.0 + 4 * 1024, 1024, None),
        (7.0 + 4 * 1024, 1024, 768),
    ],
)
def test_rows_follow_from_the_time(seconds: float, whole: int, rows: int | None) -> None:
    """Four runs at two seconds and a second a row: multiples of 256 that fit."""
    assert _rows_for(seconds, [Pace(2.0, 1.0)] * 4, whole) == rows
    assert _rows_for(7.0, [Pace(2.0, 0.0)] * 4, whole) == (None if whole == 200 else 0)
