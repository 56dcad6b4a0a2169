"""Hold the statistics to what they claim, on made runs whose truth is known; prints the table of docs/statistics.md.

Run: python scripts/simulate_statistics.py [--draws 2000]      (seeded; minutes on one core)
"""

import argparse
from collections.abc import Callable, Iterator
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

from petbench.report.statistics.column import all_pairs, parts_of
from petbench.report.statistics.difference import Side, difference
from petbench.report.statistics.intervals import summary
from petbench.report.statistics.moderation import Prior, fit_prior
from petbench.report.statistics.shape import disagrees
from petbench.report.statistics.theirs import beside

ROWS = 872  # of SST-2's validation split
OTHER_CELLS = 20  # of the table that the prior is fitted to

Values = NDArray[np.float64]


class World:
    """Runs like those on SST-2: rows that are hard for all, rows that are hard for one method, and seeds.

    A run answers row j right where difficulty_j + own_jk + seed_i + noise_ij > bar: own is the method's, seed shifts
    all rows of a run, noise is the run's alone. In units of the latent scale; twins share `own`.
    """

    difficulty, own, seed, noise = 1.6, 0.55, 0.03, 0.45

    def __init__(self, generator: np.random.Generator, accuracy: float = 0.82) -> None:
        self.generator = generator
        self.total = (self.difficulty**2 + self.own**2 + self.seed**2 + self.noise**2) ** 0.5
        self.accuracy = accuracy

    def rows(self, m: int) -> Values:
        """(m,) difficulties of rows of the kind."""
        return self.generator.normal(0, self.difficulty, m)

    def method(self, m: int) -> Values:
        """(m,) what a method adds."""
        return self.generator.normal(0, self.own, m)

    def runs(self, rows: Values, own: Values, n: int, points: float = 0.0) -> Values:
        """(n, m) right or wrong; points: true accuracy above the world's, in points."""
        from scipy.special import ndtri

        bar = -self.total * ndtri(self.accuracy + points / 100)
        latent = rows + own + self.generator.normal(0, self.seed, (n, 1))
        return (latent + self.generator.normal(0, self.noise, (n, len(rows))) > bar).astype(float)

    def prior(self, n: int) -> Prior | None:
        """What a table of 20 other methods says of the seeds' variance."""
        rows = self.rows(ROWS)
        cells = [self.runs(rows, self.method(ROWS), n).mean(axis=1) for _ in range(OTHER_CELLS)]
        return fit_prior([(variance(cell), n - 1) for cell in cells])


def side(x: Values) -> Side:
    """The runs of one method."""
    return Side(tuple(x.mean(axis=1)), x)


def share(found: Iterator[bool], draws: int) -> float:
    """Percent of the draws."""
    return 100 * fmean(float(next(found)) for _ in range(draws))


def coverage(generator: np.random.Generator, n: int) -> Iterator[bool]:
    """Whether the 95 % interval of n normal scores holds their mean."""
    while True:
        short = summary(list(generator.normal(0, 1, n)))
        assert short.low is not None and short.high is not None
        yield short.low <= 0 <= short.high


def moderated_coverage(generator: np.random.Generator, n: int) -> Iterator[bool]:
    """The same for a cell of a table of 20 whose variances differ by a factor of about two."""
    while True:
        spreads = np.sqrt(8 / generator.chisquare(8, OTHER_CELLS))
        cells = [generator.normal(0, spread, n) for spread in spreads]
        prior = fit_prior([(variance(cell), n - 1) for cell in cells])
        short = summary(list(cells[0]), prior)
        assert short.low is not None and short.high is not None
        yield short.low <= 0 <= short.high


def verdicts(
    generator: np.random.Generator, n: int, points: float, twins: bool, m: int = ROWS
) -> Iterator[bool]:
    """Whether two methods, `points` apart in truth, are told apart; seeds moderated by a table of 20."""
    world = World(generator)
    prior: Prior | None = None
    for draw in range(10**9):
        if draw % 20 == 0:
            prior = world.prior(n)
        rows, first = world.rows(m), world.method(m)
        second = first if twins else world.method(m)
        found = difference(
            side(world.runs(rows, first, n, points)), side(world.runs(rows, second, n)), (prior, prior)
        )
        assert found is not None
        yield found.p <= 0.05


def false_behind(generator: np.random.Generator, k: int, n: int) -> Iterator[bool]:
    """Whether any of k equal methods is said to be behind the highest."""
    world = World(generator)
    while True:
        rows = world.rows(ROWS)
        sides = {str(name): side(world.runs(rows, world.method(ROWS), n)) for name in range(k)}
        prior = fit_prior([(variance(each.scores), n - 1) for each in sides.values()])
        parts = parts_of(sides, dict.fromkeys(sides, prior))
        assert parts is not None
        yield len(all_pairs(parts).top) < k


def false_behind_unlike(generator: np.random.Generator, k: int, n: int) -> Iterator[bool]:
    """The same without answers, for methods whose seeds scatter unlike: variances apart by a factor of about two."""
    while True:
        spreads = 0.01 * np.sqrt(8 / generator.chisquare(8, k))
        sides = {
            str(name): Side(tuple(generator.normal(0.8, spread, n))) for name, spread in enumerate(spreads)
        }
        prior = fit_prior([(variance(each.scores), n - 1) for each in sides.values()])
        parts = parts_of(sides, dict.fromkeys(sides, prior))
        assert parts is not None
        yield len(all_pairs(parts).top) < k


def theirs_consistent(generator: np.random.Generator, n: int) -> Iterator[bool]:
    """Whether one more run of our own law is called `differs` (the share of the others is printed)."""
    while True:
        values = generator.normal(0.8, 0.005, n + 1)
        yield beside(list(values[:n]), float(values[n])).word != "differs"


def wrong_winner(generator: np.random.Generator, n: int = 20) -> Iterator[bool]:
    """One run of 20 of the better method collapses: whether the worse is named the winner."""
    while True:
        better = generator.normal(0.82, 0.005, n)
        worse = generator.normal(0.815, 0.005, n)
        better[0] = 0.51
        found = difference(Side(tuple(better)), Side(tuple(worse)))
        assert found is not None
        yield found.p <= 0.05 and found.value < 0 and not disagrees(list(better), list(worse))


Check = tuple[str, Callable[[np.random.Generator], Iterator[bool]], str, int]


def checks() -> Iterator[Check]:
    """What is checked, how, what it must reach, and what share of the draws is enough."""
    for n in (2, 3, 5, 10):
        yield f"a cell's 95 % interval holds the mean, n = {n}", lambda g, n=n: coverage(g, n), "94 to 96", 4
    for n in (3, 5):
        title = f"the same moderated by a table of 20, n = {n}"
        yield title, lambda g, n=n: moderated_coverage(g, n), "94 to 96", 1
    for n in (3, 5, 10):
        title = f"false alarms, methods that differ by row, n = {n}"
        yield title, lambda g, n=n: verdicts(g, n, 0.0, twins=False), "3 to 6", 1
    for n in (3, 5, 10):
        yield f"false alarms, twins, n = {n}", lambda g, n=n: verdicts(g, n, 0.0, twins=True), "at most 6", 1
    for twins, least in ((False, 92), (True, 80)):
        title = f"3.5 points seen with 3 seeds, {'twins' if twins else 'methods that differ by row'}"
        yield title, lambda g, t=twins: verdicts(g, 3, 3.5, twins=t), f"at least {least}", 1
    for k in (10, 20):
        for n in (3, 5):
            title = f"a false `behind` in a column of {k} equal rows, n = {n}"
            yield title, lambda g, k=k, n=n: false_behind(g, k, n), "at most 5", 1
    for n in (3, 5, 10):
        title = f"theirs not called different when both are one law, n = {n}"
        yield title, lambda g, n=n: theirs_consistent(g, n), "94 to 96", 4
    yield "wrong winner with one collapse in 20 runs", wrong_winner, "0", 1
    for k in (10, 20):
        for n in (3, 5):
            title = f"a false `behind` in a column of {k} equal rows that scatter unlike, n = {n}"
            yield title, lambda g, k=k, n=n: false_behind_unlike(g, k, n), "(a limit, said)", 1


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="made comparisons a line (default 2,000)")
    parser.add_argument("--only", default="", help="lines whose title holds this text")
    flags = parser.parse_args()
    print(f"| check, {flags.draws:,} draws or more | percent | to reach |\n| --- | ---: | --- |")
    for number, (title, make, wanted, more) in enumerate(checks()):
        if flags.only in title:
            found = share(make(np.random.default_rng(1000 + number)), flags.draws * more)
            print(f"| {title} | {found:.1f} | {wanted} |", flush=True)


if __name__ == "__main__":
    main()
