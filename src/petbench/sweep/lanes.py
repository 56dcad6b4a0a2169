"""Lanes: run members of a sweep that can share forward and backward passes in groups, and the others one by one."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from petbench.compose.hydra import plain_values
from petbench.config.spec import canonical_json
from petbench.console import say
from petbench.errors import UserError
from petbench.machine.devices import choose_device
from petbench.sweep.launch import cores
from petbench.training.lanes.group import Group
from petbench.training.plan import spec_from
from petbench.training.prepare import Prepared, prepare

# Keys that may differ between the lanes of a group; all other keys of a run's identity must be equal.
OWN = ("seed", "optim", "recipe", "vary")
OWN_OF_TRAINER = ("clip_norm", "select", "epochs", "max_steps")
BIG_BATCH = 16  # with batches of this size, lanes gain little on a CPU, which is then limited by arithmetic


@dataclass(frozen=True)
class Job:
    """One member: its composed config, and the call that runs it."""

    config: Any
    run: Callable[[], Any]


def run_in_lanes(jobs: Sequence[Job], max_lanes: int, memory_fraction: float) -> list[Any]:
    """Run all jobs; returns what each of them returned, in order.

    max_lanes: most members of a group. memory_fraction: share of a GPU's memory that may be used; a group that needs
    more is halved. Raises UserError for illegal numbers, and Interrupted when a signal stopped the sweep.
    """
    _check(max_lanes, memory_fraction)
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(memory_fraction)
    groups = _groups(jobs, max_lanes)
    _say_groups(jobs, groups)
    results: dict[int, Any] = {}
    for numbers in groups:
        if len(numbers) == 1:
            results[numbers[0]] = jobs[numbers[0]].run()
            continue
        group = Group([jobs[number].run for number in numbers])
        results |= dict(zip(numbers, group.run(), strict=True))
        say(f"lanes: {group.padding_fraction:.1%} of the training passes was padding between lanes.")
    return [results[number] for number in range(len(jobs))]


def _check(max_lanes: int, memory_fraction: float) -> None:
    if not isinstance(max_lanes, int) or max_lanes < 1:
        raise UserError(f"hydra.launcher.max_lanes: got {max_lanes!r}. Legal: a whole number from 1 on.")
    if not 0 < memory_fraction <= 1:
        raise UserError(f"hydra.launcher.memory_fraction: got {memory_fraction!r}. Legal: above 0, up to 1.")


def _groups(jobs: Sequence[Job], max_lanes: int) -> list[list[int]]:
    """The positions of the jobs of each group, in the order of the groups' first members."""
    found: dict[str, list[int]] = {}
    for number, job in enumerate(jobs):
        found.setdefault(_key(job) or f"alone {number}", []).append(number)
    return [same[at : at + max_lanes] for same in found.values() for at in range(0, len(same), max_lanes)]


def _key(job: Job) -> str | None:
    """A key that is equal for jobs that can share passes; None for a job that cannot share any, or that cannot be
    prepared (its own run says why)."""
    try:
        prepared = prepare(spec_from(plain_values(job.config)))
    except UserError:
        return None
    return None if prepared.plan.no_lanes or prepared.content.missing else shared_by_lanes(prepared)


def shared_by_lanes(prepared: Prepared) -> str:
    """All that the lanes of a group have in common, as text: backbone, task, wording, method with its settings, batch
    size, number of steps, device and threads."""
    spec = prepared.spec
    config = {name: value for name, value in spec.identity().items() if name not in OWN}
    config["trainer"] = {n: v for n, v in config["trainer"].items() if n not in OWN_OF_TRAINER}
    content = {n: v for n, v in prepared.content.values().items() if n not in ("rows", "start")}
    here = {
        "task": spec.task.name,
        "folder": spec.results_dir,
        "device": choose_device(spec.trainer.device).type,
        "threads": spec.trainer.threads,
        "steps": prepared.steps,
        "rows": len(prepared.rows.train),
    }
    return canonical_json({"config": config, "content": content, "here": here})


def _say_groups(jobs: Sequence[Job], groups: Sequence[Sequence[int]]) -> None:
    """Print how many runs train together, how many alone and why, and whether another launcher suits a CPU better."""
    together = [len(group) for group in groups if len(group) > 1]
    if together:
        say(f"lanes: {sum(together)} runs train together ({', '.join(map(str, together))} at once).")
    alone = [jobs[group[0]] for group in groups if len(group) == 1]
    for why, count in _reasons(alone).items():
        say(f"lanes: {count} {'run trains' if count == 1 else 'runs train'} alone: {why}.")
    first = jobs[0].config.trainer
    if (
        together
        and choose_device(first.device).type == "cpu"
        and cores() > 1
        and first.batch_size >= BIG_BATCH
    ):
        say(
            f"lanes: on a CPU, lanes gain little with batches of {first.batch_size}; hydra/launcher=joblib runs "
            "members on several cores."
        )


def _reasons(alone: Sequence[Job]) -> dict[str, int]:
    found: dict[str, int] = {}
    for job in alone:
        why = "no other member shares its passes"
        with suppress(UserError):  # a job that cannot be prepared reports that when it runs
            why = prepare(spec_from(plain_values(job.config))).plan.no_lanes or why
        found[why] = found.get(why, 0) + 1
    return found
