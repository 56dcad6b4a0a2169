"""Types of config values (seeds, paths, W&B names), the base class of all specs, and config values by dotted path."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from petbench.config.paths import at_home

BelowOne = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # the range that every random number generator accepts
PathText = Annotated[str, AfterValidator(at_home)]
_NOT_IN_WANDB_NAMES = "/\\#?%:"


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups as one mapping from dotted paths (`optim.lr`) to values; a list is a value."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            out.update(flat(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out


def inside(path: str, others: Iterable[str]) -> bool:
    """Whether a dotted path is one of `others` or below one of them."""
    return any(path == other or path.startswith(f"{other}.") for other in others)


def as_override(value: Any, text: Callable[[str], str]) -> str:
    """A value in Hydra's override grammar. text: a function that quotes a text if it needs quotes."""
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
    """The name, if W&B accepts it for a project or a team. Raises ValueError that says what is legal."""
    wrong = [sign for sign in text if sign in _NOT_IN_WANDB_NAMES or not sign.isprintable()]
    if wrong or text != text.strip() or not 1 <= len(text) <= 128:
        team, _, project = text.partition("/")
        apart = f"; give team and project as logger.entity={team} logger.project={project}" if project else ""
        raise ValueError(
            f"got {text!r}. Legal: 1 to 128 characters, none of {' '.join(_NOT_IN_WANDB_NAMES)}{apart}"
        )
    return text


WandbName = Annotated[str, AfterValidator(wandb_name)]


class Frozen(BaseModel):
    """The base class of specs: validated, immutable; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, raw: Any, info: ValidationInfo) -> Any:
        """Refuse `optim.lr=true`, which Python would take for a learning rate of 1."""
        field = cls.model_fields[str(info.field_name)]
        parts = raw if isinstance(raw, list | tuple) else [raw]
        if any(isinstance(part, bool) for part in parts) and not _takes(field.annotation, bool, Any):
            shown = str(raw).lower() if isinstance(raw, bool) else repr(raw)
            words = "a number" if _takes(field.annotation, int, float) else "text"
            raise ValueError(f"got {shown}. Legal: {words}, not true or false")
        return raw


def _takes(annotation: Any, *wanted: Any) -> bool:
    """Whether an annotation contains one of these types, at any depth."""
    inside = get_args(annotation)
    if any(value in wanted or type(value) in wanted for value in (annotation, *inside)):
        return True
    return any(_takes(part, *wanted) for part in inside)
