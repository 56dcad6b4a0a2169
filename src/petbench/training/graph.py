"""Graph: forward and backward of a step as CUDA graphs, captured once for each padded length and replayed.

A small step on a GPU takes as long as launching its kernels one by one; a graph launches all of them at once. A graph
knows one shape, so batches are padded to a multiple of eight tokens. Whether it computes the same is not taken on
trust: each shape's first batch goes both ways, with the same random draws, and where loss and gradients differ, or a
method cannot be captured, the run goes on operation by operation and its record says so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.tasks.encode.encode import filling
from petbench.training.loop import Pass
from petbench.training.session import Session

MULTIPLE = 8  # tokens
MOST_SHAPES = 16  # graphs of a run; each keeps its gradients and activations
# The largest distance of a gradient, over its norm, that counts as none: kernels may sum in another order.
CLOSE = {"bf16": 1e-2, "fp32": 1e-4}


class CudaGraph:
    """One captured pass: values in, gradients out, always in the same memory."""

    def __init__(
        self, go: Pass, batch: Mapping[str, Tensor], parameters: Sequence[nn.Parameter], pool: Any
    ) -> None:
        """Raises RuntimeError where an operation cannot be captured."""
        self._parameters = parameters
        self._batch = {name: tensor.clone() for name, tensor in batch.items()}
        for parameter in parameters:  # else the gradients would be added to what is there
            parameter.grad = None
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._loss = go(self._batch, 1.0)
        self._gradients = [parameter.grad for parameter in parameters]

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch, and its gradients in the parameters' `.grad`."""
        for name, tensor in batch.items():
            self._batch[name].copy_(tensor, non_blocking=True)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss


class GraphedPass:
    """Forward and backward of whole batches of `rows` rows by graphs, of others operation by operation."""

    def __init__(
        self,
        eager: Pass,
        parameters: Sequence[nn.Parameter],
        rows: int,
        widen: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        close: float,
        note: Callable[[str], None],
    ) -> None:
        """parameters: all that train. widen: brings batches to few shapes. close: the distance that counts as none.
        note: told, once, why there are no graphs."""
        self._eager, self._parameters, self._rows = eager, parameters, rows
        self._widen, self._close, self._note = widen, close, note
        self._graphs: dict[tuple[Any, ...], CudaGraph] = {}
        self._pool: Any = None
        self._on = True

    def __call__(self, batch: dict[str, Tensor], share: float) -> Tensor:
        if share != 1.0:  # memory was short, and the batch comes in pieces from here on
            self._drop()
        if not self._on or len(batch["input_ids"]) != self._rows:
            return self._eager(batch, share)
        batch = self._widen(batch)
        shape = tuple((name, tensor.shape) for name, tensor in sorted(batch.items()))
        if (graph := self._graphs.get(shape)) is not None:
            return graph(batch)
        return self._eager(batch, 1.0) if len(self._graphs) >= MOST_SHAPES else self._first(shape, batch)

    def _first(self, shape: tuple[Any, ...], batch: dict[str, Tensor]) -> Tensor:
        """The eager pass, which also makes the libraries ready; then a graph that must give the same."""
        device = self._parameters[0].device
        drawn = torch.cuda.get_rng_state(device)
        loss = self._eager(batch, 1.0)
        gradients, after = [p.grad for p in self._parameters], torch.cuda.get_rng_state(device)
        try:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graph = CudaGraph(self._eager, batch, self._parameters, self._pool)
            torch.cuda.set_rng_state(drawn, device)
            distance = apart([loss, *gradients], [graph(batch), *(p.grad for p in self._parameters)])
            if distance <= self._close:
                self._graphs[shape] = graph
            else:
                self._give_up(f"a CUDA graph's gradients were {distance:.1e} of their norm away")
        except torch.OutOfMemoryError:
            self._give_up("the device has no memory left for CUDA graphs")
        except RuntimeError as error:
            self._give_up(f"the step cannot be captured as a CUDA graph ({str(error).splitlines()[0]})")
        torch.cuda.set_rng_state(after, device)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss

    def _drop(self) -> None:
        self._graphs.clear()
        self._pool, self._on = None, False

    def _give_up(self, why: str) -> None:
        self._drop()
        self._note(f"{why}; the run goes on without graphs")


def graphed(
    session: Session, eager: Pass, optimizer: torch.optim.Optimizer, note: Callable[[str], None]
) -> Pass:
    """The pass of a stage: `eager`, or by graphs where the session captures."""
    if not session.captures:
        return eager
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    longest, pad_id = session.spec.task.max_length, session.pad_id
    return GraphedPass(
        eager, parameters, session.spec.trainer.batch_size, lambda batch: widened(batch, longest, pad_id),
        CLOSE[session.precision], note,
    )  # fmt: skip


def widened(batch: dict[str, Tensor], longest: int, pad_id: int) -> dict[str, Tensor]:
    """The batch with (rows, columns) tensors padded to a multiple of eight columns, but to no more than `longest`."""

    def more(width: int) -> int:
        return min(-width % MULTIPLE, max(0, longest - width))

    return {
        name: F.pad(tensor, (0, more(tensor.shape[1])), value=filling(name, pad_id))
        if tensor.dim() == 2
        else tensor
        for name, tensor in batch.items()
    }


def apart(ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None]) -> float:
    """The largest distance of a tensor to its counterpart over its norm; infinite where one of them is missing."""
    if [x is None for x in ours] != [y is None for y in theirs]:
        return float("inf")
    distances = [
        (x - y).norm() / x.norm().clamp_min(1e-12)
        for x, y in zip(ours, theirs, strict=True)
        if x is not None and y is not None
    ]
    return float(torch.stack(distances).max())
