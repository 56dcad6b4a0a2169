"""What a value of the config may be (seeds, paths, names, numbers that are no truth values), and all by their paths."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from petbench.config.paths import at_home

BelowOne = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every generator of random numbers takes
PathText = Annotated[str, AfterValidator(at_home)]
_NOT_IN_WANDB_NAMES = "/\\#?%:"


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups as `optim.lr`-like paths; lists stay values."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            out.update(flat(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out


def inside(path: str, others: Iterable[str]) -> bool:
    """Whether a dotted path is one of the others or lies below one."""
    return any(path == other or path.startswith(f"{other}.") for other in others)


def as_override(value: Any, text: Callable[[str], str]) -> str:
    """A value as Hydra's grammar reads it back. text: how text is written, with quotes where it needs them."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{as_override(each, text)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(as_override(each, text) for each in value)}]"
    return text(value) if isinstance(value, str) else str(value)


def wandb_name(text: str) -> str:
    """A name that W&B takes for a project or a team. Raises ValueError that says what is legal."""
    wrong = [sign for sign in text if sign in _NOT_IN_WANDB_NAMES or not sign.isprintable()]
    if wrong or text != text.strip() or not 1 <= len(text) <= 128:
        team, _, project = text.partition("/")
        apart = f"; team and project apart: logger.entity={team} logger.project={project}" if project else ""
        raise ValueError(
            f"got {text!r}. Legal: 1 to 128 characters, none of {' '.join(_NOT_IN_WANDB_NAMES)}{apart}"
        )
    return text


WandbName = Annotated[str, AfterValidator(wandb_name)]


class Frozen(BaseModel):
    """A validated value that never changes; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, raw: Any, info: ValidationInfo) -> Any:
        """`optim.lr=true` is no learning rate of 1, though Python counts so."""
        field = cls.model_fields[str(info.field_name)]
        parts = raw if isinstance(raw, list | tuple) else [raw]
        if any(isinstance(part, bool) for part in parts) and not _takes(field.annotation, bool, Any):
            shown = str(raw).lower() if isinstance(raw, bool) else repr(raw)
            words = "a number" if _takes(field.annotation, int, float) else "text"
            raise ValueError(f"got {shown}. Legal: {words}, not true or false")
        return raw


def _takes(annotation: Any, *wanted: Any) -> bool:
    """Whether one of these types is in an annotation, at any depth."""
    inside = get_args(annotation)
    if any(value in wanted or type(value) in wanted for value in (annotation, *inside)):
        return True
    return any(_takes(part, *wanted) for part in inside)
