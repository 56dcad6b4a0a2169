"""Numbers and tables as they were: a change that moves them is seen, and meant (`scripts/make_golden.py`)."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

HERE = Path(__file__).parent
LOSSES: dict[str, list[float]] = json.loads((HERE / "losses.json").read_text(encoding="utf-8"))


def maker() -> ModuleType:
    """`scripts/make_golden.py` as a module."""
    path = HERE.parents[1] / "scripts" / "make_golden.py"
    spec = importlib.util.spec_from_file_location("make_golden", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETBENCH_CACHE", "")  # the script sets it; this puts it back
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_ones_on_file(name: str) -> None:
    """Tolerance: other CPUs and BLAS versions add float32 numbers in another order, which over twelve steps at
    these rates moves a loss by about 1e-5; a change of formula, order or seed moves it by 1e-3 and more."""
    method, _, model = name.partition(" on ")
    assert maker().losses(method, model) == pytest.approx(LOSSES[name], abs=2e-4)


def test_methods_differ_on_file() -> None:
    """Equal curves would mean that an adapter did nothing."""
    curves = {tuple(values) for values in LOSSES.values()}
    assert len(curves) == len(LOSSES)
    assert all(len(values) == maker().STEPS for values in LOSSES.values())


def test_tables_are_the_ones_on_file() -> None:
    assert maker().tables() == (HERE / "train_tables.txt").read_text(encoding="utf-8")
