"""The mistakes in a config, one line each: the key's path, what was got, what is legal."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from petbench.errors import nearest

# pydantic's words -> plain words for what one writes in YAML
PLAIN_WORDS = {
    "a valid tuple": "a list",
    "a valid dictionary": "a group of keys",
    "a valid string": "text",
    "a valid integer, unable to parse string as an integer": "a whole number",
    "a valid integer, got a number with a fractional part": "a whole number",
    "a valid integer": "a whole number",
    "a valid number, unable to parse string as a number": "a number",
    "a valid number": "a number",
    "a valid boolean, unable to interpret input": "true or false",
    "a valid boolean": "true or false",
    "a finite number": "a finite number",
}


def mistakes(error: ValidationError, spec_class: type[BaseModel], prefix: str) -> list[str]:
    """One line for each wrong value: `optim.lr: got -1. Legal: greater than 0.`

    pydantic reports a value that may have several forms once for each form; these reports become one line.
    """
    by_path: dict[str, list[Any]] = {}
    for item in error.errors():
        path = ".".join([*([prefix] if prefix else []), *_keys(spec_class, item["loc"])])
        by_path.setdefault(path, []).append(item)
    return [_line(path, items, spec_class) for path, items in by_path.items()]


def _line(path: str, items: list[Any], spec_class: type[BaseModel]) -> str:
    first = min(items, key=lambda item: len(item["loc"]))  # the report on the value as a whole
    if first["type"] == "extra_forbidden":
        *group, name = first["loc"]
        legal = sorted(_group_at(spec_class, group).model_fields)
        return f"{path}: unknown key.{nearest(str(name), legal)} Legal: {', '.join(legal)}."
    if first["type"] == "missing":
        return f"{path}: missing. Give it as {path}=VALUE."
    got = first["input"]
    if first["type"] == "value_error":
        return f"{path}: {first['ctx']['error']}."
    names = [name for item in items for name in _quoted(item)]
    hint = nearest(got, names) if isinstance(got, str) else ""
    forms = " or ".join(dict.fromkeys(_form(item, first) for item in items))
    shown = "a group of keys" if isinstance(got, Mapping) else repr(got)
    return f"{path}: got {shown}.{hint} Legal: {forms}."


def _form(item: Any, first: Any) -> str:
    """What one form of a value must be: `'auto'`, `a list`, `greater than 0`."""
    if item["type"] == "missing":
        return "a list with more values"
    words = item["msg"].removeprefix("Input should be ")
    for technical, plain in PLAIN_WORDS.items():
        if words.startswith(technical):
            words = plain
            break
    inside = isinstance(item["loc"][-1], int) and len(item["loc"]) > len(first["loc"])
    return f"a list, its values {words}" if inside else words


def _quoted(item: Any) -> list[str]:
    """The legal names that pydantic's message quotes: `should be 'a' or 'b'`."""
    return str(item["msg"]).split("'")[1::2] if item["type"] == "literal_error" else []


def _keys(spec_class: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The path of a mistake in the config's keys, without the names of the forms that pydantic adds to it."""
    keys: list[str] = []
    current: type[BaseModel] | None = spec_class
    for part in location:
        if current is None:
            break
        keys.append(str(part))
        current = _group(current, str(part))
    return keys


def _group_at(spec_class: type[BaseModel], location: list[Any]) -> type[BaseModel]:
    """The spec class of the group of keys that a path names."""
    for part in location:
        spec_class = _group(spec_class, str(part)) or spec_class
    return spec_class


def _group(spec_class: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The spec class of the group under a key (which may be optional); None for a key that holds a value."""
    field = spec_class.model_fields.get(key)
    options = (field.annotation, *get_args(field.annotation)) if field is not None else ()
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
