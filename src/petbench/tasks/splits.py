"""Rows in memory: one split, and all splits of a task with their origin."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np

from petbench.errors import UserError


@dataclass(frozen=True)
class Split:
    """Rows of one official split, or some of them. `labels` is None where they are not public (GLUE's test splits).

    `name` is the official split that the rows come from; `idx` are GLUE's own row numbers in it.
    """

    name: str
    idx: list[int]
    texts: dict[str, list[str]]
    labels: list[int] | list[float] | None

    def __len__(self) -> int:
        return len(self.idx)

    def take(self, indices: Sequence[int]) -> "Split":
        """The rows at these positions, in this order."""
        if not indices:
            return Split(
                self.name, [], {name: [] for name in self.texts}, None if self.labels is None else []
            )
        # itemgetter picks in C, as MNLI has 392,702 rows. With a single index it returns no tuple, so the first is
        # given twice and dropped again.
        pick = itemgetter(indices[0], *indices)
        labels: Any = None if self.labels is None else list(pick(self.labels)[1:])
        texts = {name: list(pick(column)[1:]) for name, column in self.texts.items()}
        return Split(self.name, list(pick(self.idx)[1:]), texts, labels)

    def rows(self) -> list[tuple[str, ...]]:
        """The text fields of every row, as tuples."""
        return list(zip(*self.texts.values(), strict=True))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of texts, labels and idx, whatever file they were read from."""
        labels = None if self.labels is None else _numbers_digest(self.labels)
        return content_digest({"idx": _numbers_digest(self.idx), "labels": labels, "texts": self.text_digest})

    @cached_property
    def text_digest(self) -> str:
        """SHA-256 of the texts alone."""
        return content_digest({name: _texts_digest(column) for name, column in self.texts.items()})


def _texts_digest(column: list[str]) -> str:
    """SHA-256 of the lengths and of all texts joined: as unambiguous as JSON, and many times as fast."""
    sha = hashlib.sha256(_numbers_digest([len(text) for text in column]).encode())
    sha.update("".join(column).encode("utf-8", "surrogatepass"))
    return sha.hexdigest()


def _numbers_digest(column: Sequence[int] | Sequence[float]) -> str:
    """SHA-256 of numbers as little-endian float64, which holds every idx, code and score exactly."""
    return hashlib.sha256(np.asarray(column, dtype="<f8").tobytes()).hexdigest()


def content_digest(value: Mapping[str, object]) -> str:
    """SHA-256 (hex) of plain values in canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Splits:
    """All splits of a task that were found. `digest` depends on the rows only, not on files or formats."""

    task: str
    source: str  # toy | local | hub
    location: str  # for people: a folder, a hub name or what generated them
    parts: dict[str, Split]
    partial: tuple[str, ...] = ()  # splits whose number of rows is not the official one
    warnings: tuple[str, ...] = ()
    sought: Mapping[str, str] = field(default_factory=dict)  # split -> the files that were looked for

    @cached_property
    def split_digests(self) -> dict[str, str]:
        """SHA-256 of every split."""
        return {name: self.parts[name].digest for name in sorted(self.parts)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the digests of the splits."""
        return content_digest({"task": self.task, "splits": self.split_digests})

    def part(self, name: str) -> Split:
        """A split by name. Raises UserError if it is missing, with where it was sought and what to do."""
        if name in self.parts:
            return self.parts[name]
        sought = f" (looked for {self.sought[name]})" if name in self.sought else ""
        there = ", ".join(self.parts) or "none"
        raise UserError(
            f"{self.task}: there is no '{name}' split in {self.location}{sought}; found: {there}.\n"
            f"Give a folder that holds it (data.dir=DIR), fetch all of GLUE on a machine with network "
            f"(petbench data fetch DIR), or use generated rows (data=toy)."
        )
