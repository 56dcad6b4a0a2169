"""How a sweep ended: one line for each setting over its seeds, what went wrong, the counts, and the next commands."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from petbench.console import Grid, print_table, say
from petbench.record import Record
from petbench.record.units import NOTHING, score, seconds, whole
from petbench.report.collapse import nothing_learnt
from petbench.sweep.members import Member
from petbench.sweep.tables import settings_of

ENDS = ("done", "done before", "paused", "skipped", "failed", "diverged", "interrupted", "missing")
_WELL = ENDS[:4]
_HEADS = ("method", "task", "model", "setting", "score", "of", "seeds", "collapsed")
_COSTS = ("tuned params", "a step", "total time")


@dataclass(frozen=True)
class _Setting:
    """The result of one setting over all its seeds. Trials show their selection score, never a score of report rows."""

    place: tuple[str, str, str, str]  # method, task, model, setting
    members: tuple[Member, ...]
    done: tuple[Record, ...]

    def texts(self) -> tuple[str, ...]:
        """One text for each column in _HEADS and _COSTS."""
        if not self.done:
            word = "paused" if all(ended(member) == "paused" for member in self.members) else "no run"
            return (*self.place, word, "", f"0 of {len(self.members)}", "", "", "", "")
        trials = all(record.is_trial for record in self.done)
        headline = self.done[0].headline
        metric = "" if headline is None else headline.name.replace("_", " ")
        report = [record.headline.value for record in self.done if record.headline is not None]
        selection = [value for record in self.done if (value := record.selection_score) is not None]
        values = selection if trials else report
        spread = f" ± {score(stdev(values))}" if len(values) > 1 else ""
        fallen = sum(record.collapsed for record in self.done)
        missing = len(self.done) < len(self.members)
        return (
            *self.place,
            f"{score(fmean(values))}{spread}" if values else NOTHING,
            f"selection {metric}" if trials else metric,
            f"{len(self.done)} of {len(self.members)}" if missing else str(len(self.done)),
            f"{fallen} of {len(self.done)}" if fallen else "",
            *self._costs(),
        )

    def _costs(self) -> tuple[str, ...]:
        params = next((record.params.tuned for record in self.done if record.params is not None), None)
        steps = [step for record in self.done if (step := record.cost.step_seconds_median) is not None]
        return (
            NOTHING if params is None else whole(params),
            seconds(fmean(steps)) if steps else NOTHING,
            seconds(sum(record.cost.seconds for record in self.done)),
        )


def show_outcome(members: Sequence[Member]) -> None:
    """Print the table of all members, including those done before; then the runs that did not succeed, by reason."""
    found = _by_setting(members)
    rows = [setting.texts() for setting in found if not all(member.skipped for member in setting.members)]
    table = Grid(title="Sweep", title_justify="left")
    wanted = [
        number
        for number, head in enumerate((*_HEADS, *_COSTS))
        if head in ("method", "task", "score", "of", "seeds") or any(row[number] for row in rows)
    ]
    models = {row[2] for row in rows}
    for number in wanted:
        if number != 2 or len(models) > 1:
            table.add_column(
                (*_HEADS, *_COSTS)[number], justify="left" if number < 4 or number == 5 else "right"
            )
    for row in rows:
        table.add_row(*(row[number] for number in wanted if number != 2 or len(models) > 1))
    print_table(table)
    for line in (*_collapses(members), *_reasons(members)):
        say(line)
    counts = Counter(ended(member) for member in members)
    say(", ".join(f"{counts[state]} {state}" for state in sorted(counts, key=ENDS.index)) + ".")
    for line in _next(members, counts):
        say(line)


def ended(member: Member) -> str:
    """How a member ended: done, done before, paused (a trial), skipped (impossible), failed, diverged, interrupted or
    missing."""
    if member.skipped is not None:
        return "skipped"
    record = member.record
    if record is None:
        return "missing"
    return "done before" if member.over and record.status == "done" else record.status


def exit_status(members: Sequence[Member]) -> int:
    """The exit status: 1 if a run that should have run did not succeed, otherwise 0."""
    planned = any(member.spec.plan for member in members)
    return 0 if planned or all(ended(member) in _WELL for member in members) else 1


def _by_setting(members: Sequence[Member]) -> list[_Setting]:
    """The members grouped by setting (all but the seed), in the order of each group's first member."""
    settings = settings_of(members)
    found: dict[tuple[str, str, str, str], list[Member]] = {}
    for member in members:
        spec = member.spec
        place = (spec.adapter.label, spec.task.name, spec.model.label, settings[member.composed.overrides])
        found.setdefault(place, []).append(member)
    return [_Setting(place, tuple(some), tuple(_done(some))) for place, some in found.items()]


def _done(members: Iterable[Member]) -> Iterable[Record]:
    for member in members:
        record = member.record
        if record is not None and record.status == "done":
            yield record


def _collapses(members: Sequence[Member]) -> list[str]:
    """`collapsed: all 128 answers are 'entailment'; … (krona rte seed 0 and 2 more)`, each sentence once."""
    said: dict[str, list[str]] = {}
    for member in members:
        record = member.record
        line = None if record is None or record.is_trial else nothing_learnt(record, member.folder)
        if line is not None:
            said.setdefault(line, []).append(member.label)
    return [f"{line} ({_some(labels)})" for line, labels in said.items()]


def _reasons(members: Sequence[Member]) -> list[str]:
    """`failed: krona rte tiny_bert seed 0 and 3 more: no memory left`, each reason once."""
    said: dict[tuple[str, str], list[str]] = {}
    for member in members:
        state, record = ended(member), member.record
        if state in _WELL:
            continue
        reason = record.reason if record is not None else "not started, or its process was killed"
        said.setdefault((state, " ".join((reason or "").split())), []).append(member.label)
    return [f"{state}: {_some(labels)}: {reason}" for (state, reason), labels in said.items()]


def _some(labels: Sequence[str]) -> str:
    return labels[0] + (f" and {len(labels) - 1} more" if len(labels) > 1 else "")


def _next(members: Sequence[Member], counts: Counter[str]) -> list[str]:
    """The next commands."""
    folder = members[0].spec.results_dir
    if any(counts[state] for state in ENDS[len(_WELL) :]):
        return ["next: the same command runs again what is not done; `petbench status` shows every run."]
    done = [record for member in members if (record := member.record) is not None and record.status == "done"]
    finals = [record for record in done if not record.is_trial]
    if not finals:
        return []
    lines = [f"next: petbench report{'' if folder == 'results' else f' {shlex.quote(folder)}'}"]
    names = list(dict.fromkeys(record.adapter for record in finals))
    if len(names) > 1:
        where = f" --where task={finals[0].task}" if len({record.task for record in finals}) > 1 else ""
        option = "" if folder == "results" else f" --results-dir {shlex.quote(folder)}"
        lines.append(f"      petbench compare adapter={names[0]} adapter={names[1]}{where}{option}")
    return lines
