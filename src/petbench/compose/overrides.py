"""Turn the overrides of a command line, as people write them, into Hydra's grammar."""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString

from petbench.config.paths import PATH_KEYS, at_home
from petbench.config.tree import key_of
from petbench.errors import UserError

# Keys whose value is always text: `model.revision=1234567` is not a number, and `adapter.name=[a]` is not a list.
TEXT_KEYS = (
    *PATH_KEYS,
    *("adapter.name", "model.label", "model.revision", "task.name", "data.hub", "data.label"),
    *("logger.project", "logger.entity", "logger.group"),
)


def readable(override: str) -> str:
    """The override, its value quoted if Hydra's grammar would refuse or misread it.

    The grammar refuses the values `a=b`, `res (1)`, `it's`, `übung` and `~/x`. It misreads a path or a name (TEXT_KEYS)
    that looks like a list or a number. `~` in a path is expanded. Lists of other keys, sweeps, null, quoted text and
    whatever else Hydra reads stay unchanged. A comma outside of quotes means several values, so a value with a comma
    that Hydra cannot read is left unchanged, and Hydra refuses it.
    """
    key, equals, value = override.partition("=")
    plain_key = key.lstrip("+")
    if not equals or key.startswith("~") or not value:
        return override
    try:
        parsed = _parser().parse_override(override)
    except Exception:  # Hydra raises several kinds for what it cannot read
        if "," in value or not _can_be_read(f"{key}=x"):
            return override
        return f"{key}={quoted(_text(plain_key, value))}"
    if plain_key not in TEXT_KEYS or parsed.is_sweep_override() or parsed.value() is None:
        return override
    content = getattr(parsed._value, "text", value)  # the text inside the quotes, if it is quoted
    text = _text(plain_key, content)
    return override if isinstance(parsed.value(), str) and text == content else f"{key}={quoted(text)}"


def require_once(overrides: Sequence[str]) -> None:
    """Raise UserError when a key is given twice, since it cannot be known which value is meant."""
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
    """A text as the value of a key, in quotes if Hydra would otherwise read something else."""
    try:
        plain = _parser().parse_override(f"{key}={text}").value() == text
    except Exception:  # as above
        plain = False
    return text if plain else quoted(text)


def quoted(text: str) -> str:
    """A text in single quotes, escaped for Hydra's grammar."""
    return QuotedString(text, Quote.single).with_quotes()


def shown(override: str) -> str:
    """The override as people write it: without Hydra's `+`, and without the backslashes that its sweeper puts into an
    unquoted value (`adapter.layers=last\\:1`)."""
    plain = override.lstrip("+")
    return plain if "'" in plain or '"' in plain else re.sub(r"\\(.)", r"\1", plain)


def apart(members: Iterable[tuple[str, ...]], without: Collection[str]) -> dict[tuple[str, ...], list[str]]:
    """Each member's overrides -> those that not all members share, as shown, but for the keys in `without`."""
    own = {member: [o for o in member if key_of(o) not in without] for member in members}
    shared = set.intersection(*map(set, own.values())) if own else set()
    return {member: [shown(o) for o in some if o not in shared] for member, some in own.items()}


def _text(key: str, value: str) -> str:
    """The value of a key, with `~` expanded if it is a path. Raises UserError for an illegal path."""
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
