"""The tour of docs/tour.md from its question to its answer: every command runs, and what the page promises is said."""

import re
from collections.abc import Iterator

import pytest

from page_tour import DOCS, Tour, commands, ran, toured

VERDICTS = ("It is the ", "It is significantly better ", "No two of the ")  # by recommend, of what it names
LARGER = ("Larger methods, each compared with it alone", "  +", "  -")
SWEEP = "petbench train -m adapter=krona,lora,head_only seed=0,1,2 task=sst2"


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    with toured("tour.md", tmp_path_factory.mktemp("tour")) as made:
        yield made


def test_every_command_does_its_work(tour: Tour) -> None:
    assert not {line: said for line, said in tour.said.items() if said[0] != 0} and len(tour.said) >= 11


def test_a_plan_runs_nothing_and_the_sweep_runs_nine(tour: Tour) -> None:
    plan, sweep = (said for line, said in tour.said.items() if line.startswith(SWEEP))
    assert "Plan: 9 runs on tiny_bert" in plan[1] and "9 runs to train, 1,800 steps" in plan[1]
    assert "9 done." in sweep[1] and "9 done" in tour.of("petbench status")[1]
    assert {(record.adapter, record.seed) for record in tour.records("tour")} == {
        (adapter, seed) for adapter in ("krona", "lora", "head_only") for seed in (0, 1, 2)
    }
    assert (tour.folder / "tour/report/index.html").is_file()


def test_the_same_command_again_has_nothing_to_do(tour: Tour) -> None:
    line = next(line for line in commands("tour.md") if line.startswith(SWEEP) and "plan=" not in line)
    status, said, _ = ran(line)
    assert status == 0 and "9 of 9 runs are done already" in said and "Nothing to run." in said


def test_the_answer_is_under_the_limit_and_ahead_of_the_head_alone(tour: Tour) -> None:
    use = re.search(r"Use (\w+) \(([\d,]+) tuned parameters", tour.of("petbench recommend")[1])
    assert use and use[1] in ("krona", "lora") and int(use[2].replace(",", "")) <= 5_000
    status, told, _ = ran("petbench compare adapter=lora adapter=head_only --results-dir tour")
    assert status == 0 and "On sst2, lora is ahead of head_only by " in told
    assert "Smallest true difference detected with power 0.8" in tour.of("petbench power")[1]
    assert (tour.folder / "plain/model.safetensors").is_file()


def test_what_the_page_shows_is_what_is_printed(tour: Tour) -> None:
    """By the first word of every line: numbers are those of a machine. So is what `recommend` says below its answer:
    scores that differ in the last step of training may carry another verdict, and another list of larger methods."""
    page = (DOCS / "tour.md").read_text(encoding="utf-8")
    shown = "\n".join(re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    printed = {first_word(line) for said in tour.said.values() for line in said[1].splitlines()}
    missing = [
        line
        for line in shown.splitlines()
        if not line.startswith((*VERDICTS, *LARGER)) and first_word(line) not in printed
    ]
    assert shown.count("\n") > 15 and not missing
    said = tour.of("petbench recommend")[1].splitlines()
    assert sum(line.startswith(VERDICTS) for line in said) == 1
    assert any(line.startswith(VERDICTS) for line in shown.splitlines())
    below = [line for line in said if line.startswith(LARGER)]  # a head and the methods, or nothing
    assert not below or (below[0].startswith(LARGER[0]) and len(below) > 1)


def first_word(line: str) -> str:
    """The first word of letters of a line."""
    found = re.search(r"[A-Za-z_]+", line)
    return found[0] if found else ""
