"""Runtime: what a process measures of itself."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from petbench.config.sections import TrainerSpec
from petbench.machine import devices
from petbench.machine.clock import StepClock, peak_memory_bytes, reset_peak_memory
from petbench.machine.devices import free_dead_model, prepare_process, uses_tf32

CPU = torch.device("cpu")
MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_of_a_run_is_not_that_of_an_earlier_one() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc/self/clear_refs")
    reset_peak_memory(CPU)
    start = peak_memory_bytes(CPU)
    large = torch.ones(100 * MIB)  # 400 MiB
    small = [torch.ones(1000) for _ in range(20_000)]  # 76 MiB in pieces that the C library keeps
    high = peak_memory_bytes(CPU)
    assert 470 * MIB < high - start < 520 * MIB
    del large, small
    assert peak_memory_bytes(CPU) > high - MIB  # the kernel counts to within some pages
    reset_peak_memory(CPU)
    assert peak_memory_bytes(CPU) - start < 40 * MIB


@pytest.fixture
def as_before() -> Iterator[None]:
    """Whatever a test sets for the process, it is set back."""
    mode, fill = torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.utils.deterministic.fill_uninitialized_memory = fill


def determinism() -> tuple[bool, bool]:
    """Whether it is on, and whether it only warns."""
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("first", [True, False])
def test_determinism_is_strict_and_ends_with_the_run(as_before: None, first: bool) -> None:
    """Each run of a process gets its own, whatever an earlier one had."""
    for wanted in (first, not first, first):
        prepare_process(TrainerSpec(deterministic=wanted))
        assert determinism() == (wanted, False)
        assert torch.utils.deterministic.fill_uninitialized_memory is False
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_float32_is_float32_whatever_was_set(as_before: None) -> None:
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    assert uses_tf32()
    prepare_process(TrainerSpec())
    assert not uses_tf32()
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_step_is_timed_from_drawing_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only moves when told: 5 s to draw a batch, 2 s to work on it, 100 s between two steps."""
    now = 0.0
    monkeypatch.setattr("petbench.machine.clock.time.perf_counter", lambda: now)

    def drawn() -> Iterator[int]:
        nonlocal now
        for number in range(3):
            now += 5
            yield number

    clock = StepClock(CPU, earlier=[1.0])
    for _ in clock.timed(drawn()):
        now += 2
        clock.stop()
        now += 100
    assert clock.seconds == [1.0, 7.0, 7.0, 7.0]
    assert clock.total == 22.0


def test_a_collection_is_cheap_once_the_imports_are_left_out() -> None:
    frozen = gc.get_freeze_count()
    gc.unfreeze()  # what other tests of this process left
    devices._leave_out_imports.cache_clear()
    try:
        free_dead_model()
        kept = gc.get_freeze_count()
        assert kept > 10_000
        assert len(gc.get_objects()) < 10_000
        free_dead_model()
        assert gc.get_freeze_count() == kept  # once a process
    finally:
        if not frozen:
            gc.unfreeze()
