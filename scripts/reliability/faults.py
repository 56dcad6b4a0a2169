"""Fault points: the moments of a run at which something is to happen, by name."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from petbench.training import session
from petbench.training.scoring import Scorer

Act = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """A moment. `arm(act)`, called in a child, lets `act` happen there once."""

    name: str
    arm: Callable[[Act], None]


def _at_call(owner: Any, name: str, call: int, after: bool) -> Callable[[Act], None]:
    def arm(act: Act) -> None:
        plain, calls = getattr(owner, name), [0]

        def counted(*arguments: Any, **keywords: Any) -> Any:
            calls[0] += 1
            if calls[0] == call and not after:
                act()
            result = plain(*arguments, **keywords)
            if calls[0] == call and after:
                act()
            return result

        setattr(owner, name, counted)

    return arm


def _at_write(file: str, time: int, when: str) -> Callable[[Act], None]:
    """Half of a file is written; it is whole and has not its name yet; it has its name."""

    def arm(act: Act) -> None:
        plain, times = Path.replace, [0]

        def replace(self: Path, target: Any) -> Path:
            times[0] += Path(target).name == file
            now = Path(target).name == file and times[0] == time
            if now and when == "half":
                with self.open("r+b") as half:
                    half.truncate(self.stat().st_size // 2)
            if now and when != "after":
                act()
            result = plain(self, target)
            if now and when == "after":
                act()
            return result

        Path.replace = replace  # type: ignore[method-assign]

    return arm


# In their order. The last writes come once, the resume state three times.
WRITES = [
    "adapter.safetensors",
    "adapter_config.json",
    "selection.jsonl",
    "report-validation.jsonl",
    "answers.npz",
]
WRITES += ["row_ids.json", "record.json"]
FAULTS = [
    *(Fault(f"backward pass {n}", _at_call(torch.Tensor, "backward", n, True)) for n in (1, 2, 4, 6)),
    *(Fault(f"optimiser's step {n}", _at_call(torch.optim.AdamW, "step", n, True)) for n in (1, 3, 5)),
    *(Fault(f"evaluation {n}", _at_call(Scorer, "selection", n, a)) for n in (1, 2) for a in (False, True)),
    Fault("the report's scores", _at_call(Scorer, "report", 1, False)),
    *(
        Fault(f"resume state {n}, {w}", _at_write("resume.safetensors", n, w))
        for n in (1, 2)
        for w in ("half", "whole", "after")
    ),
    *(Fault(f"{file}, {w}", _at_write(file, 1, w)) for file in WRITES for w in ("half", "whole", "after")),
    Fault("config.yaml, whole", _at_write("config.yaml", 1, "whole")),
    Fault("claim.json, half", _at_write("claim.json", 1, "half")),
    Fault("dropping the resume state", _at_call(session, "drop_resume", 1, False)),
]
REFUSALS = {"no space": errno.ENOSPC, "quota": errno.EDQUOT, "I/O error": errno.EIO, "read-only": errno.EROFS}


def refusing(number: int) -> Act:
    """What a disk does instead of a file's name."""

    def act() -> None:
        raise OSError(number, "refused by the harness")

    return act
