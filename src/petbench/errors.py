"""The two ways to fail: a user's mistake (exit 2) or a failed run (exit 1), each said in one or two lines."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """What was asked cannot be done as asked; the message says what was got, what is legal, what to do."""


class NotHere(UserError):
    """What is named is not in reach now, but may be later: a hub's model without network, a run still to come."""


class RunError(Exception):
    """The request was legal but the run failed (diverged, ran out of memory, lost its data)."""


class Diverged(RunError):
    """The loss is no number any more."""


def nearest(name: str, legal: Iterable[str]) -> str:
    """`did you mean 'x'?` for the closest legal name, or an empty string when none is close."""
    close = get_close_matches(name, list(legal), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown(kind: str, name: str, legal: Iterable[str]) -> UserError:
    """The error for a name that is not in a list: the name, the nearest one and all legal ones."""
    names = sorted(legal)
    return UserError(f"{kind}: '{name}' is unknown.{nearest(name, names)} Legal: {', '.join(names)}.")
