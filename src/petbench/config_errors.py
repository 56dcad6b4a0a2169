"""What is wrong with a config, one line a mistake: path, what was got, what is legal."""

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from petbench.errors import nearest


def mistakes(error: ValidationError, spec_class: type[BaseModel], prefix: str) -> list[str]:
    """One line per problem: `optim.lr: got -1; Input should be greater than 0.`"""
    lines = []
    for item in error.errors():
        location = [
            str(part)
            for part in item["loc"]
            if not str(part).startswith(("literal[", "constrained", "function-"))
        ]
        path = ".".join([*([prefix] if prefix else []), *location])
        if item["type"] == "extra_forbidden":
            legal = _fields_at(spec_class, location[:-1])
            lines.append(f"{path}: unknown key.{nearest(location[-1], legal)} Legal: {', '.join(legal)}.")
        elif item["type"] == "missing":
            lines.append(f"{path}: missing. Give it as {path}=VALUE.")
        else:
            got = item["input"] if not isinstance(item["input"], Mapping) else "a group of keys"
            legal = item["msg"].split("'")[1::2]  # the quoted names in "should be 'a' or 'b'"
            hint = nearest(got, legal) if isinstance(got, str) else ""
            lines.append(f"{path}: got {got!r}. {item['msg']}.{hint}")
    return lines


def _fields_at(spec_class: type[BaseModel], location: list[str]) -> list[str]:
    """Legal keys of the group that a path names."""
    current = spec_class
    for part in location:
        annotation = current.model_fields[part].annotation if part in current.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        current = annotation
    return sorted(current.model_fields)
