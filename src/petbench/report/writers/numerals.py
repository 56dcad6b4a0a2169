"""How numbers are written in tables: scores times 100, counts, bytes and seconds in fitting units."""

from collections.abc import Callable, Sequence

from petbench.report.budgets import Searched
from petbench.report.layout import Column, Costs, Span
from petbench.report.statistics.intervals import Summary
from petbench.report.statistics.ranks import Ranks

NOTHING = "–"


def score(value: float) -> str:
    """A score in [-1, 1] as points: 0.861 -> 86.1."""
    return f"{100 * value:.1f}"


def spread(short: Summary) -> str:
    """`± 0.3`, or nothing for one value."""
    return "" if short.std is None else f"± {score(short.std)}"


def interval(short: Summary) -> str:
    """`[85.8, 86.4]`, or nothing for one value."""
    return "" if short.low is None or short.high is None else f"[{score(short.low)}, {score(short.high)}]"


def whole(value: float) -> str:
    """110,592"""
    return f"{round(value):,}"


def percent(value: float) -> str:
    """Percent with two digits that count: 0.050, 1.2, 100."""
    return f"{value:.3f}" if 0 < value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def size(value: float) -> str:
    """Bytes in binary units: 1.4 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def seconds(value: float) -> str:
    """12 ms, 3.4 s, 5.6 min, 7.8 h."""
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def span(value: Span | None, write: Callable[[float], str]) -> str:
    """One number, or `low to high` where a row's tasks differ."""
    if value is None:
        return NOTHING
    low, high = write(value.low), write(value.high)
    return low if low == high else f"{low} to {high}"


def head(column: Column) -> str:
    """`rte (accuracy)`"""
    return f"{column.label} ({column.metric})" if column.metric else column.label


COST_HEADS = (
    "tuned params", "tuned %", "trainable params", "step / LoRA", "step time", "peak memory",
    "adapter size", "latency", "latency merged", "train time", "tuning runs", "tuning time",
)  # fmt: skip


def cost_cells(costs: Costs) -> list[str]:
    """One text a head of COST_HEADS. Tuned: adapter, norms and other parts; their percent is of the backbone."""
    return [
        span(costs.tuned, whole),
        span(costs.tuned_percent, percent),
        span(costs.trainable, whole),
        _or_nothing(costs.step_vs_lora, lambda value: f"{value:.2f}"),
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
    """The columns in which some row has something."""
    return [index for index in range(len(COST_HEADS)) if any(row[index] != NOTHING for row in rows)]


SEARCHED_TITLE = "Expected best of k trials"
SEARCHED_NOTE = (
    "the selection score that the best of k trials is expected to reach, and the time that k trials take; trials "
    "drawn from those on disk (Dodge et al. 2019). A failed trial scores as the worst one, and its time counts."
)


def searched_heads(searched: Sequence[Searched]) -> list[str]:
    """The head of the table of budgets, a column for each k of any line."""
    return ["method", "task (metric)", "model, protocol", "trials", *(f"k = {k}" for k in _ks(searched))]


def searched_cells(line: Searched, searched: Sequence[Searched]) -> list[str]:
    """One line: `8, 1 failed`, then `85.3 (2 min)` for each k."""
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
    listed = ", ".join(f"{name} {rank:.2f}" for name, rank in order)
    nemenyi = f"critical difference {ranks.critical_difference:.2f} (Nemenyi, .05)"
    p = f"{ranks.friedman_p:.3f}" if ranks.friedman_p >= 0.001 else "< 0.001"
    return f"average ranks over {len(ranks.tasks)} tasks: {listed}; {nemenyi}; Friedman p {p}"


def _or_nothing(value: float | None, write: Callable[[float], str]) -> str:
    return NOTHING if value is None else write(value)
