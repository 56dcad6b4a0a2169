"""Disk: what a run needs is told before it starts, caches have a bound, leftovers are shown before they go."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.record.units import size
from petbench.tasks.encode import token_cache
from petbench.training.claim import claimed
from petbench.training.prepare import prepare
from petbench.training.space import needed_bytes, warn_of_space

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_a_run_says_what_it_needs_where_less_is_free(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (member,) = expand(
        ["adapter=full", "model=tiny_bert", "task=rte", "data=toy", f"results_dir={tmp_path}/new/one"]
    )
    prepared = prepare(parse(member.values, spec_of))
    needed = needed_bytes(prepared)
    assert needed == 36 * prepared.plan.params.trainable + 32 * 2**20
    asked: list[Path] = []

    def usage(place: Path) -> Usage:
        asked.append(Path(place))
        return Usage(0, 0, int(needed * share))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    warn_of_space(prepared)
    assert asked == [tmp_path]  # the nearest folder that is there
    said = capsys.readouterr().err
    mib = size(needed)
    assert (f"run {prepared.run_id} needs up to {mib} in {tmp_path}/new/one, and" in said) == (share < 1)


def test_the_cache_of_tokens_has_a_bound_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    for age in range(5):
        path = tmp_path / f"{age}.npz"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    token_cache.bound(tmp_path, most=250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npz", "1.npz"]


def test_clean_shows_first_and_deletes_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    kept = [
        "results/runs/a/record.json",
        "results/runs/a/.hidden",
        "results/runs/b/.x.half-1",
        "cache/mine.npz",
    ]
    gone = [
        "cache/tokens/a.npz",
        "cache/digests/b.json",
        "results/runs/a/.record.json.half-12",
        ".out.half-3/x",
    ]
    for name in (*kept, *gone):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(bytes(10))
    with claimed(Path("results/runs/b")):  # it is being trained
        assert run_command(["doctor", "--clean"]) == 0
        said = capsys.readouterr().out
        assert "would delete results/runs/a/.record.json.half-12 (10 bytes)" in said
        assert "would delete .out.half-3 (10 bytes)" in said
        assert f"would delete 2 files in the cache {tmp_path / 'cache'}" in said
        assert all(Path(name).exists() for name in (*kept, *gone))
        assert run_command(["doctor", "--clean", "--yes"]) == 0
    assert all(Path(name).exists() for name in kept)
    assert not any(Path(name).exists() for name in gone)
