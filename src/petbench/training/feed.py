"""Feed: this process's share of every step's micro-batches, in an order fixed by the run's seed and the epoch."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from accelerate import Accelerator
from torch import Tensor

from petbench.config.spec import RunSpec
from petbench.tasks.encode.batches import batch_order
from petbench.tasks.encode.encode import Encoded, collate
from petbench.training.draws import order_seed
from petbench.training.loop import MicroBatches
from petbench.training.processes import seed_draws

T = TypeVar("T")


class Feed:
    """Hands out the batches of one run. `accumulation`: micro-batches a step."""

    def __init__(self, spec: RunSpec, rows: Encoded, pad_id: int, accelerator: Accelerator) -> None:
        self._spec, self._trainer, self._seed = spec, spec.trainer, order_seed(spec)
        self._train, self._pad_id, self._accelerator = rows, pad_id, accelerator
        self.accumulation = spec.trainer.gradient_accumulation
        self.steps_per_epoch = -(-len(rows) // spec.trainer.batch_size)
        self._rows: list[int] = []
        self._on_device = accelerator.device.type != "cpu"

    def batches(self, start: int, stop: int) -> Iterator[MicroBatches]:
        """The micro-batches of the steps from `start` to before `stop`."""
        steps = zip(range(start, stop), self._drawn(start, stop), strict=True)
        # A device works on one step while the next one's batch is made and sent.
        for step, (rows, batches) in _one_ahead(steps) if self._on_device else steps:
            self._rows = rows
            seed_draws(self._spec.seed, self._accelerator.process_index, step)
            yield batches

    def _drawn(self, start: int, stop: int) -> Iterator[tuple[list[int], MicroBatches]]:
        order: list[list[int]] = []
        size, bucket = self._trainer.batch_size, self._trainer.bucket
        for step in range(start, stop):
            epoch, place = divmod(step, self.steps_per_epoch)
            if not order or place == 0:
                order = batch_order(self._train.lengths, size, self._seed, epoch, bucket)
            yield order[place], self._micro_batches(order[place])

    def taken(self) -> tuple[int, int]:
        """Examples and tokens of the step that was handed out last, over all processes."""
        return len(self._rows), int(self._train.lengths[self._rows].sum())

    def halve(self) -> bool:
        """Double the micro-batches of every further step; False where they are single rows already."""
        if self.accumulation >= self._trainer.batch_size:
            return False
        self.accumulation *= 2
        return True

    def _micro_batches(self, rows: list[int]) -> MicroBatches:
        """This process's pieces of a batch. Each loss is a mean over one piece: weighted by the piece's
        share of the batch, they sum (over pieces and processes) to the mean of the batch."""
        processes, parts = self._accelerator.num_processes, self.accumulation
        mine = rows[self._accelerator.process_index :: processes]
        whole = self._weight(rows)
        if not mine:  # fewer rows than processes: a row of weight zero keeps the processes in step
            return [(0.0, self._tensors(rows[:1]))]
        pieces = [mine[i::parts] for i in range(min(parts, len(mine)))]
        # Processes are averaged, not summed: hence the factor.
        return [(processes * self._weight(piece) / whole, self._tensors(piece)) for piece in pieces]

    def _weight(self, rows: list[int]) -> int:
        """What the mean of a loss runs over: rows with a head, target tokens in text form."""
        lengths = self._train.target_lengths
        return len(rows) if lengths is None else int(lengths[rows].sum())

    def _tensors(self, rows: list[int]) -> dict[str, Tensor]:
        batch = collate(self._train, rows, self._pad_id)
        if not self._on_device:
            return batch
        # From pinned memory the copy is queued, and this process goes on.
        return {
            name: tensor.pin_memory().to(self._accelerator.device, non_blocking=True)
            for name, tensor in batch.items()
        }


def _one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each handed out once the next one has been made."""
    source = iter(items)
    for held in source:
        for following in source:
            yield held
            held = following
        yield held
