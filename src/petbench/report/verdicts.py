"""Two methods against each other in words: which is ahead, by how much, how sure, how many more seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from petbench.errors import UserError
from petbench.record import Record
from petbench.report.cells import Cell, group, is_toy
from petbench.report.labels import column_labels
from petbench.report.settings import labelled, parse_where, select, varying
from petbench.report.statistics.significance import LEVEL, Comparison, fewest_pairs, holm, over_seeds, paired
from petbench.report.writers.numerals import score

MANY_SEEDS = 500
SHARE = 0.8  # of the level, for all tasks together


@dataclass(frozen=True)
class Judged:
    """One comparison with its Holm-corrected p over all that were made at once."""

    where: str  # the task, or `all 8 tasks`
    test: Comparison
    p: float
    level: float = LEVEL  # what the uncorrected p would have to reach, for planning

    @property
    def different(self) -> bool:
        """Whether the two were told apart."""
        return self.p <= LEVEL


def pick(records: Sequence[Record], side: str) -> list[Cell]:
    """The cells of one side: a where-clause (`adapter=krona,task=rte`) or run ids with commas.

    Raises UserError when nothing matches, or when two cells of one task do.
    """
    if "=" in side:
        chosen = select(records, parse_where([side]))
    else:
        ids = {part.strip() for part in side.split(",") if part.strip()}
        chosen = [record for record in records if record.run_id in ids]
        missing = ids - {record.run_id for record in chosen}
        if missing:
            raise UserError(
                f"no record has the run id {', '.join(sorted(missing))}. Give run ids, or a clause such as "
                "adapter=krona,task=rte."
            )
    cells = [cell for cell in group(chosen) if cell.values]
    if not cells:
        found = f"{len(chosen)} records, none of them finished" if chosen else "no record"
        raise UserError(f"'{side}' matches {found}. `petbench report` lists what there is.")
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.column_key, cell)
        if other is not cell:
            told = varying([_settings(other), _settings(cell)])
            choices = " or ".join(
                f"{cell.adapter} {labelled(_settings(each), told[:4])}" for each in (other, cell)
            )
            raise UserError(
                f"'{side}' matches several settings on {cell.task}: {choices}. Add one to the clause."
            )
    return cells


def judge(first: Sequence[Cell], second: Sequence[Cell]) -> list[Judged]:
    """Every task that both sides have, then all together; the chance of any false `ahead` is 5% at most.

    All together is Wilcoxon's test over task means from 6 tasks on; with 2 to 5 tasks it is over the pairs of
    task and seed, which speaks for these tasks only. It gets 4/5 of the level; single tasks share the rest by
    Holm, and the whole level once all together differ. Raises UserError when the sides share no task and rows.
    """
    theirs = {cell.column_key: cell for cell in second}
    pairs = [(cell, theirs[cell.column_key]) for cell in first if cell.column_key in theirs]
    if not pairs:
        raise UserError(_nothing_shared(first, second))
    labels = column_labels([cell for cell, _ in pairs])
    tests = [(labels[a.column_key], over_seeds(a.values, b.values)) for a, b in pairs]
    if len(pairs) == 1:
        where, test = tests[0]
        return [Judged(where, test, test.p)]
    together = _together(pairs)
    overall = min(1.0, together.p / SHARE)
    judged = []
    for (where, test), p in zip(tests, holm([test.p for _, test in tests]), strict=True):
        corrected = min(max(p, overall), p / (1 - SHARE), 1.0)
        judged.append(Judged(where, test, corrected, LEVEL / len(pairs)))
    return [*judged, Judged(f"all {len(pairs)} tasks", together, overall, LEVEL * SHARE)]


def verdict(first: Sequence[Cell], second: Sequence[Cell]) -> str:
    """The answer in sentences: the headline first, then one line a task, then what must be known."""
    names = _names(first, second)
    judged = judge(first, second)
    lines = [sentence(judged[-1], *names)]
    if len(judged) > 1:
        lines += [f"  {sentence(each, *names)}" for each in judged[:-1]]
        lines.append(
            f"p values are corrected over these {len(judged)} tests (all tasks together first, then Holm)."
        )
    lines += _cautions(first, second)
    return "\n".join(lines)


def sentence(judged: Judged, first: str, second: str) -> str:
    """Which is ahead, by how much, how sure, and how many more seeds would be needed."""
    test = judged.test
    ahead, behind = (first, second) if test.difference >= 0 else (second, first)
    size = f"{score(abs(test.difference))} points"
    low, high = test.low, test.high
    if low is not None and high is not None and test.difference < 0:
        low, high = -high, -low
    range_ = f"95% interval {score(low)} to {score(high)}; " if low is not None and high is not None else ""
    how = f"({range_}{test.name}, p {_p(judged.p)}{f'; {test.note}' if test.note else ''})"
    if judged.different:
        return f"On {judged.where}, {ahead} is ahead of {behind} by {size} {how}."
    if round(test.difference, 10) == 0:
        return f"On {judged.where}, {first} and {second} have the same mean {how}."
    seen = f"On {judged.where}, no difference is shown: {ahead} is {size} higher than {behind} {how}."
    return f"{seen} {_more(judged)}"


def _more(judged: Judged) -> str:
    """How many more seeds (or tasks, where tasks are the pairs) would be needed at the corrected level."""
    test, level = judged.test, judged.level
    what = "tasks" if " tasks," in test.name else "seeds"
    few = ""
    if test.p_least > level:
        unit = "pairs, equal ones left out," if "Wilcoxon" in test.name else "runs"
        at = f"p {level:.2g}, the corrected level," if level < LEVEL else f"p {level:.2g},"
        few = f"{test.n} {unit} cannot reach {at} whatever they score. "
    needed = test.needed(level)
    if needed is None:
        return f"{few}At least {max(fewest_pairs(level) - test.n, 1)} more {what} of each are needed."
    lacking = max(needed - test.n, 1)
    if lacking > MANY_SEEDS:
        return f"{few}An effect this small would need more than {MANY_SEEDS} more {what} of each."
    return f"{few}About {lacking} more {what} of each would show an effect of this size (power 0.8)."


def _together(pairs: Sequence[tuple[Cell, Cell]]) -> Comparison:
    if len(pairs) >= fewest_pairs():
        return paired([fmean(a.values.values()) - fmean(b.values.values()) for a, b in pairs], "tasks")
    differences = [
        a.values[seed] - b.values[seed] for a, b in pairs for seed in sorted(set(a.values) & set(b.values))
    ]
    if not differences:
        return Comparison("no test", 0, 1.0, 1.0, 0.0, None, None, "no common seeds")
    return paired(differences, "pairs of task and seed", "it speaks for these tasks only")


def _settings(cell: Cell) -> Mapping[str, object]:
    return {**cell.table_settings, **cell.row_settings}


def _names(first: Sequence[Cell], second: Sequence[Cell]) -> tuple[str, str]:
    """Short names: adapters, with model or settings where the adapters are the same."""
    a, b = first[0], second[0]
    if any(len({cell.adapter for cell in side}) > 1 for side in (first, second)):
        return "A", "B"
    names = [a.adapter, b.adapter]
    if names[0] == names[1]:
        told = varying([_settings(a), _settings(b)])[:4]
        names = [f"{cell.adapter} {labelled(_settings(cell), told)}".strip() for cell in (a, b)]
    if a.model != b.model:
        names = [f"{name} ({cell.model})" for name, cell in zip(names, (a, b), strict=True)]
    return ("A", "B") if names[0] == names[1] else (names[0], names[1])


def _nothing_shared(first: Sequence[Cell], second: Sequence[Cell]) -> str:
    tasks = [{cell.task for cell in side} for side in (first, second)]
    shared = sorted(tasks[0] & tasks[1])
    if shared:
        return (
            f"both sides have {', '.join(shared)}, but on other rows or settings of the task: no comparison."
        )
    listed = [", ".join(sorted(names)) for names in tasks]
    return f"no common task: one side has {listed[0]}, the other {listed[1]}."


def _cautions(first: Sequence[Cell], second: Sequence[Cell]) -> list[str]:
    """What makes the comparison weaker than it looks."""
    both = [*first, *second]
    lines = []
    protocols = sorted({cell.protocol for cell in both})
    if len(protocols) > 1:
        lines.append(f"Caution: the sides were run under other protocols ({', '.join(protocols)}).")
    elif protocols == ["glue_dev"]:
        lines.append("Caution: under glue_dev the reported rows also picked the checkpoint.")
    if any(is_toy(run) for cell in both for run in cell.done):
        lines.append("Caution: toy rows, generated; this says nothing of GLUE.")
    collapsed = sum(len(cell.collapsed) for cell in both)
    lost = sum(cell.count("failed") + cell.count("diverged") for cell in both)
    if collapsed or lost:
        lines.append(f"Caution: {collapsed} runs collapsed (counted), {lost} failed or diverged (left out).")
    marks = dict.fromkeys(mark for cell in both for mark in cell.marks)
    return [*lines, *(f"Caution: {mark}." for mark in marks)]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
