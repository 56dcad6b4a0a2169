"""A column of a table: which of its rows differ significantly when all pairs are tested together.

Each pair has the p value of its own t test over seeds and rows (`difference`). It is corrected for the number of pairs
and for their dependence by the max-t method (Westfall and Young 1993): means of equal methods are drawn with their
covariance over rows (all methods share the rows) and over seeds (each method has its own), and the largest standardised
difference of each draw is noted. The corrected p of a pair is the share of draws whose largest difference exceeds the
pair's own. So the probability of any false difference in a column is 5 %, whichever row happens to be the highest.
Without answers by row only seeds are drawn: this is Tukey and Kramer's test with unequal variances.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from petbench.report.statistics.difference import LEVEL, Side, residual_part, seeds_variance
from petbench.report.statistics.moderation import Prior

Values = NDArray[np.float64]
DRAWS = 2000
SEED = 20261


@dataclass(frozen=True)
class Parts:
    """The variance parts of the means of k methods, on one task or on the mean over several (all in score²)."""

    names: tuple[str, ...]
    means: Values  # (k,)
    seeds: Values  # (k,) the part of each mean's variance that is due to seeds
    df: Values  # (k,) degrees of freedom of the seeds' part; infinite if it is taken as known
    rows: Values | None  # (k, k) covariance of the means over rows; None: the test holds for these rows only
    residual: Values  # (k,) the part of the variance that is in both `rows` and `seeds`
    m: int | None = None  # number of rows

    def named(self, names: Mapping[str, str]) -> "Parts":
        """The same with new names (old -> new); methods without a new name are left out."""
        places = [k for k, name in enumerate(self.names) if name in names]
        return Parts(
            tuple(names[self.names[k]] for k in places),
            self.means[places], self.seeds[places], self.df[places],
            None if self.rows is None else self.rows[np.ix_(places, places)],
            self.residual[places], self.m,
        )  # fmt: skip


@dataclass(frozen=True)
class Column:
    """The tests of all pairs of a column's methods, in the order given."""

    names: tuple[str, ...]
    means: Values  # (k,)
    se: Values  # (k, k) standard errors of the differences
    p: Values  # (k, k) p values, corrected for all pairs
    on_rows: bool  # whether the variance over rows is included; otherwise the tests hold for these rows only

    @cached_property
    def apart(self) -> NDArray[np.bool_]:
        """(k, k) whether two methods differ significantly."""
        found: NDArray[np.bool_] = self.p <= LEVEL
        return found

    @cached_property
    def top(self) -> tuple[str, ...]:
        """The top group: the highest method, and all that do not differ significantly from it."""
        best = int(self.means.argmax())
        return tuple(name for k, name in enumerate(self.names) if not self.apart[best, k])

    @cached_property
    def p_from_top(self) -> Mapping[str, float | None]:
        """The corrected p of the difference from the highest method; None for that method itself."""
        best = int(self.means.argmax())
        return {name: None if k == best else float(self.p[best, k]) for k, name in enumerate(self.names)}

    @cached_property
    def letters(self) -> Mapping[str, str]:
        """The compact letter display: two methods share a letter when they do not differ significantly.

        Insert and absorb (Piepho, An algorithm for a letter-based representation of all-pairwise comparisons, JCGS
        13, 2004): start with one group of all methods, split every group with a pair that differs, and drop groups
        that are part of another. All pairs of one method are split at once: into the group without it, and without
        those that differ from it.
        """
        order = [int(k) for k in np.argsort(-self.means, kind="stable")]
        # A group is a number whose bit p says whether it contains the method at place p from the top.
        groups = [(1 << len(order)) - 1]
        for p, i in enumerate(order):
            differ = sum(1 << q for q in range(p + 1, len(order)) if self.apart[i, order[q]])
            groups = _parted(groups, 1 << p, differ)
        groups.sort(key=lambda group: [p for p in range(len(order)) if group >> p & 1])
        return {
            self.names[k]: "".join(_letter(n) for n, group in enumerate(groups) if group >> p & 1)
            for p, k in enumerate(order)
        }


def parts_of(sides: Mapping[str, Side], priors: Mapping[str, Prior | None]) -> Parts | None:
    """The parts of a task's methods with at least two runs; None below two such methods.

    priors: method -> prior of its variance over seeds. The variance over rows is included if every method has values
    on the same rows.
    """
    kept = {name: side for name, side in sides.items() if side.n >= 2}
    if len(kept) < 2:
        return None
    spreads = [seeds_variance(side, priors.get(name)) for name, side in kept.items()]
    tables = [side.rows for side in kept.values() if side.rows is not None]
    counted = len(tables) == len(kept) and len({table.shape[1] for table in tables}) == 1
    by_row = np.array([table.mean(axis=0) for table in tables]) if counted else None
    return Parts(
        names=tuple(kept),
        means=np.array([fmean(side.scores) for side in kept.values()]),
        seeds=np.array([spread.value / side.n for spread, side in zip(spreads, kept.values(), strict=True)]),
        df=np.array([spread.df for spread in spreads]),
        rows=None if by_row is None else np.cov(by_row) / by_row.shape[1],
        residual=np.array([residual_part(table) for table in tables]) if counted else np.zeros(len(kept)),
        m=tables[0].shape[1] if counted else None,
    )


def averaged(tasks: Sequence[Parts]) -> Parts | None:
    """The parts of the mean over tasks, for the methods that all tasks have; None below two of them."""
    shared = [name for name in tasks[0].names if all(name in task.names for task in tasks)]
    if len(shared) < 2:
        return None
    k = len(tasks)
    places = [[task.names.index(name) for name in shared] for task in tasks]
    seeds = [task.seeds[place] / k**2 for task, place in zip(tasks, places, strict=True)]
    below = sum(s**2 / task.df[place] for s, task, place in zip(seeds, tasks, places, strict=True))
    total = np.sum(seeds, axis=0)
    rows = [task.rows for task in tasks]
    return Parts(
        names=tuple(shared),
        means=np.mean([task.means[place] for task, place in zip(tasks, places, strict=True)], axis=0),
        seeds=total,
        df=np.divide(total**2, below, out=np.full(len(shared), np.inf), where=np.asarray(below) > 0),
        rows=None
        if any(r is None for r in rows)
        else np.sum(
            [r[np.ix_(p, p)] / k**2 for r, p in zip(rows, places, strict=True) if r is not None], axis=0
        ),
        residual=np.sum(
            [task.residual[place] / k**2 for task, place in zip(tasks, places, strict=True)], axis=0
        ),
        m=min((task.m for task in tasks if task.m is not None), default=None),
    )


def all_pairs(parts: Parts) -> Column:
    """The tests of all pairs, p corrected for all of them."""
    k = len(parts.names)
    rows = np.zeros((k, k))
    if parts.rows is not None:
        diagonal = parts.rows.diagonal()
        rows = np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * parts.rows, 0.0)
    seeds = parts.seeds[:, None] + parts.seeds[None, :]
    variance = _variance(rows, seeds, parts.residual[:, None] + parts.residual[None, :])
    np.fill_diagonal(variance, 0.0)
    se = np.sqrt(variance)
    apart = np.abs(parts.means[:, None] - parts.means[None, :])
    t = np.divide(apart, se, out=np.where(apart > 1e-12, np.inf, 0.0), where=se > 0)
    alone = _two_sided(t, _degrees(parts, rows, variance))
    largest = _largest(parts)
    # Each pair's p becomes the |z| with the same p, which is compared with the largest |z| of each draw.
    p = 1 - np.searchsorted(largest, _normal(alone), side="left") / DRAWS
    p = np.maximum(np.maximum(p, alone), 1 / DRAWS)
    np.fill_diagonal(p, 1.0)
    return Column(parts.names, parts.means, se, p, parts.rows is not None)


def _largest(parts: Parts) -> Values:
    """(draws,) the largest standardised difference of any pair in each draw of equal methods, sorted."""
    k = len(parts.names)
    generator = np.random.default_rng(SEED)
    own = np.maximum(parts.seeds - (parts.residual if parts.rows is not None else 0.0), 1e-12)
    covariance = np.diag(own) + (parts.rows if parts.rows is not None else 0.0)
    drawn = generator.standard_normal((DRAWS, k)) @ _root(covariance).T
    diagonal = covariance.diagonal()
    spread = np.sqrt(np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * covariance, 1e-18))
    largest = np.zeros(DRAWS)
    for i in range(k - 1):
        z = np.abs(drawn[:, i, None] - drawn[:, i + 1 :]) / spread[i, i + 1 :]
        np.maximum(largest, z.max(axis=1), out=largest)
    largest.sort()
    return largest


def _degrees(parts: Parts, rows: Values, variance: Values) -> Values:
    """(k, k) Satterthwaite's degrees of freedom of every pair, at least 1."""
    each = parts.seeds**2 / parts.df
    below = each[:, None] + each[None, :] + (rows**2 / (parts.m - 1) if parts.m else 0.0)
    df: Values = np.divide(variance**2, below, out=np.full_like(variance, np.inf), where=below > 0)
    return np.maximum(df, 1.0)


def _two_sided(t: Values, df: Values) -> Values:
    """P(|T| >= t) of Student's t distribution; of the normal distribution where df is infinite."""
    from scipy.special import ndtr, stdtr  # scipy takes a second

    finite = np.where(np.isinf(df), 1.0, df)
    p: Values = 2 * np.where(np.isinf(df), ndtr(-t), stdtr(finite, -t))
    return p


def _normal(p: Values) -> Values:
    """The |z| of the standard normal distribution with this two-sided p."""
    from scipy.special import ndtri  # scipy takes a second

    z: Values = -ndtri(np.clip(p, 1e-300, 1.0) / 2)
    return z


def _variance(rows: Values, seeds: Values, residual: Values) -> Values:
    """The variance of a difference of two means, without counting the residual twice (see `difference`)."""
    variance: Values = np.maximum(np.maximum(rows + seeds - residual, rows), seeds)
    return variance


def _root(covariance: Values) -> Values:
    """A matrix R with R·Rᵀ = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    root: Values = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


def _parted(groups: list[int], i: int, others: int) -> list[int]:
    """The groups such that none has bit i and one of the others: those that do are split, parts of others dropped."""
    out: list[int] = []
    for group in groups:
        out += [group & ~i, group & ~others] if group & i and group & others else [group]
    if len(out) == len(groups):
        return groups
    kept: list[int] = []
    for group in sorted(out, key=int.bit_count, reverse=True):
        if not any(group & larger == group for larger in kept):
            kept.append(group)
    return kept


def _letter(n: int) -> str:
    return chr(ord("a") + n) if n < 26 else f"({n + 1})"
