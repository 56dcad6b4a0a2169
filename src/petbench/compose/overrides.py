"""The command line's overrides as people write them -> as Hydra's grammar reads them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString

from petbench.config.paths import PATH_KEYS, at_home
from petbench.errors import UserError

# Keys whose value is text whatever it looks like: `model.revision=1234567` is not a number, and `adapter.name=[a]` is
# not a list.
TEXT_KEYS = (
    *PATH_KEYS,
    *("adapter.name", "model.label", "model.revision", "task.name", "data.hub", "data.label"),
    *("logger.project", "logger.entity", "logger.group"),
)


def readable(override: str) -> str:
    """An override that Hydra reads as what it says: text that its grammar has no place for is quoted.

    `a=b`, `res (1)`, `it's`, `übung` and `~/x` are such text; so is the value of a path or a name (TEXT_KEYS) where
    it looks like a list or a number, and `~` in a path is expanded. Lists of other keys, sweeps, null, quoted text
    and what else Hydra reads stay as they are. A comma that no quotes hold makes a sweep, so text that Hydra cannot
    read and that has one is left for it to refuse.
    """
    key, equals, value = override.partition("=")
    plain_key = key.lstrip("+")
    if not equals or key.startswith("~") or not value:
        return override
    try:
        parsed = _parser().parse_override(override)
    except Exception:  # whatever Hydra cannot read, in whichever of its exceptions
        if "," in value or not _can_be_read(f"{key}=x"):
            return override
        return f"{key}={quoted(_text(plain_key, value))}"
    if plain_key not in TEXT_KEYS or parsed.is_sweep_override() or parsed.value() is None:
        return override
    content = getattr(parsed._value, "text", value)  # of a quoted text: what the quotes hold
    text = _text(plain_key, content)
    return override if isinstance(parsed.value(), str) and text == content else f"{key}={quoted(text)}"


def require_once(overrides: Sequence[str]) -> None:
    """Raise UserError when a key has two values: which of them is meant cannot be known."""
    given: dict[str, str] = {}
    for override in overrides:
        key, equals, _ = override.lstrip("+").partition("=")
        if not equals or key.startswith(("-", "~")):
            continue
        if key in given:
            raise UserError(
                f"{key} is given twice: '{given[key]}' and '{override.lstrip('+')}'. Leave one out."
            )
        given[key] = override.lstrip("+")


def written(key: str, text: str) -> str:
    """Text as the value of a key, in quotes where Hydra would read something else without."""
    try:
        plain = _parser().parse_override(f"{key}={text}").value() == text
    except Exception:  # whatever Hydra cannot read, in whichever of its exceptions
        plain = False
    return text if plain else quoted(text)


def quoted(text: str) -> str:
    """Text in single quotes, as Hydra's grammar reads it back."""
    return QuotedString(text, Quote.single).with_quotes()


def _text(key: str, value: str) -> str:
    """What the text of a key stands for: `~` is expanded in a path."""
    if key not in PATH_KEYS:
        return value
    try:
        return at_home(value)
    except ValueError as error:
        raise UserError(f"{key}: {error}.") from error


def _can_be_read(override: str) -> bool:
    try:
        _parser().parse_override(override)
    except Exception:  # as above
        return False
    return True


@cache
def _parser() -> Any:
    return OverridesParser.create()
