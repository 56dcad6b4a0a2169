"""Steps as graphs: the same losses, gradients and draws as operation by operation, or no graphs and a word about it.

No graph can be captured without a GPU. What stands in for one runs the captured work again on the graph's own memory,
which is what a replay does; so what is tested is everything around the capture.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from petbench.training import graph as module
from petbench.training.graph import GraphedPass, widened
from petbench.training.loop import Pass

ROWS, LONGEST, PAD = 4, 30, 7


class StandIn:
    """A graph that runs its work again."""

    made = 0

    def __init__(self, go: Pass, batch: Mapping[str, Tensor], parameters: Sequence[nn.Parameter], pool: Any):
        type(self).made += 1
        self._go, self._parameters = go, parameters
        self._batch = {name: tensor.clone() for name, tensor in batch.items()}
        for parameter in parameters:
            parameter.grad = None
        drawn = torch.get_rng_state()  # a capture computes nothing and draws nothing
        go(self._batch, 1.0)
        torch.set_rng_state(drawn)
        self._gradients = [parameter.grad for parameter in parameters]

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        for name, tensor in batch.items():
            self._batch[name].copy_(tensor)
        for parameter in self._parameters:
            parameter.grad = None
        loss = self._go(self._batch, 1.0)
        for parameter, own in zip(self._parameters, self._gradients, strict=True):
            if own is not None and parameter.grad is not None:
                own.copy_(parameter.grad)
            parameter.grad = own
        return loss


class Wrong(StandIn):
    """A graph whose gradients are a tenth too large."""

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        loss = super().__call__(batch)
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad *= 1.1
        return loss


class Refused(StandIn):
    """A method that cannot be captured."""

    def __init__(self, *given: Any):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")


class Full(StandIn):
    """A device without room for a graph."""

    def __init__(self, *given: Any):
        raise torch.OutOfMemoryError("CUDA out of memory")


class Model(nn.Module):
    """Sums of embedded tokens, with dropout, and a parameter that takes no part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.resting = nn.Embedding(50, 6), nn.Parameter(torch.ones(2))
        self.head, self.dropout = nn.Linear(6, 2), nn.Dropout(0.3)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        seen = self.tokens(batch["input_ids"]) * batch["attention_mask"][..., None]
        return nn.functional.cross_entropy(self.head(self.dropout(seen.sum(1))), batch["labels"])


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: torch.set_rng_state(state))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    for kind in (StandIn, Wrong):
        kind.made = 0
    yield


def batches(widths: Sequence[int], rows: int = ROWS) -> list[dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    return [
        {
            "input_ids": torch.randint(0, 50, (rows, width), generator=draw),
            "attention_mask": torch.ones(rows, width, dtype=torch.int64),
            "labels": torch.randint(0, 2, (rows,), generator=draw),
        }
        for width in widths
    ]


def ran(
    make: Callable[[Pass, list[nn.Parameter]], Pass], given: Sequence[dict[str, Tensor]], share: float = 1.0
) -> list[list[Tensor | None]]:
    """Loss and gradients of each step."""
    model = Model()

    def eager(batch: dict[str, Tensor], part: float) -> Tensor:
        loss = model.loss(batch) * part
        loss.backward()
        return loss.detach()

    parameters = list(model.parameters())
    go = make(eager, parameters)
    torch.manual_seed(5)
    found = []
    for batch in given:
        for parameter in parameters:
            parameter.grad = None
        loss = go(batch, share)
        found.append([loss.clone(), *(None if p.grad is None else p.grad.clone() for p in parameters)])
    found.append([torch.get_rng_state()])
    return found


def same(ours: list[list[Tensor | None]], theirs: list[list[Tensor | None]]) -> bool:
    pairs = [pair for mine, other in zip(ours, theirs, strict=True) for pair in zip(mine, other, strict=True)]
    return all(a is b is None or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


def eagerly(eager: Pass, parameters: list[nn.Parameter]) -> Pass:
    return lambda batch, share: eager(widened(batch, LONGEST, PAD), share)


def graphed_with(notes: list[str]) -> Callable[[Pass, list[nn.Parameter]], Pass]:
    def make(eager: Pass, parameters: list[nn.Parameter]) -> Pass:
        return GraphedPass(
            eager, parameters, ROWS, lambda batch: widened(batch, LONGEST, PAD), 1e-4, notes.append
        )

    return make


def test_graphs_give_the_bits_of_eager_steps_and_draw_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CudaGraph", StandIn)
    given, notes = batches([5, 9, 8, 13, 3, 16, 29, 30, 7, 25]), []
    assert same(ran(graphed_with(notes), given), ran(eagerly, given))
    assert StandIn.made == 3 and notes == []  # 8, 16 and 30 columns: the longest is no multiple


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Wrong, "a CUDA graph's gradients were 1.0e-01 of their norm away"),
        (Refused, "the step cannot be captured as a CUDA graph (operation not permitted when stream is capturing)"),
        (Full, "the device has no memory left for CUDA graphs"),
    ],
)  # fmt: skip
def test_where_a_graph_is_no_help_the_run_goes_on_without(
    kind: type, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CudaGraph", kind)
    given, notes = batches([5, 5, 12, 6]), []
    found = ran(graphed_with(notes), given)
    assert notes == [f"{why}; the run goes on without graphs"]
    plain = ran(lambda eager, _: lambda batch, share: eager(batch, share), given[1:])
    assert found[0][0] is not None and len(found) == len(plain) + 1
    wide = [widened(given[0], LONGEST, PAD), *given[1:]]  # the first was padded before the graph was given up
    assert same(found, ran(lambda eager, _: lambda batch, share: eager(batch, share), wide))


def test_small_batches_pieces_and_a_seventeenth_shape_go_operation_by_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CudaGraph", StandIn)
    notes: list[str] = []
    ran(graphed_with(notes), batches([5, 9], rows=ROWS - 1))
    ran(graphed_with(notes), batches([5, 9]), share=0.5)
    assert StandIn.made == 0
    monkeypatch.setattr(module, "MOST_SHAPES", 2)
    given = batches([5, 13, 21, 21, 6])
    assert same(ran(graphed_with(notes), given), ran(eagerly, given))
    assert StandIn.made == 2 and notes == []


def test_what_further_columns_hold() -> None:
    ids, targets = torch.ones(2, 9, dtype=torch.int64), torch.ones(2, 3, dtype=torch.int64)
    batch = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids, "labels": targets}
    wide = widened(batch, 128, PAD)
    assert {name: tensor.shape[1] for name, tensor in wide.items()} == {
        "input_ids": 16, "attention_mask": 16, "token_type_ids": 16, "labels": 8,
    }  # fmt: skip
    ends = {name: int(tensor[0, -1]) for name, tensor in wide.items()}
    assert ends == {"input_ids": PAD, "attention_mask": 0, "token_type_ids": 0, "labels": -100}
    numbers = {"labels": torch.zeros(2)}
    assert widened(numbers, 128, PAD)["labels"] is numbers["labels"]
