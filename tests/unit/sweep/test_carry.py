"""Carry: a run's files come back from a node that does not see the results folder, and only from such a node."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from petbench.sweep.carry import Carried, Carrier, unpack

FILES = {
    "config.yaml": b"seed: 0", "adapter/adapter.safetensors": bytes(range(256)), "record.json": b"{}",
    "claim.json": b"mine", "resume.safetensors": b"half", ".claim.lock": b"",
}  # fmt: skip


def train(config: Any) -> float:
    """What a node does with the run `new`."""
    for name, content in FILES.items():
        path = Path(config.results_dir) / "runs" / "new" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0.75


def test_a_node_with_another_disk_hands_its_run_back(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (there / "runs" / "old").mkdir(parents=True)
    (there / "runs" / "old" / "record.json").write_text("{}")  # of an earlier sweep of that node
    carrier = Carrier(train)
    with carrier.marking(here):
        sent = pickle.loads(pickle.dumps(carrier))(OmegaConf.create({"results_dir": str(there)}))
    assert isinstance(sent, Carried) and sent.value == 0.75
    assert list(here.iterdir()) == []  # the mark is gone
    unpack(sent, here)
    found = {path.relative_to(here / "runs").as_posix(): path.read_bytes() for path in here.rglob("*.*")}
    came = {"config.yaml", "adapter/adapter.safetensors", "record.json"}
    assert found == {f"new/{name}": FILES[name] for name in came}


def test_the_record_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from petbench.sweep import carry

    written: list[str] = []
    plain = carry.replacing

    def noted(path: Path) -> Any:
        written.append(path.name)
        return plain(path)

    monkeypatch.setattr(carry, "replacing", noted)
    unpack(Carried(None, {"new": {"record.json": b"{}", "zero.txt": b"0", "a.txt": b"1"}}), tmp_path)
    assert written[-1] == "record.json" and len(written) == 3


def test_a_shared_folder_sends_only_the_score(tmp_path: Path) -> None:
    carrier = Carrier(train)
    with carrier.marking(tmp_path):
        assert carrier(OmegaConf.create({"results_dir": str(tmp_path)})) == 0.75
    unpack(0.75, tmp_path)
    assert not list(tmp_path.glob(".seen-*"))
