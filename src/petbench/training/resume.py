"""Resume state: all that a run needs to go on from its last evaluation as if nothing had happened."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from petbench.errors import UserError
from petbench.record import RESUME_FILE
from petbench.tuned.checkpoint import load_tensors, save_tensors
from petbench.tuned.content import refuse_another


@dataclass
class Progress:
    """How far a run is. Plain values, kept in the resume file's metadata."""

    step: int = 0  # optimiser steps done
    finite_step: int = 0  # the last step after which all values were known to be finite
    due_loss: float | None = None  # this step's loss while its evaluation is still to be made
    stage: int = 0
    best_score: float | None = None
    best_step: int = 0
    best_epoch: float = 0.0
    seconds_to_best: float = 0.0
    eval_seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    step_seconds: list[float] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    threads: int = 0  # that torch used in the last steps; 0: not noted
    accumulation: int = 0  # micro-batches a step where those of the config did not fit the device; else 0
    changes: list[str] = field(default_factory=list)  # see `Record.changes`


def save_resume(
    folder: Path,
    progress: Progress,
    trained: dict[str, Tensor],
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    memory: dict[str, Tensor] | None = None,
    identity: dict[str, Any] | None = None,
) -> None:
    """One atomic file: trained values, best values, optimiser moments, random generators, progress, what the
    method keeps besides (`memory`), and what makes the run this one and no other (`identity`)."""
    tensors = {f"trained/{name}": tensor for name, tensor in trained.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optim/{number}/{key}": value.detach().cpu().clone() for key, value in moments.items()}
    tensors |= {f"memory/{name}": tensor.detach().cpu().clone() for name, tensor in (memory or {}).items()}
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    rates = {"last_epoch": schedule.last_epoch, "last_lr": schedule.get_last_lr()}
    metadata = {"progress": json.dumps(asdict(progress)), "schedule": json.dumps(rates)}
    metadata["identity"] = json.dumps(identity or {})
    metadata["sha256"] = _digest(tensors, metadata)
    save_tensors(tensors, folder / RESUME_FILE, metadata)


def other_threads(progress: Progress) -> list[str]:
    """A line for the record where the steps so far were taken with another number of threads than is set now."""
    was, now = progress.threads, torch.get_num_threads()
    if was in (0, now):
        return []
    return [
        f"{was} threads up to step {progress.step}, {now} after it: sums round differently, so values may differ in "
        "the last bits from those of a run with one number of threads"
    ]


class BrokenState(Exception):
    """A resume file is not, bit for bit, what was written."""


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over names, dtypes, shapes, bytes and metadata of a resume file, its own digest left out."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    rest = {key: value for key, value in metadata.items() if key != "sha256"}
    found.update(json.dumps(rest, sort_keys=True).encode())
    return found.hexdigest()


@dataclass
class ResumeState:
    """A resume file in memory."""

    progress: Progress
    tensors: dict[str, Tensor]
    schedule: dict[str, Any]
    identity: dict[str, Any]  # empty: written by a petbench that did not note it

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `trained`, `best` or `memory`, by parameter name."""
        start = f"{prefix}/"
        return {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}

    def restore(self, optimizer: torch.optim.Optimizer, schedule: Any) -> None:
        """Put back moments, learning rate and random generators."""
        state = optimizer.state_dict()
        for name, tensor in self.part("optim").items():
            number, key = name.split("/")
            state["state"].setdefault(int(number), {})[key] = tensor
        optimizer.load_state_dict(state)
        schedule.last_epoch = self.schedule["last_epoch"]
        schedule._last_lr = self.schedule["last_lr"]
        for group, rate in zip(optimizer.param_groups, self.schedule["last_lr"], strict=True):
            group["lr"] = rate
        torch.set_rng_state(self.tensors["rng/cpu"])
        if "rng/cuda" in self.tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.tensors["rng/cuda"])


def load_resume(folder: Path) -> ResumeState | None:
    """The resume state in a run's folder; None when there is none. Raises BrokenState on one that is not, bit for bit,
    what was written."""
    path = folder / RESUME_FILE
    if not path.is_file():
        return None
    try:
        tensors = load_tensors(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        if _digest(tensors, metadata) != metadata.get("sha256"):
            raise BrokenState(f"{path} is broken: its bytes are not those that were written")
        return ResumeState(
            Progress(**json.loads(metadata["progress"])),
            tensors,
            json.loads(metadata["schedule"]),
            json.loads(metadata["identity"]),
        )
    except (UserError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise BrokenState(f"{path} is broken: {error}") from error


def require_same(state: ResumeState, folder: Path, identity: dict[str, Any]) -> None:
    """Raise UserError, with all differences, when a state is of a run with another backbone, config, rows or
    precision, or does not say which run it is of: resuming would mix two runs."""
    path = folder / RESUME_FILE
    ways_on = "The run does not resume. Undo the change to resume, or delete the file to begin afresh."
    if not state.identity:
        raise UserError(f"{path} does not say which run wrote it (it is of an older petbench).\n{ways_on}")
    same_form = json.loads(json.dumps(identity))
    refuse_another(f"{path} is of another run (was → now)", state.identity, same_form, ways_on)


def drop_resume(folder: Path) -> None:
    """Remove the resume state of a finished run; a file that cannot be removed does no harm."""
    with contextlib.suppress(OSError):
        (folder / RESUME_FILE).unlink(missing_ok=True)
