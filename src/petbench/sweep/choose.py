"""`sweep=choose`: a first set of runs when there are no records, in three rounds that fit into a number of minutes.

Round 1 trains all methods on a few rows, and again on twice as many until half of them learn something: scores of
methods that give every row one answer rank nothing. Round 2 trains the better half on more rows; these runs are trials,
which the report leaves out. Round 3 trains the best methods on several seeds, on as many rows as the remaining time
allows. The numbers of rows follow from the records of round 1, so the same command goes on where it was stopped.
"""

from collections.abc import Sequence
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
FIRST_ROWS = 256  # rows of round 1, at first
FINALISTS, SEEDS = 3, 2
FIRST_SHARE, TRIALS_SHARE = 0.5, 0.3  # shares of the time that rounds 1 and 2 may take


def is_choice(composed: Sequence[Composed]) -> bool:
    """Whether the sweep is `sweep=choose`."""
    return any("minutes" in one.values for one in composed)


def run_choice(asked_for: Sequence[Composed], start: Start, config_dir: str | None) -> list[Member]:
    """Run the three rounds over the methods asked for; returns the members of the last one.

    Raises UserError when no method is possible on the model, or no run of round 1 finished.
    """
    values = asked_for[0].values
    seconds = _minutes(values.get("minutes")) * 60
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
    rows, spent = FIRST_ROWS, 0.0
    while True:
        say(f"Round 1 of 3: {len(choices)} methods on {rows} rows, as trials.")
        first = round_of(choices, rows, trial)
        if any(member.spec.plan for member in first):
            return first
        a_row, whole = _seconds_a_row(first, rows), _train_rows(composed[asked.index(choices[0])])
        took = sum(member.record.cost.seconds for member in first if member.record)
        spent += took
        if _learnt(first) >= _needed(choices):
            break
        if rows >= whole or spent + 2 * took > FIRST_SHARE * seconds:
            say(_nothing(first, rows, seconds, spent + FINALISTS * SEEDS * 2 * rows * a_row))
            return first
        rows *= 2
    second = choices
    if len(choices) > FINALISTS:
        second = _best(first, choices, max(FINALISTS, len(choices) // 2))
        more = _rows_for(seconds * TRIALS_SHARE, len(second), a_row, whole)
        if more is None or more > rows:  # on fewer, methods may not learn, and on as many nothing new is seen
            say(f"Round 2 of 3: {len(second)} methods on {more or 'all'} rows, as trials.")
            second = _best(round_of(second, more, trial), second, FINALISTS)
        else:
            second = second[:FINALISTS]
    last = _rows_for(seconds * (1 - TRIALS_SHARE) - spent, len(second) * SEEDS, a_row, whole)
    if last is not None and last < rows:
        say(_nothing(first, rows, seconds, spent + len(second) * SEEDS * rows * a_row))
        return first
    say(f"Round 3 of 3: {len(second)} methods on {last or 'all'} rows and {SEEDS} seeds.")
    return round_of(second, last, [(f"++seed={seed}",) for seed in range(SEEDS)])


def _learnt(members: Sequence[Member]) -> int:
    """How many of the trials give more than one answer. That looks at no label, so no report row chooses."""
    done = [record for member in members if (record := member.record) and record.status == "done"]
    return sum(not record.collapsed for record in done)


def _needed(choices: Sequence[str]) -> int:
    """How many methods must learn before their scores rank them: half; the head alone is none that must."""
    return max(1, sum(choice != "adapter=head_only" for choice in choices) // 2)


def _nothing(members: Sequence[Member], rows: int, seconds: float, wanted: float) -> str:
    """Why there is no last round, and how many minutes would do."""
    minutes = max(ceil(wanted / 60), ceil(2 * seconds / 60))
    return (
        f"No answer within {seconds / 60:g} minutes: on {rows} rows {_learnt(members)} of {len(members)} methods give "
        "more than one answer, and what ranks the others is chance. The same command goes on with more time: "
        f"--minutes {minutes}."
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
            choice = next(o for o in member.composed.overrides if key_of(o) == "adapter")
            scores[choice] = (record.collapsed, -record.selection_score)
    if not scores:
        raise UserError("sweep=choose: no run of the round finished, so nothing can be chosen.")
    return sorted(scores, key=lambda choice: (*scores[choice], choices.index(choice)))[:most]


def _seconds_a_row(members: Sequence[Member], rows: int) -> float:
    """Seconds per train row of the slowest method, including evaluation and loading."""
    records = [record for member in members if (record := member.record) and record.status == "done"]
    if not records:
        raise UserError("sweep=choose: no run of the first round finished, so nothing can be measured.")
    return max(record.cost.seconds + (record.cost.load_seconds or 0.0) for record in records) / rows


def _train_rows(composed: Composed) -> int:
    """The number of train rows without a limit."""
    return len(prepare(spec_from(composed.values)).rows.train)


def _rows_for(seconds: float, runs: int, a_row: float, whole: int) -> int | None:
    """How many rows fit into the seconds: FIRST_ROWS doubled as often as possible, or None if all rows fit."""
    if whole <= FIRST_ROWS or whole * a_row * runs <= seconds:
        return None
    rows = FIRST_ROWS
    while 2 * rows < whole and 2 * rows * a_row * runs <= seconds:
        rows *= 2
    return rows
