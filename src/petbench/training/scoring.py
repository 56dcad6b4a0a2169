"""Scoring: encode a run's rows, ask the model, compute the task's metrics."""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from petbench.inference.ask import Answer, Reply, answerer_of, reads_literally, replies
from petbench.tasks.encode.batches import batch_order, padding_fraction
from petbench.tasks.encode.encode import Encoded, encode, target_ids, warn_of_cuts
from petbench.tasks.metrics import metric, score
from petbench.tasks.splits import Split
from petbench.tasks.wording import NO_NUMBER, wording_of
from petbench.training.session import Session


@dataclass(frozen=True)
class Scored:
    """Answers on one set of rows, with their scores where the labels are known."""

    rows: Split
    replies: list[Reply]
    metrics: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def answers(self) -> list[Answer]:
        return [reply.answer for reply in self.replies]

    @property
    def unparsable(self) -> int:
        return sum(answer is None for answer in self.answers)

    @property
    def constant(self) -> bool:
        """Whether all rows with known labels got one and the same answer."""
        return self.rows.labels is not None and len(found := {*self.answers}) == 1 and None not in found

    @property
    def loss(self) -> float | None:
        """Mean cross-entropy −log p(label) in nats, p the softmax of a row's class scores; None where there are none:
        numbers, written answers, rows without labels."""
        if self.rows.labels is None or not self.replies or not self.replies[0].odds:
            return None
        odds = torch.tensor([reply.odds for reply in self.replies], dtype=torch.float64)
        return float(cross_entropy(odds, torch.tensor([int(label) for label in self.rows.labels])))


class Scorer:
    """Scores a model on the parts of a cut."""

    def __init__(self, session: Session) -> None:
        self.session, self.prepared, self.spec = session, session.prepared, session.spec
        self.task, backbone = session.task, session.backbone
        self._encoded: dict[int, Encoded] = {}
        self.cut_rows: dict[str, int] = {}  # part -> rows that were longer than task.max_length
        self.label_ids = (
            target_ids(wording_of(self.spec.task), backbone.tokenizer) if backbone.form == "text" else []
        )
        heads = backbone.layout.head_modules
        own = answerer_of(self.spec, self.task, backbone.form, backbone.tokenizer, heads)
        self.answerer = session.answerer(own)
        self.no_number = NO_NUMBER if reads_literally(self.spec) else None
        metric(self.task.metrics)  # imported now: it takes seconds, which no evaluation should count

    def encode(self, rows: Split) -> Encoded:
        """Rows as token ids, from the cache where it has them."""
        form, tokenizer = self.session.backbone.form, self.session.backbone.tokenizer
        encoded = encode(rows, self.task, self.spec.task, form, tokenizer, self.spec.cache_dir)
        part = next((name for name, split in self.prepared.rows.parts().items() if split is rows), rows.name)
        if part not in self.cut_rows:
            self.cut_rows[part] = encoded.cut
            warn_of_cuts(encoded, f"{self.task.name}, {part}", self.spec.task.max_length)
        return encoded

    def encoded(self, rows: Split) -> Encoded:
        """The result of `encode`, kept for the next evaluation."""
        if id(rows) not in self._encoded:
            self._encoded[id(rows)] = self.encode(rows)
        return self._encoded[id(rows)]

    def answer(self, rows: Split) -> Scored:
        """Answers and, where there are labels, scores."""
        encoded = self.encoded(rows)
        session, size = self.session, self.spec.trainer.eval_batch_size
        found = replies(session.accelerator, session.model, encoded, self.answerer, size, session.pad_id)
        if rows.labels is None:
            return Scored(rows, found, {}, ())
        said = [reply.answer for reply in found]
        metrics, warnings = score(self.task, said, rows.labels, self.no_number)
        return Scored(rows, found, metrics, tuple(warnings))

    def selection(self) -> Scored:
        """Answers on the rows that pick the checkpoint, with every metric."""
        return self.answer(self.prepared.rows.selection)

    def report(self, selection: Scored | None) -> dict[str, Scored]:
        """Scores of the chosen checkpoint: `selection`, `report/<split>` and `predict/<name>`.

        selection: what this checkpoint answered when it was chosen, where that was kept; it is not asked again.
        """
        rows = self.prepared.rows
        parts = {f"report/{name}": split for name, split in rows.report.items()}
        parts |= {f"predict/{name}": split for name, split in rows.predict.items()}
        chosen = selection or self.selection()
        known = {id(rows.selection): chosen}  # under glue_dev the report rows are the selection rows
        answers = {name: known.get(id(split)) or self.answer(split) for name, split in parts.items()}
        return {"selection": chosen} | answers

    @property
    def padding_fraction(self) -> float:
        """Share of padding among the tokens of the first epoch."""
        encoded, trainer = self.encode(self.prepared.rows.train), self.spec.trainer
        order = batch_order(encoded.lengths, trainer.batch_size, 0, 0, trainer.bucket)
        return padding_fraction(encoded.lengths, order)
