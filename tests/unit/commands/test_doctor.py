"""What `petbench doctor` says of the GPUs of a machine: who would get which."""

import pytest

from petbench.commands import doctor
from petbench.machine.gpus import VISIBLE


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "present", lambda: 4)


@pytest.mark.parametrize(
    ("visible", "single", "turns"),
    [(None, "0", "0, 1, 2, 3, 0, 1"), ("2,3", "2", "2, 3, 2, 3"), ("1", "1", "1, 1, 1")],
)
@pytest.mark.usefixtures("four")
def test_who_gets_which_gpu(
    visible: str | None, single: str, turns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    first, *launchers = doctor._gpus("cuda")
    assert first == f"4 in the machine; a single run gets GPU {single}"
    assert f"joblib: simultaneous runs get GPU {turns}, …" in launchers


@pytest.mark.usefixtures("four")
def test_hidden_gpus_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "")
    (line,) = doctor._gpus("cpu")
    assert "though the machine has 4 GPUs" in line and "CUDA_VISIBLE_DEVICES" in line


def test_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "present", lambda: 0)
    monkeypatch.delenv(VISIBLE, raising=False)
    assert doctor._gpus("cpu") == ["none: every run trains on the CPU"]
