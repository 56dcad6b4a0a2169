"""The members of a sweep before anything runs: validated, compared with the records there, and planned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petbench.compose.expand import Composed
from petbench.compose.overrides import shown
from petbench.config.spec import RunSpec, canonical_json
from petbench.errors import UserError
from petbench.record import RECORD_FILE, Record, read_record, run_folder
from petbench.training.claim import owner
from petbench.training.pause import stays_paused
from petbench.training.plan import plan, spec_from
from petbench.training.prepare import Prepared, prepare, run_id_of


@dataclass
class Member:
    """One validated member of a sweep. A finished run has no plan; a run that cannot be planned has no run id."""

    composed: Composed
    spec: RunSpec
    run_id: str = ""
    prepared: Prepared | None = None
    before: Record | None = None  # the record that existed when the sweep began
    skipped: str | None = None  # why the run is impossible; None when it is possible

    @property
    def label(self) -> str:
        spec = self.spec
        return f"{spec.adapter.label} {spec.task.name} {spec.model.label} seed {spec.seed}"

    @property
    def folder(self) -> Path:
        return run_folder(self.spec.results_dir, self.run_id)

    @property
    def record(self) -> Record | None:
        """The run's current record, read from its folder; None when there is none."""
        return None if self.skipped is not None else read_record(self.folder)

    @property
    def over(self) -> bool:
        """Whether the run had ended when the sweep began: it was done, it is a trial that is to stay paused, or it had
        failed and is not tried again."""
        if self.before is None:
            return False
        if self.before.status == "paused":
            return stays_paused(self.spec.tuning)
        failed = self.before.status in ("failed", "diverged")
        return self.before.status == "done" or (failed and not self.spec.retry)

    @property
    def waiting(self) -> bool:
        """Whether the run is possible and has not ended: this sweep is to train it."""
        return self.skipped is None and not self.over

    @property
    def owner(self) -> str | None:
        """The live process that is training the run; None when there is none."""
        return owner(self.folder)

    def ended_since(self, moment: float) -> bool:
        """Whether the run has a record written since `moment` (seconds since the epoch) and no process trains it.

        A run that was interrupted since has not ended: another call trained it, and was stopped.
        """
        self._look_again()
        path = self.folder / RECORD_FILE
        if self.owner is not None or not path.exists() or path.stat().st_mtime < moment:
            return False
        return (record := self.record) is not None and record.status != "interrupted"

    def _look_again(self) -> None:
        """Update the run id if the run that this one starts from was missing when it was planned and is done now."""
        if self.prepared is not None and self.prepared.content.missing:
            self.prepared = prepare(self.spec)
            self.run_id = self.prepared.run_id


def members_of(composed: Sequence[Composed]) -> list[Member]:
    """All members, validated; unfinished ones planned and their rows read. Members that are the same run occur once.

    Raises UserError with the config errors of all members in one message, or when no member can run at all.
    A member that is impossible for a reason of its own (such as its method on its model) is marked as skipped.
    """
    members: list[Member] = []
    seen: set[str] = set()
    for member in validated(composed):
        try:
            _place(member)
        except UserError as error:
            member.skipped = str(error)
        if member.skipped is None and member.run_id in seen:
            continue
        seen.add(member.run_id)
        members.append(member)
    if members and all(member.skipped for member in members):
        reasons = list(dict.fromkeys(member.skipped or "" for member in members))
        raise UserError(
            "\n".join(["no member of the sweep can run:", *reasons] if len(members) > 1 else reasons)
        )
    return members


def why_not(values: dict[str, Any]) -> str | None:
    """Why a run with these values is impossible, as validation or the plan says it; None when it is possible."""
    try:
        as_planned(values)
    except UserError as error:
        return str(error)
    return None


def as_planned(values: dict[str, Any]) -> str:
    """The config of the run that these values make, its size chosen, as text: equal values make one run.

    Raises UserError when the run is impossible.
    """
    return canonical_json(plan(spec_from(values)).spec.identity())


def validated(composed: Sequence[Composed]) -> list[Member]:
    """All members, validated. Raises UserError with the config errors of all members in one message."""
    members: list[Member] = []
    problems: dict[str, list[Composed]] = {}
    for one in composed:
        try:
            members.append(Member(one, spec_from(one.values)))
        except UserError as error:
            problems.setdefault(str(error), []).append(one)
    if problems:
        lines = []
        for message, wrong in problems.items():
            more = f" (and {len(wrong) - 1} more members)" if len(wrong) > 1 else ""
            lines.append(f"{' '.join(map(shown, wrong[0].overrides))}{more}\n{message}")
        raise UserError("\n".join(lines))
    return members


def _place(member: Member) -> None:
    """Fill in the run id and the existing record; plan the run unless it has ended."""
    run_id = run_id_of(member.spec)
    if run_id is not None:
        member.run_id = run_id
        member.before = read_record(member.folder)
    if not member.over or member.spec.plan:
        member.prepared = prepare(member.spec)
        member.run_id = member.prepared.run_id
        member.before = read_record(member.folder)
