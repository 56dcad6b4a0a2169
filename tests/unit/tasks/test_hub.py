"""The hub, out of reach, silent, or only in its cache."""

import json
import time

import pytest

from made_glue import RTE, write_parquet
from petbench.config.sections import DataSpec
from petbench.errors import UserError
from petbench.tasks.glue import task_named
from petbench.tasks.rows import hub
from petbench.tasks.rows.load import load_splits, require_source


def test_no_hub_names_three_ways_on_within_five_seconds(monkeypatch, tmp_path):
    monkeypatch.delenv("PETBENCH_GLUE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(hub, "hub_reachable", lambda seconds=3.0: False)
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        load_splits(task_named("rte"), DataSpec())
    assert time.monotonic() - start < 5
    for way in ("data.dir=DIR", "petbench data fetch DIR", "data=toy"):
        assert way in str(caught.value)


def test_a_silent_hub_costs_no_more_than_the_probe(monkeypatch):
    """A server that takes connections and never answers."""
    import socket

    from huggingface_hub import constants

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        start = time.monotonic()
        assert hub.hub_reachable(0.3) is False
        assert time.monotonic() - start < 2


def test_rows_in_the_hubs_cache_need_no_network(tmp_path, monkeypatch):
    """The cache folder is laid out as `datasets` keeps `nyu-mll/glue`; its rows equal the local ones."""
    import datasets

    path = write_parquet(tmp_path / "glue" / "rte", "train", RTE)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub, "hub_reachable", lambda seconds=3.0: False)
    datasets.load_dataset("parquet", data_files={"train": str(path)})
    made = next((tmp_path / "cache").glob("parquet/*/0.0.0/*/dataset_info.json")).parent
    kept = tmp_path / "cache" / "nyu-mll___glue" / "rte" / "0.0.0" / ("a" * 40)
    kept.parent.mkdir(parents=True)
    made.rename(kept)
    (kept / "parquet-train.arrow").rename(kept / "glue-train.arrow")
    info = json.loads((kept / "dataset_info.json").read_text())
    info |= {"builder_name": "glue", "dataset_name": "glue", "config_name": "rte"}
    (kept / "dataset_info.json").write_text(json.dumps(info))
    local = DataSpec(dir=str(tmp_path / "glue"), allow_partial=True)
    splits = load_splits(task_named("rte"), DataSpec(source="hub"))
    assert splits.source == "hub" and splits.digest == load_splits(task_named("rte"), local).digest


def test_no_hub_and_no_cache_is_said_before_the_slow_imports(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "hub_reachable", lambda seconds=3.0: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    monkeypatch.delenv("PETBENCH_GLUE", raising=False)
    with pytest.raises(UserError, match="Do one of three things"):
        require_source(task_named("rte"), DataSpec())
    (tmp_path / "rte").mkdir()
    require_source(task_named("rte"), DataSpec(dir=str(tmp_path)))
    require_source(task_named("rte"), DataSpec(source="toy"))
    (tmp_path / "datasets/nyu-mll___glue").mkdir(parents=True)
    require_source(task_named("rte"), DataSpec())  # there may be rows: loading decides
