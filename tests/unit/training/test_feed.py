"""Feed: batches one step ahead where a device waits for them, and each process's own draws."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from petbench.training.feed import _one_ahead
from petbench.training.processes import averaged, seed_draws


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_one_ahead_hands_out_all_in_order_each_when_the_next_is_made(number: int) -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for each in range(number):
            made.append(each)
            yield each

    seen = []
    for each in _one_ahead(source()):
        assert len(made) == min(each + 2, number)
        seen.append(each)
    assert seen == list(range(number))


def test_draws_differ_by_process_and_step_and_follow_from_them() -> None:
    def drawn(process: int, step: int) -> float:
        seed_draws(0, process, step)
        return float(torch.rand(()))

    several = {(process, step): drawn(process, step) for process in (1, 2) for step in (0, 1)}
    assert len(set(several.values())) == 4
    torch.rand(7)
    assert drawn(2, 1) == several[2, 1]  # whatever was drawn before


def test_the_first_process_keeps_its_series() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    seed_draws(0, 0, 3)
    assert torch.equal(state, torch.get_rng_state())


def test_one_process_needs_no_average() -> None:
    model = nn.Linear(2, 2)
    assert averaged(model, SimpleNamespace(num_processes=1), False) is model  # type: ignore[arg-type]
