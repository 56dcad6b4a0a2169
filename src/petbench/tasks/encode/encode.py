"""Turn rows into token ids, and token ids into batches of tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from petbench.config.sections import TaskSpec
from petbench.config.task import Task
from petbench.tasks.encode import token_cache
from petbench.tasks.encode.cutting import check_room, refuse_empty, within
from petbench.tasks.splits import Split
from petbench.tasks.wording import Wording, wording_of

if TYPE_CHECKING:  # torch takes seconds, and rows are tokenised and cached without it
    import torch
from petbench.console import warn
from petbench.errors import UserError

Form = Literal["head", "text"]


ENCODING = 2  # raise it when a change here gives the same text other tokens: cached tokens are then not used


IGNORED = -100  # the label of padding in targets, which the loss ignores


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids of a split, row after row in one array.

    Row i is `ids[offsets[i]:offsets[i + 1]]`, and so for `types` (token type ids), if the tokenizer gives them.
    `labels`: (rows,) int64, or float32 for regression, or None without labels. `targets`: the token ids of every
    row's target in text form, or None. `cut`: the number of rows that were longer than allowed.
    """

    form: Form
    ids: np.ndarray
    offsets: np.ndarray
    types: np.ndarray | None
    labels: np.ndarray | None
    targets: list[list[int]] | None
    cut: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """(rows,) The number of input tokens of every row."""
        return np.diff(self.offsets)

    @cached_property
    def target_lengths(self) -> np.ndarray | None:
        """(rows,) The number of target tokens of every row; None in head form."""
        return None if self.targets is None else np.array([len(target) for target in self.targets])

    def input_ids(self, row: int) -> list[int]:
        """Token ids of one row."""
        return self.ids[self.offsets[row] : self.offsets[row + 1]].tolist()


def encode(
    split: Split,
    task: Task,
    spec: TaskSpec,
    form: Form,
    tokenizer: Any,
    cache_dir: str | Path | None = None,
) -> Encoded:
    """Tokenise a split, or read its tokens from the cache.

    form: `head` encodes the text field or the pair of them; `text` encodes the wording's input text and the targets. An
    input has at most `spec.max_length` tokens; of a pair the longer text is cut first, so that both keep a part. The
    cache's key covers texts, tokenizer, task version, form, wording and length; labels and targets are not cached.
    Raises UserError when the length leaves no room for the texts, or when a text has no token at all.
    """
    wording = wording_of(spec)
    folder = token_cache.cache_folder(cache_dir)
    key = token_cache.cache_key(
        encoding=ENCODING,
        texts=split.text_digest,
        tokenizer=token_cache.tokenizer_digest(tokenizer),
        task=[task.name, task.version],
        form=form,
        wording=wording.style if form == "text" else None,
        max_length=spec.max_length,
    )
    arrays = token_cache.read(folder, key)
    if arrays is None:
        arrays = _tokenised(split, wording, form, tokenizer, spec.max_length)
        token_cache.write(folder, key, arrays)
    labels = None
    if split.labels is not None:
        labels = scaled(split.labels, task) if task.regression else np.asarray(split.labels, dtype=np.int64)
    targets = None
    if form == "text" and split.labels is not None:
        known = dict(zip(wording.targets, target_ids(wording, tokenizer), strict=True))
        targets = [known[wording.target_of(label)] for label in split.labels]
    cut = len(arrays["cut"])
    return Encoded(form, arrays["ids"], arrays["offsets"], arrays.get("types"), labels, targets, cut)


def scaled(labels: Sequence[int] | Sequence[float], task: Task) -> np.ndarray:
    """(rows,) labels as a head learns them, (label − a) / b with a, b = `task.units`; GLUE's are unchanged (0, 1)."""
    first, second = task.units
    return ((np.asarray(labels, dtype=np.float64) - first) / second).astype(np.float32)


def target_ids(wording: Wording, tokenizer: Any) -> list[list[int]]:
    """Token ids of every legal label string, in label order, with the end token that the tokenizer adds.

    Raises UserError when two labels of a user's own task become the same tokens: no answer could tell them apart.
    """
    found = [list(ids) for ids in tokenizer(list(wording.targets))["input_ids"]]
    if wording.task.glue is not None:
        return found
    seen: dict[tuple[int, ...], str] = {}
    for target, ids in zip(wording.targets, found, strict=True):
        other = seen.setdefault(tuple(ids), target)
        if other != target:
            raise UserError(
                f"task.wording={wording.style}: the labels '{other}' and '{target}' become the same tokens. "
                "Use task.wording=compacter, which writes classes as digits."
            )
    return found


def collate(encoded: Encoded, indices: Sequence[int], pad_id: int) -> "dict[str, torch.Tensor]":
    """Rows as tensors, padded on the right to the longest row.

    input_ids, attention_mask and, if the tokenizer gives them, token_type_ids: (rows, tokens) int64. labels, if known:
    for a head (rows,) class codes (int64) or numbers (float32); for text (rows, target tokens) ids padded with -100.
    """
    import torch  # torch takes seconds

    lengths = encoded.lengths[np.asarray(indices, dtype=np.int64)]
    shape = (len(indices), int(lengths.max()))
    ids = np.full(shape, pad_id, dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    for place, row in enumerate(indices):
        here = slice(encoded.offsets[row], encoded.offsets[row + 1])
        ids[place, : lengths[place]] = encoded.ids[here]
        if encoded.types is not None:
            types[place, : lengths[place]] = encoded.types[here]
    mask = (np.arange(shape[1])[None, :] < lengths[:, None]).astype(np.int64)
    tensors = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    if encoded.types is not None:
        tensors["token_type_ids"] = torch.from_numpy(types)
    if encoded.form == "head" and encoded.labels is not None:
        tensors["labels"] = torch.from_numpy(encoded.labels[np.asarray(indices, dtype=np.int64)])
    if encoded.targets is not None:
        wanted = [encoded.targets[row] for row in indices]
        labels = np.full((len(wanted), max(map(len, wanted))), IGNORED, dtype=np.int64)
        for place, target in enumerate(wanted):
            labels[place, : len(target)] = target
        tensors["labels"] = torch.from_numpy(labels)
    return tensors


def filling(name: str, pad_id: int) -> int:
    """What further columns of a batch's tensor hold."""
    return {"input_ids": pad_id, "labels": IGNORED}.get(name, 0)


def _tokenised(
    split: Split, wording: Wording, form: Form, tokenizer: Any, max_length: int
) -> token_cache.Arrays:
    """The arrays `ids`, `offsets`, `cut` (positions of rows that were cut) and, if there are token types, `types`."""
    names = list(split.texts)
    pieces: list[list[str]] = []
    columns = list(split.texts.values())
    if form == "text":
        pieces = [wording.pieces(dict(zip(names, row, strict=True))) for row in split.rows()]
        columns = [[" ".join(row) for row in pieces]]
    check_room(tokenizer, len(columns), max_length)
    found = tokenizer(*columns, return_attention_mask=False, verbose=False)
    rows, types = list(found["input_ids"]), found.get("token_type_ids")
    cut = [place for place, row in enumerate(rows) if len(row) > max_length]
    if cut and form == "text":
        for place in cut:
            rows[place] = within(max_length, pieces[place], len(names), rows[place], tokenizer)
        types = None if types is None else [kind[: len(row)] for kind, row in zip(types, rows, strict=True)]
    elif cut:  # truncation=True cuts the longer text of a pair first
        long = [[column[place] for place in cut] for column in columns]
        again = tokenizer(*long, truncation=True, max_length=max_length, return_attention_mask=False)
        for number, place in enumerate(cut):
            rows[place] = again["input_ids"][number]
            if types is not None:
                types[place] = again["token_type_ids"][number]
    refuse_empty(split, rows, len(columns), tokenizer)
    if any(not row for row in rows):
        # An empty text and a tokenizer without special tokens: the row gets one token, as a model needs at least one.
        filler = next(i for i in (tokenizer.eos_token_id, tokenizer.pad_token_id, 0) if i is not None)
        types = None if types is None else [kind or [0] for kind in types]
        rows = [row or [filler] for row in rows]
    arrays = {
        "ids": np.concatenate([np.asarray(row, dtype=np.int32) for row in rows]),
        "offsets": np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
        "cut": np.asarray(cut, dtype=np.int64),
    }
    if types is not None:
        arrays["types"] = np.concatenate([np.asarray(kind, dtype=np.int8) for kind in types])
    return arrays


CUT_SHARE = 0.05  # share of a part's rows; a warning is printed when more were cut


def warn_of_cuts(encoded: Encoded, what: str, max_length: int) -> None:
    """Warn when so many rows were cut that the scores no longer measure the task."""
    if encoded.cut > CUT_SHARE * len(encoded):
        warn(
            f"{what}: {encoded.cut} of {len(encoded)} rows ({encoded.cut / len(encoded):.1%}) are longer than "
            f"task.max_length={max_length} and were cut, the longer text first."
        )
