"""The exceptions that end a command: a user's mistake (exit 2), a failed run or a failed disk (exit 1)."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any


class UserError(Exception):
    """The user's mistake: the message says, in a line or two, what was got, what is legal and what to do.

    A run that ends with one leaves no new files behind.
    """


class NotHere(UserError):
    """What the user named cannot be reached now but may be later: a hub model without network, an unfinished run."""


class RunError(Exception):
    """The request was legal but the run failed (diverged, ran out of memory, lost its data)."""


class DiskError(RunError):
    """The request was legal but a write failed: a full disk, a quota, an I/O error. Everything written is kept."""


class Diverged(RunError):
    """A loss, a trained value or a logit became NaN or infinite."""


class Paused(Exception):
    """A trial stands where its sweep compares it with the others; its state is kept. The message says at which step.

    curve: its evaluations so far, as in a record.
    """

    def __init__(self, message: str, curve: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(message)
        self.curve = curve


class TakeAgain(Exception):
    """A step of a run in a group of lanes is to be taken again, nothing of it has been done: the message says why."""


def nearest(name: str, legal: Iterable[str]) -> str:
    """`did you mean 'x'?` for the closest legal name, or an empty string when none is close."""
    close = get_close_matches(name, list(legal), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown(kind: str, name: str, legal: Iterable[str]) -> UserError:
    """The error for a name that is not in a list: the name, the nearest one and all legal ones."""
    names = sorted(legal)
    return UserError(f"{kind}: '{name}' is unknown.{nearest(name, names)} Legal: {', '.join(names)}.")
