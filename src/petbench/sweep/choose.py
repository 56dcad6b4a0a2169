"""`sweep=choose`: a first set of runs when there are no records, in three rounds that fit into a number of minutes.

Round 1 trains all methods on a few rows, which shows what a run takes. Round 2 trains on as many rows as half of the
time allows: the better half where half of the methods learnt something in round 1, else all, since scores of methods
that give every row one answer rank nothing. Both are trials, which the report leaves out. Round 3 trains the best
methods on two seeds, on as many rows as the remaining time allows. The numbers of rows follow from the records of the
rounds before, so the same command goes on where it was stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from petbench.compose.expand import Composed, recompose
from petbench.config.tree import key_of
from petbench.console import say
from petbench.errors import UserError
from petbench.sweep.members import Member, why_not
from petbench.sweep.sweep import Start, sweep
from petbench.sweep.trials import TRIAL_SEED
from petbench.training.plan import spec_from
from petbench.training.prepare import prepare

CUT = "++tuning={role:cut}"  # the note that keeps a run out of the report and of tuning budgets
OWN_KEYS = ("sweep", "minutes", "seed", "adapter")
FIRST_ROWS = 256  # rows of round 1; other rounds have a multiple, or all rows
FINALISTS, SEEDS = 3, 2  # of round 3; two finalists where the time is too short for three
TRIALS_SHARE = 0.5  # of the time, for rounds 1 and 2
TIMED_SHARE = 0.75  # of the minutes; the rest is what records do not time: imports, opening models, latency


def is_choice(composed: Sequence[Composed]) -> bool:
    """Whether the sweep is `sweep=choose`."""
    return any("minutes" in one.values for one in composed)


def run_choice(asked_for: Sequence[Composed], start: Start, config_dir: str | None) -> list[Member]:
    """Run the three rounds over the methods asked for; returns the members of the last one.

    Raises UserError when no method is possible on the model, or no run of round 1 finished.
    """
    values = asked_for[0].values
    minutes = _minutes(values.get("minutes"))
    seconds = minutes * 60 * TIMED_SHARE
    base = tuple(o for o in asked_for[0].overrides if key_of(o) not in OWN_KEYS)
    if any(tuple(o for o in m.overrides if key_of(o) not in OWN_KEYS) != base for m in asked_for):
        raise UserError("sweep=choose compares methods only: give a single value for every key but adapter=.")
    asked = list(dict.fromkeys(o for m in asked_for for o in m.overrides if key_of(o) == "adapter"))
    composed = recompose([(*base, choice) for choice in asked], config_dir)
    left_out = {c: why for c, m in zip(asked, composed, strict=True) if (why := why_not(m.values))}
    choices = [choice for choice in asked if choice not in left_out]
    for choice, why in left_out.items():
        say(f"skipped: {choice}: {why.splitlines()[0]}")
    if not choices:
        raise UserError(next(iter(left_out.values())))

    def round_of(some: Sequence[str], rows: int | None, more: Sequence[tuple[str, ...]]) -> list[Member]:
        cut = () if rows is None else (f"++data.max_train_examples={rows}",)
        return sweep(recompose([(*base, c, *cut, *m) for c in some for m in more], config_dir), start)

    trial = [(f"++seed={TRIAL_SEED}", CUT)]
    say(f"Round 1 of 3: {len(choices)} methods on {FIRST_ROWS} rows, as trials.")
    seen, rows, second = round_of(choices, FIRST_ROWS, trial), FIRST_ROWS, choices
    if any(member.spec.plan for member in seen):
        return seen
    pace, whole = _pace(seen, choices), _train_rows(composed[asked.index(choices[0])])
    spent = _seconds(seen)
    few_learn = _learnt(seen) < _needed(choices)
    if not few_learn:
        second = _best(seen, choices, max(FINALISTS, len(choices) // 2))
    more = _rows_for(TRIALS_SHARE * seconds - spent, [pace[c] for c in second], whole)
    more_fit = whole > FIRST_ROWS and (more is None or more > FIRST_ROWS)
    if more_fit and (few_learn or len(second) > FINALISTS):
        say(f"Round 2 of 3: {len(second)} methods on {more or 'all'} rows, as trials.")
        seen, rows = round_of(second, more, trial), more or whole
        spent += _seconds(seen)
    wanted = sum(one.seconds(min(2 * rows, whole)) for one in pace.values()) / TRIALS_SHARE / TIMED_SHARE
    if _learnt(seen) < (1 if rows >= whole else _needed(second)):
        say(
            _no_answer(
                minutes, wanted, f"{_how_many_learn(seen, rows, whole)}, and what ranks the others is chance"
            )
        )
        return seen
    best = _best(seen, second, FINALISTS)
    for count in range(len(best), min(1, len(best) - 1), -1):
        most = _rows_for(seconds - spent, [pace[c] for c in best[:count]] * SEEDS, whole)
        if most is None or most >= rows:  # on fewer, these methods may not learn
            say(f"Round 3 of 3: {count} methods on {most or 'all'} rows and {SEEDS} seeds.")
            return round_of(best[:count], most, [(f"++seed={seed}",) for seed in range(SEEDS)])
    why = f"{_how_many_learn(seen, rows, whole)}, and no time is left for {SEEDS} seeds of them"
    say(_no_answer(minutes, wanted, why))
    return seen


def _learnt(members: Sequence[Member]) -> int:
    """How many of the trials give more than one answer. That looks at no label, so no report row chooses."""
    done = [record for member in members if (record := member.record) and record.status == "done"]
    return sum(not record.collapsed for record in done)


def _needed(choices: Sequence[str]) -> int:
    """How many methods must learn before their scores rank them: half; the head alone is none that must."""
    return max(1, sum(choice != "adapter=head_only" for choice in choices) // 2)


def _how_many_learn(members: Sequence[Member], rows: int, whole: int) -> str:
    """On how many rows how many methods learn."""
    trained = f"{rows} rows" if rows < whole else f"all {whole} rows"
    return f"on {trained} {_learnt(members)} of {len(members)} methods give more than one answer"


def _no_answer(minutes: float, wanted: float, why: str) -> str:
    """Why there is no last round, and what would help."""
    return (
        f"No answer within {minutes:g} minutes: {why}. The same command goes on with more time: "
        f"--minutes {ceil(max(wanted / 60, 2 * minutes))}; where all rows teach nothing, train longer (trainer.epochs)."
    )


def _minutes(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UserError(f"minutes: got {value!r}. Legal: a number above 0.")
    return float(value)


def _best(members: Sequence[Member], choices: Sequence[str], most: int) -> list[str]:
    """The choices with the highest selection scores, the smaller method first among equals; those that give every row
    one answer come last."""
    scores: dict[str, tuple[bool, float]] = {}
    for member in members:
        record = member.record
        if record is not None and record.status == "done" and record.selection_score is not None:
            scores[_choice(member)] = (record.collapsed, -record.selection_score)
    scores = {choice: scores[choice] for choice in choices if choice in scores}
    if not scores:
        raise UserError("sweep=choose: no run of the round finished, so nothing can be chosen.")
    return sorted(scores, key=lambda choice: scores[choice])[:most]


def _choice(member: Member) -> str:
    """The override that names a member's method."""
    return next(o for o in member.composed.overrides if key_of(o) == "adapter")


@dataclass(frozen=True)
class Pace:
    """What a run of a method takes: seconds of loading and evaluation, and seconds of training for each train row."""

    fixed: float
    a_row: float

    def seconds(self, rows: int) -> float:
        """Seconds of a run on so many train rows."""
        return self.fixed + rows * self.a_row


def _pace(members: Sequence[Member], choices: Sequence[str]) -> dict[str, Pace]:
    """Choice -> pace, from round 1; a choice whose run failed has the slowest."""
    known = {}
    for member in members:
        if member.record is not None and member.record.status == "done":
            cost = member.record.cost
            fixed = (cost.eval_seconds or 0.0) + (cost.load_seconds or 0.0)
            known[_choice(member)] = Pace(fixed, (cost.train_seconds or 0.0) / FIRST_ROWS)
    if not known:
        raise UserError("sweep=choose: no run of the first round finished, so nothing can be measured.")
    slowest = max(known.values(), key=lambda pace: pace.seconds(FIRST_ROWS))
    return {choice: known.get(choice, slowest) for choice in choices}


def _seconds(members: Sequence[Member]) -> float:
    """What the runs of a round took."""
    return sum(member.record.cost.seconds for member in members if member.record)


def _train_rows(composed: Composed) -> int:
    """The number of train rows without a limit."""
    return len(prepare(spec_from(composed.values)).rows.train)


def _rows_for(seconds: float, runs: Sequence[Pace], whole: int) -> int | None:
    """The largest multiple of FIRST_ROWS, from 0 on, on which these runs fit into the seconds; None: all rows."""
    left, a_row = seconds - sum(run.fixed for run in runs), sum(run.a_row for run in runs)
    if whole <= FIRST_ROWS or whole * a_row <= left:
        return None
    return FIRST_ROWS * int(left / a_row // FIRST_ROWS) if left > 0 else 0
