"""A record's settings as flat dotted paths: reading, showing and selecting by them."""

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
    """The flat settings that make the cell: all of the config less the seed and what is not identity.

    Of what is named by a path (`model.name`, `init_from`, …) the first digits of its content stand there where the
    record has it: runs of one place with other weights are other cells, and one model at two places is one.
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
        if content.task is not None:  # a definition that the task's name does not say
            settings["task.definition"] = content.task[:8]
    return {
        path: value
        for path, value in settings.items()
        if path not in _LEFT_OUT and not path.startswith(_LEFT_OUT_BELOW)
    }


def show(value: Any) -> str:
    """A setting's value as people write it: `1e-3`, `32x24` (two whole numbers), `query+value`, `none`."""
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
    """`factor_shape=32x24 lr=1e-3` for these paths, in this order."""
    return " ".join(f"{short(path)}={show(settings.get(path))}" for path in paths)


def varying(many: Sequence[Mapping[str, Any]]) -> list[str]:
    """Paths whose values are not all equal, sorted."""
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
                    f"'{part}' is not a clause. Write key=value, such as task=rte or optim.lr=1e-3."
                )
            where[key.strip()] = tuple(value.strip() for value in values.split("|"))
    return where


def select(records: Sequence[Record], where: Where) -> list[Record]:
    """Records with these values; keys are record fields, config paths or the last part of one.

    Numbers compare as numbers (`lr=1e-3` finds 0.001); a list compares as it is shown (`32x24`).
    Raises UserError when no record has a key.
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
    """Whether a config value is what the user wrote."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == float(value)
        except ValueError:
            return False
    return text in (show(value), str(value))
