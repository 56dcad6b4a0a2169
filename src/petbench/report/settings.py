"""A record's settings by dotted path: what identifies its cell, how values are written, and selecting by them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from petbench.config.spec import NOT_IDENTITY
from petbench.config.values import flat
from petbench.errors import UserError, nearest
from petbench.record import Record
from petbench.record.units import rate

_LEFT_OUT = frozenset(".".join(path) for path in NOT_IDENTITY)
_LEFT_OUT_BELOW = tuple(f"{path}." for path in sorted(_LEFT_OUT))
_FIELDS = ("task", "model", "adapter", "protocol", "seed", "status", "run_id")

_BY_CONTENT = {
    "model.digest": "weights",
    "model.config": "config",
    "model.tokenizer": "tokenizer",
    "init_from": "start",
}

Where = Mapping[str, tuple[str, ...]]


def identity(record: Record) -> dict[str, Any]:
    """The settings that identify a cell: the config by dotted path, without the seed and keys that are not identity.

    Keys that name content (`model.name`, `init_from`, …) are replaced by the first digits of its digest, if the record
    has it: so other weights in the same folder give another cell, and one model in two folders gives one cell.
    """
    settings = flat(record.config)
    settings.pop("seed", None)
    content = record.provenance.content
    if content is not None:
        for named in ("model.name", "model.revision"):
            settings.pop(named, None)
        for path, part in _BY_CONTENT.items():
            digest = getattr(content, part)
            settings[path] = None if digest is None else digest.rpartition(":")[2][:8]
        if content.task is not None:  # the definition of a task that its name does not identify
            settings["task.definition"] = content.task[:8]
    return {
        path: value
        for path, value in settings.items()
        if path not in _LEFT_OUT and not path.startswith(_LEFT_OUT_BELOW)
    }


def show(value: Any) -> str:
    """The value of a setting as people write it: `1e-3`, `32x24` (two whole numbers), `query+value`, `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return rate(value)
    if isinstance(value, list | tuple):
        pair = len(value) == 2 and all(isinstance(part, int) for part in value)
        return ("x" if pair else "+").join(show(part) for part in value)
    return str(value)


def short(path: str) -> str:
    """The last part of a path: `optim.lr` -> `lr`."""
    return path.rsplit(".", 1)[-1]


def labelled(settings: Mapping[str, Any], paths: Iterable[str]) -> str:
    """The settings of these paths in this order: `factor_shape=32x24 lr=1e-3`."""
    return " ".join(f"{short(path)}={show(settings.get(path))}" for path in paths)


def varying(many: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paths whose values are not all equal, sorted."""
    paths = sorted({path for settings in many for path in settings})
    missing = object()
    return [path for path in paths if len({repr(each.get(path, missing)) for each in many}) > 1]


def parse_where(clauses: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """`["task=rte|mrpc,model=minilm"]` -> `{"task": ("rte", "mrpc"), "model": ("minilm",)}`.

    Raises UserError on a part without `=` or without a value.
    """
    where: dict[str, tuple[str, ...]] = {}
    for clause in clauses:
        for part in filter(None, (piece.strip() for piece in clause.split(","))):
            key, sign, values = part.partition("=")
            if not sign or not key.strip() or not values.strip():
                raise UserError(
                    f"'{part}' is not a condition. Write key=value, such as task=rte or optim.lr=1e-3."
                )
            where[key.strip()] = tuple(value.strip() for value in values.split("|"))
    return where


def select(records: Sequence[Record], where: Where) -> list[Record]:
    """The records with these values. Keys are record fields, config paths or the last part of a path.

    Numbers are compared as numbers (`lr=1e-3` finds 0.001), lists as they are written (`32x24`). Raises UserError for a
    key that no record has.
    """
    if not where or not records:
        return list(records)
    flats = [flat(record.config) for record in records]
    known = {path for settings in flats for path in settings}
    kept = [True] * len(records)
    for key, wanted in where.items():
        paths = [key] if key in known else sorted(path for path in known if short(path) == key)
        if key not in _FIELDS and not paths:
            hint = nearest(key, {*_FIELDS, *known, *map(short, known)})
            raise UserError(
                f"where: no record has '{key}'.{hint} Legal: {', '.join(_FIELDS)} and every config path or its "
                "last part, such as optim.lr or lr."
            )
        for index, record in enumerate(records):
            if key in _FIELDS:
                found = [getattr(record, key)]
            else:
                found = [flats[index][path] for path in paths if path in flats[index]]
            kept[index] &= any(_equal(value, text) for value in found for text in wanted)
    return [record for record, keep in zip(records, kept, strict=True) if keep]


def _equal(value: Any, text: str) -> bool:
    """Whether a config value equals what the user wrote."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == float(value)
        except ValueError:
            return False
    return text in (show(value), str(value))
