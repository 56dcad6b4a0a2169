"""A sweep beside another call: it waits for the runs that this one trains, and trains what it leaves."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from petbench.compose.expand import expand
from petbench.record import RECORD_FILE, Record, write_record
from petbench.sweep.members import Member, members_of
from petbench.sweep.sweep import _run_all

RUN = ["adapter=krona", "task=rte", "data=toy", "model=tiny_bert"]


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Member:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    (only,) = members_of(expand(RUN))
    return only


def leave(member: Member, status: str, at: float = 100.0) -> None:
    """What a run leaves that ended this way, `at` seconds after the epoch."""
    record = Record(
        run_id=member.run_id, status=status, reason=None if status == "done" else "stopped by the user",
        task="rte", model="tiny_bert", adapter="krona", seed=0, config={}, protocol="petbench",
    )  # fmt: skip
    write_record(record, member.spec.results_dir)
    os.utime(member.folder / RECORD_FILE, (at, at))


@pytest.mark.parametrize(
    ("status", "at", "ended"),
    [
        ("done", 100.0, True),
        ("failed", 100.0, True),
        ("diverged", 100.0, True),
        ("paused", 100.0, True),
        ("interrupted", 100.0, False),
        ("done", 50.0, False),
    ],
)
def test_what_has_ended(member: Member, status: str, at: float, ended: bool) -> None:
    assert not member.ended_since(75.0)
    leave(member, status, at)
    assert member.ended_since(75.0) is ended


@dataclass
class Beside(Member):
    """A member that another call trains for four looks; then that call is stopped or killed."""

    looks: list[str] = field(default_factory=lambda: ["vm, process 1"] * 4)
    leaves: str | None = "interrupted"

    @property
    def owner(self) -> str | None:
        if self.looks:
            return self.looks.pop()
        if self.leaves is not None:
            leave(self, self.leaves)
            self.leaves = None
        return None


@pytest.mark.parametrize("leaves", ["interrupted", None], ids=str)
def test_what_a_stopped_call_leaves_is_trained(
    member: Member, leaves: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petbench.sweep.sweep.POLL_SECONDS", 0.0)
    beside = Beside(member.composed, member.spec, member.run_id, member.prepared, leaves=leaves)
    launched: list[int] = []

    def start(left: Sequence[Member], began: float) -> None:
        launched.append(len(left))
        if not beside.looks:
            leave(beside, "done")

    _run_all([beside], start, 75.0)
    assert beside.record is not None and beside.record.status == "done"
    assert launched == [1, 1]


def test_what_twice_does_not_end_is_left(member: Member) -> None:
    launched: list[int] = []

    def start(left: Sequence[Member], began: float) -> None:
        launched.append(len(left))
        leave(member, "interrupted")

    _run_all([member], start, 75.0)
    assert launched == [1, 1]
