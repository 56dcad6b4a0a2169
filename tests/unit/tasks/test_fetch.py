"""Folders for machines without network: fetched, and verified."""

import hashlib

import pytest

from petbench.config.sections import DataSpec
from petbench.errors import UserError
from petbench.tasks.glue import TASKS, task_named
from petbench.tasks.rows import fetch as fetching
from petbench.tasks.rows.load import load_splits
from petbench.tasks.toy import toy_splits


@pytest.fixture
def small_hub(monkeypatch):
    """A hub of toy rows, whose official row counts are those of the toy splits."""
    asked = []

    def load(task):
        asked.append(task.name)
        return toy_splits(task, 16, 8)

    for task in TASKS.values():
        rows = {name: 16 if name == "train" else 8 for name in task.splits}
        monkeypatch.setitem(task.__dict__, "rows", rows)
    monkeypatch.setattr(fetching, "load_hub", load)
    monkeypatch.setattr(fetching, "hub_reachable", lambda: True)
    return asked


def test_fetch_then_check_then_load(tmp_path, small_hub):
    lines = []
    fetching.fetch(tmp_path, lines.append)
    assert len(list(tmp_path.glob("*/*.parquet"))) == 30 and "mnli test_matched: 8 rows" in lines
    report = fetching.check(tmp_path)
    assert report.whole and len(report.findings) == 30
    listed = dict(line.split("  ")[::-1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines())
    assert (
        listed["rte/train.parquet"]
        == hashlib.sha256((tmp_path / "rte/train.parquet").read_bytes()).hexdigest()
    )
    local = load_splits(task_named("stsb"), DataSpec(dir=str(tmp_path)))
    assert [round(label, 4) for label in local.part("train").labels] == toy_splits(TASKS["stsb"], 16, 8).part(
        "train"
    ).labels
    assert local.part("test").labels is None


def test_fetch_goes_on_where_it_stopped(tmp_path, small_hub):
    fetching.fetch(tmp_path)
    small_hub.clear()
    (tmp_path / "rte" / "train.parquet").unlink()
    fetching.fetch(tmp_path)
    assert small_hub == ["rte"] and fetching.check(tmp_path).whole


def test_check_names_what_is_wrong(tmp_path, small_hub):
    fetching.fetch(tmp_path)
    (tmp_path / "rte" / "train.parquet").write_bytes(b"PAR1")
    (tmp_path / "cola" / "test.parquet").unlink()
    fetching.write_split(
        tmp_path / "wnli/validation.parquet",
        TASKS["wnli"],
        toy_splits(TASKS["wnli"], 8, 9).part("validation"),
    )
    (tmp_path / "SHA256SUMS").write_text(
        "".join(line for line in (tmp_path / "SHA256SUMS").open() if "wnli/validation" not in line)
    )
    other = toy_splits(TASKS["sst2"], 8, 16).part("validation").take(range(8, 16))
    fetching.write_split(tmp_path / "sst2/validation.parquet", TASKS["sst2"], other)
    report = fetching.check(tmp_path)
    assert [(f.task, f.split) for f in report.missing] == [("cola", "test")]
    found = {(f.task, f.split): f.detail for f in report.bad}
    assert "cannot read" in found["rte", "train"]
    assert found["wnli", "validation"] == "9 rows, officially 8"
    assert found["sst2", "validation"] == "checksum differs from SHA256SUMS"
    assert len(found) == 3 and not report.whole


def test_fetch_without_a_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "hub_reachable", lambda: False)
    with pytest.raises(UserError, match="petbench data fetch DIR"):
        fetching.fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_check_wants_a_folder(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        fetching.check(tmp_path / "nothing")
