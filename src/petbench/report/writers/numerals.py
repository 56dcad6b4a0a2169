"""The cells of tables as text: spreads, intervals, costs, budgets and ranks (single numbers: record/units.py)."""

from collections.abc import Callable, Sequence

from petbench.record.units import NOTHING, fix, percent, probability, ratio, score, seconds, size, whole
from petbench.report.budgets import Searched
from petbench.report.layout import Column, Costs, Span
from petbench.report.statistics.intervals import Summary
from petbench.report.statistics.ranks import Ranks


def spread(short: Summary) -> str:
    """`± 0.3`; empty for a single run."""
    return "" if short.std is None else f"± {score(short.std)}"


def interval(short: Summary) -> str:
    """`[85.8, 86.4]`; empty for a single run."""
    return "" if short.low is None or short.high is None else f"[{score(short.low)}, {score(short.high)}]"


def span(value: Span | None, write: Callable[[float], str]) -> str:
    """One number, or `low to high` if a row's tasks differ."""
    if value is None:
        return NOTHING
    low, high = write(value.low), write(value.high)
    return low if low == high else f"{low} to {high}"


def head(column: Column) -> str:
    """The head of a column: `rte (accuracy)`."""
    return f"{column.label} ({column.metric})" if column.metric else column.label


COST_HEADS = (
    "tuned params", "tuned %", "trainable params", "step / LoRA", "step time", "peak memory",
    "adapter size", "latency", "latency merged", "train time", "tuning runs", "tuning time",
)  # fmt: skip


def cost_cells(costs: Costs) -> list[str]:
    """One text for each head in COST_HEADS. Tuned: adapter, norms and other parts, also in percent of the backbone."""
    return [
        span(costs.tuned, whole),
        span(costs.tuned_percent, percent),
        span(costs.trainable, whole),
        _or_nothing(costs.step_vs_lora, ratio),
        span(costs.step_seconds, seconds),
        _or_nothing(costs.peak_memory, size),
        _or_nothing(costs.adapter_bytes, size),
        _or_nothing(costs.latency_unmerged_ms, lambda value: seconds(value / 1000)),
        _or_nothing(costs.latency_merged_ms, lambda value: seconds(value / 1000)),
        _or_nothing(costs.train_seconds, seconds),
        _or_nothing(costs.tuning_runs, whole),
        _or_nothing(costs.tuning_seconds, seconds),
    ]


def used(rows: Sequence[Sequence[str]]) -> list[int]:
    """The positions of the columns in which some row has a value."""
    return [index for index in range(len(COST_HEADS)) if any(row[index] != NOTHING for row in rows)]


SEARCHED_TITLE = "Expected best of k trials"
SEARCHED_NOTE = (
    "the selection score that the best of k trials is expected to reach, and the time that k trials take; trials "
    "drawn from those on disk (Dodge et al. 2019). A failed trial gets the worst score, and its time counts."
)


def searched_heads(searched: Sequence[Searched]) -> list[str]:
    """The heads of the table of budgets, with one column for each k that some line has."""
    return ["method", "task (metric)", "model, protocol", "trials", *(f"k = {k}" for k in _ks(searched))]


def searched_cells(line: Searched, searched: Sequence[Searched]) -> list[str]:
    """One line of that table: method, task, model, trials (`8, 1 failed`), then `85.3 (2 min)` for each k."""
    known = {each.trials: f"{score(each.score)} ({seconds(each.seconds)})" for each in line.shown()}
    trials = f"{len(line.budgets)}" + (f", {line.failed} failed" if line.failed else "")
    place = [line.method, f"{line.task} ({line.metric})", f"{line.model}, {line.protocol}", trials]
    return [*place, *(known.get(k, NOTHING) for k in _ks(searched))]


def _ks(searched: Sequence[Searched]) -> list[int]:
    return sorted({each.trials for line in searched for each in line.shown()})


def rank_line(ranks: Ranks | None) -> str:
    """The average ranks in a sentence, best first."""
    if ranks is None:
        return ""
    order = sorted(ranks.average.items(), key=lambda item: (item[1], item[0]))
    listed = ", ".join(f"{name} {fix(rank, 2)}" for name, rank in order)
    nemenyi = f"critical difference {fix(ranks.critical_difference, 2)} (Nemenyi, .05)"
    friedman = f"Friedman p {probability(ranks.friedman_p)}"
    return f"average ranks over {len(ranks.tasks)} tasks: {listed}; {nemenyi}; {friedman}"


def _or_nothing(value: float | None, write: Callable[[float], str]) -> str:
    return NOTHING if value is None else write(value)
