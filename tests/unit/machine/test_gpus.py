"""The machine's GPUs: which a process may use, by turns; and the word where none is seen."""

from pathlib import Path

import pytest

from petbench.machine import gpus


@pytest.mark.parametrize(
    ("said", "number", "found"),
    [
        (None, 0, ""),
        (None, 3, "0 1 2"),
        ("", 3, ""),
        ("-1", 3, ""),
        ("1", 3, "1"),
        ("2,0", 3, "2 0"),
        (" 2 , 0 ", 3, "2 0"),
        ("0,7,1", 3, "0"),  # CUDA reads up to the first that is not there
        ("0,-1,1", 3, "0"),
        ("1,1", 3, "1"),
        ("GPU-8f2a,MIG-77", 3, "GPU-8f2a MIG-77"),
        ("0", 0, ""),
    ],
)
def test_usable_as_cuda_reads_it(said: str | None, number: int, found: str) -> None:
    environment = {} if said is None else {gpus.VISIBLE: said}
    assert " ".join(gpus.usable(environment, number)) == found


def test_jobs_take_turns() -> None:
    assert [gpus.turn(("2", "0"), job) for job in range(5)] == ["2", "0", "2", "0", "2"]
    assert gpus.turn((), 3) is None


def test_the_driver_says_how_many_there_are(tmp_path: Path) -> None:
    assert gpus.present(tmp_path / "none") == 0
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert gpus.present(tmp_path) == 2


@pytest.mark.parametrize(
    ("wanted", "used", "number", "environment", "said"),
    [
        ("auto", "cuda", 2, {}, ""),
        ("auto", "cpu", 0, {}, ""),
        ("cpu", "cpu", 2, {}, ""),
        (
            "auto",
            "cpu",
            2,
            {gpus.VISIBLE: ""},
            "the machine has 2 GPUs: CUDA_VISIBLE_DEVICES is ''. Let it see one",
        ),
        ("auto", "cpu", 1, {}, "the machine has 1 GPU: torch sees none of them"),
    ],
)
def test_a_run_on_the_cpu_beside_gpus_says_so(
    wanted: str, used: str, number: int, environment: dict[str, str], said: str
) -> None:
    found = gpus.unseen(wanted, used, number, environment)
    assert said in found and bool(said) == bool(found)
