"""A column of a table: which rows are told apart when all pairs are looked at together.

For methods k the simulated column is r_k + s_k: r the rows' part, drawn by resampling rows for all methods at once
(the multi-bootstrap of Sellam et al. 2022), s the seeds' part, normal with the moderated variance. A draw's pairs are
studentised with variances drawn as widely as they are known, (chi² with df)/df, so that few seeds cost what they must.
The 95 % quantile of the largest |t| over all pairs is the bar that every pair has to pass: false alarms in the whole
column stay at 5 %, whichever row happens to be highest. Without answers by row the draw is Tukey and Kramer's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from petbench.report.statistics.difference import LEVEL, Side, residual_part, seeds_variance
from petbench.report.statistics.moderation import Prior

Values = NDArray[np.float64]
DRAWS = 2000
SEED = 20261


@dataclass(frozen=True)
class Column:
    """All pairs of a column's methods, in the order given."""

    names: tuple[str, ...]
    means: Values  # (k,)
    se: Values  # (k, k) standard errors of the differences
    bar: float  # what |t| of a pair must exceed
    p: Values  # (k, k) p values, corrected for all pairs
    on_rows: bool  # whether rows counted: else it speaks for these rows only

    @property
    def apart(self) -> NDArray[np.bool_]:
        """(k, k): whether two methods are told apart."""
        found: NDArray[np.bool_] = self.p <= LEVEL
        return found

    @property
    def top(self) -> tuple[str, ...]:
        """The top group: the highest, and all that are not told from it."""
        best = int(self.means.argmax())
        return tuple(name for k, name in enumerate(self.names) if not self.apart[best, k])

    def p_from_top(self) -> Mapping[str, float | None]:
        """Corrected p against the highest row; None for itself."""
        best = int(self.means.argmax())
        return {name: None if k == best else float(self.p[best, k]) for k, name in enumerate(self.names)}

    def letters(self) -> Mapping[str, str]:
        """Compact letters: two methods share a letter when they are not told apart (Piepho 2004)."""
        order = sorted(range(len(self.names)), key=lambda k: -self.means[k])
        groups: list[set[int]] = [set(order)]
        for i in order:
            for j in order:
                if i < j and self.apart[i, j]:
                    groups = _parted(groups, i, j)
        groups.sort(key=lambda group: min(order.index(k) for k in group))
        return {
            name: "".join(_letter(n) for n, group in enumerate(groups) if k in group)
            for k, name in enumerate(self.names)
        }


def column(sides: Mapping[str, Side], prior: Prior | None = None) -> Column | None:
    """Every method with at least two runs, all pairs together; None below two such methods.

    Rows count when every method kept its answers on the same rows.
    """
    kept = {name: side for name, side in sides.items() if side.n >= 2}
    if len(kept) < 2:
        return None
    names = tuple(kept)
    means = np.array([fmean(side.scores) for side in kept.values()])
    spreads = [seeds_variance(side, prior) for side in kept.values()]
    seeds = np.array([spread.value / side.n for spread, side in zip(spreads, kept.values(), strict=True)])
    df = [spread.df for spread in spreads]
    tables = [side.rows for side in kept.values()]
    on_rows = all(t is not None for t in tables) and len({t.shape[1] for t in tables if t is not None}) == 1
    generator = np.random.default_rng(SEED)
    k = len(names)
    s_drawn = generator.standard_normal((DRAWS, k)) * np.sqrt(seeds)
    known = np.column_stack([_known_as(generator, f) for f in df])  # how far off each variance may be
    if on_rows:
        by_row = np.array([t.mean(axis=0) for t in tables if t is not None])  # (k, m)
        residual = np.array([residual_part(t) for t in tables if t is not None])
        rows = _pairs_rows(by_row)
        r_drawn = _resampled(generator, by_row)
    else:
        rows, residual, r_drawn = np.zeros((k, k)), np.zeros(k), np.zeros((DRAWS, k))
    variance = _pair_variance(rows, seeds, residual)
    largest = np.zeros(DRAWS)
    drawn = r_drawn + np.sqrt(_less_residual(seeds, residual) / np.maximum(seeds, 1e-300)) * s_drawn
    for i in range(k - 1):
        others = slice(i + 1, k)
        apart = np.abs(drawn[:, i, None] - drawn[:, others])
        total = _pair_variance_drawn(rows[i, others], seeds, residual, known, i, others)
        t = np.divide(apart, np.sqrt(total), out=np.zeros_like(apart), where=total > 0)
        np.maximum(largest, t.max(axis=1), out=largest)
    largest.sort()
    se = np.sqrt(variance)
    observed = np.abs(means[:, None] - means[None, :])
    t = np.divide(observed, se, out=np.where(observed > 1e-12, np.inf, 0.0), where=se > 0)
    p = 1 - np.searchsorted(largest, t, side="left") / DRAWS
    bar = float(largest[int(np.ceil((1 - LEVEL) * DRAWS)) - 1])
    return Column(names, means, se, bar, np.maximum(p, 1 / DRAWS), bool(on_rows))


def _known_as(generator: np.random.Generator, df: float) -> Values:
    return np.ones(DRAWS) if isinf(df) else generator.chisquare(df, DRAWS) / df


def _pairs_rows(by_row: Values) -> Values:
    """(k, m) mean row values to (k, k) variances over rows of the differences of means."""
    covariance = np.cov(by_row) / by_row.shape[1]
    diagonal = covariance.diagonal()
    pairs: Values = np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * covariance, 0.0)
    return pairs


def _resampled(generator: np.random.Generator, by_row: Values) -> Values:
    """(draws, k): the rows drawn anew, the same for all methods, less what was seen."""
    k, m = by_row.shape
    centred = by_row - by_row.mean(axis=1, keepdims=True)
    weights = generator.multinomial(m, np.full(m, 1 / m), size=DRAWS).astype(np.float32)
    drawn: Values = (weights @ centred.T.astype(np.float32)).astype(np.float64) / m
    return drawn


def _pair_variance(rows: Values, seeds: Values, residual: Values) -> Values:
    both = seeds[:, None] + seeds[None, :]
    twice = residual[:, None] + residual[None, :]
    variance: Values = np.maximum(np.maximum(rows + both - twice, rows), both)
    np.fill_diagonal(variance, 0.0)
    return variance


def _pair_variance_drawn(
    rows: Values, seeds: Values, residual: Values, known: Values, i: int, others: slice
) -> Values:
    both = (seeds[i] * known[:, i])[:, None] + seeds[others] * known[:, others]
    twice = residual[i] + residual[others]
    total: Values = np.maximum(np.maximum(rows + both - twice, rows), both)
    return total


def _less_residual(seeds: Values, residual: Values) -> Values:
    """The seeds' part without what the resampled rows hold already."""
    less: Values = np.maximum(seeds - residual, 0.0)
    return less


def _parted(groups: list[set[int]], i: int, j: int) -> list[set[int]]:
    """No group may hold both: split those that do, drop what lies inside another."""
    out: list[set[int]] = []
    for group in groups:
        out += [group - {i}, group - {j}] if i in group and j in group else [group]
    return [g for n, g in enumerate(out) if not any(g < h or (g == h and n > o) for o, h in enumerate(out))]


def _letter(n: int) -> str:
    return chr(ord("a") + n) if n < 26 else f"({n + 1})"


def column_of(scores: Mapping[str, Sequence[float]]) -> Column | None:
    """A column of scores alone, over seeds."""
    return column({name: Side(tuple(values)) for name, values in scores.items()})
