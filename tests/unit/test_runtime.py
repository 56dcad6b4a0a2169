"""Runtime: what a process measures of itself."""

import sys
from pathlib import Path

import pytest
import torch

from petbench.runtime import peak_memory_bytes, reset_peak_memory

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
