"""Feed: the micro-batches of every step, this process's share of them, in an order that its seed and the epoch fix."""

from collections.abc import Iterator

from accelerate import Accelerator
from torch import Tensor

from petbench.config.spec import RunSpec
from petbench.tasks.encode.batches import batch_order
from petbench.tasks.encode.encode import Encoded, collate
from petbench.training.draws import order_seed
from petbench.training.loop import MicroBatches


class Feed:
    """Hands out the batches of one run. `accumulation`: micro-batches a step."""

    def __init__(self, spec: RunSpec, rows: Encoded, pad_id: int, accelerator: Accelerator) -> None:
        self._trainer, self._seed = spec.trainer, order_seed(spec)
        self._train, self._pad_id, self._accelerator = rows, pad_id, accelerator
        self.accumulation = spec.trainer.gradient_accumulation
        self.steps_per_epoch = -(-len(rows) // spec.trainer.batch_size)
        self._rows: list[int] = []

    def batches(self, start: int, stop: int) -> Iterator[MicroBatches]:
        """The micro-batches of the steps from `start` to before `stop`."""
        order: list[list[int]] = []
        size, bucket = self._trainer.batch_size, self._trainer.bucket
        for step in range(start, stop):
            epoch, place = divmod(step, self.steps_per_epoch)
            if not order or place == 0:
                order = batch_order(self._train.lengths, size, self._seed, epoch, bucket)
            self._rows = order[place]
            yield self._micro_batches(self._rows)

    def taken(self) -> tuple[int, int]:
        """Examples and tokens of the step that was handed out last, over all processes."""
        return len(self._rows), int(self._train.lengths[self._rows].sum())

    def halve(self) -> bool:
        """Twice as many micro-batches a step from now on; False where they are single rows already."""
        if self.accumulation >= self._trainer.batch_size:
            return False
        self.accumulation *= 2
        return True

    def _micro_batches(self, rows: list[int]) -> MicroBatches:
        """This process's pieces of a batch. Each loss is a mean over a piece, so its share of the whole batch
        makes the sum (over pieces and processes) the batch's own mean."""
        processes, parts = self._accelerator.num_processes, self.accumulation
        mine = rows[self._accelerator.process_index :: processes]
        whole = self._weight(rows)
        if not mine:  # fewer rows than processes: a row that counts for nothing keeps them in step
            return [(0.0, self._tensors(rows[:1]))]
        pieces = [mine[i::parts] for i in range(min(parts, len(mine)))]
        # Processes are averaged, not summed: hence the factor.
        return [(processes * self._weight(piece) / whole, self._tensors(piece)) for piece in pieces]

    def _weight(self, rows: list[int]) -> int:
        """What a loss's mean runs over: rows with a head, target tokens in text form."""
        lengths = self._train.target_lengths
        return len(rows) if lengths is None else int(lengths[rows].sum())

    def _tensors(self, rows: list[int]) -> dict[str, Tensor]:
        batch = collate(self._train, rows, self._pad_id)
        return {name: tensor.to(self._accelerator.device) for name, tensor in batch.items()}
