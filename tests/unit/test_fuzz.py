"""Whatever stands in a config, a record, a file of rows or an adapter folder: only declared errors come out."""

import copy
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.errors import UserError
from petbench.record import Record, read_record, write_record
from petbench.tasks.glue import task_named
from petbench.tasks.rows.tsv import read_tsv
from petbench.tuned.checkpoint import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_adapter,
    read_adapter_config,
    save_adapter,
)

SOME = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANY = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@cache
def values() -> dict[str, Any]:
    (member,) = expand(["adapter=krona", "task=rte", "model=tiny_bert", "data=toy"])
    return member.values


def places(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every value below a tree."""
    below = tree.items() if isinstance(tree, dict) else ()
    return [found for key, part in below for found in ((*path, key), *places(part, (*path, key)))]


def with_value(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return tree


@SOME
@given(data=st.data())
def test_configs(data: st.DataObject) -> None:
    config = with_value(values(), data.draw(st.sampled_from(places(values()))), data.draw(ANY))
    try:
        spec = parse(config, spec_of)
    except UserError as error:
        assert str(error)
    else:
        assert isinstance(spec, RunSpec)
        assert json.loads(json.dumps(spec.canonical(), allow_nan=False)) is not None


@cache
def good_record() -> dict[str, Any]:
    record = Record(
        run_id="a", status="done", task="rte", model="m", adapter="krona", seed=0, config={"x": 1}, protocol="petbench",
        metrics={"selection": {"accuracy": 0.5}}, headline={"name": "accuracy", "value": 0.5, "split": "v", "n": 4},
        cost={"train_seconds": 1.0}, merge={"mergeable": True}, best={"step": 1, "epoch": 1.0},
        curve=({"step": 1, "epoch": 1.0, "seconds": 1.0, "loss": 0.5, "score": 0.5},),
    )  # fmt: skip
    return json.loads(json.dumps(record.model_dump(mode="json")))  # type: ignore[no-any-return]


@SOME
@given(data=st.data())
def test_records(data: st.DataObject) -> None:
    changed = with_value(good_record(), data.draw(st.sampled_from(places(good_record()))), data.draw(ANY))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "a")
        place.mkdir()
        (place / "record.json").write_text(json.dumps(changed))
        try:
            record = read_record(place)
        except UserError as error:
            assert "record.json" in str(error)
        else:
            assert record is not None
            write_record(record, folder)  # what was read can be written again: no NaN, no nonsense


@SOME
@given(text=st.binary(max_size=200), cut=st.integers(0, 200))
def test_bytes_for_a_record(text: bytes, cut: int) -> None:
    whole = json.dumps(good_record()).encode()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "a")
        place.mkdir()
        (place / "record.json").write_bytes(whole[:cut] + text + whole[cut + len(text) :])
        try:
            assert read_record(place) is not None
        except UserError as error:
            assert "record.json" in str(error)


@SOME
@given(rows=st.lists(st.lists(st.text(max_size=6), max_size=5), max_size=5), raw=st.binary(max_size=60))
def test_rows(rows: list[list[str]], raw: bytes) -> None:
    head = "index\tsentence1\tsentence2\tlabel\n"
    text = "\n".join("\t".join(row) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        for content in (head.encode() + text.encode("utf-8", "surrogatepass"), head.encode() + raw, raw):
            path = Path(folder, "train.tsv")
            path.write_bytes(content)
            try:
                read_tsv(path, task_named("rte"), "train")
            except UserError as error:
                assert "train.tsv" in str(error)


@cache
def adapter() -> Path:
    folder = Path(tempfile.mkdtemp())
    save_adapter(folder, parse(values(), spec_of), {"petbench.a": torch.ones(3)}, {"task": "rte"})
    return folder


@SOME
@given(
    data=st.data(), name=st.sampled_from([CONFIG_FILE, WEIGHTS_FILE]), text=st.binary(min_size=1, max_size=40)
)
def test_adapters(data: st.DataObject, name: str, text: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "adapter")
        shutil.copytree(adapter(), folder)
        whole = (folder / name).read_bytes()
        start = data.draw(st.integers(0, len(whole)))
        (folder / name).write_bytes(whole[:start] + text + whole[start + len(text) :])
        try:
            loaded = load_adapter(folder)
        except UserError as error:
            assert name in str(error)
        else:
            assert torch.equal(loaded["petbench.a"], torch.ones(3))
            assert read_adapter_config(folder)["config"] == read_adapter_config(adapter())["config"]
