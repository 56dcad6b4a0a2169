"""The multi-bootstrap: seeds and rows resampled together, the check on the t test where a metric is no mean over rows.

Sellam et al., The MultiBERTs: BERT reproductions for robustness analysis, ICLR 2022. Rows are drawn anew for both
methods at once, the seeds of each method for themselves. The metric of a drawn run is linear in the jackknife values
of the drawn rows to first order, so a draw is two matrix products instead of 2·n scores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
DRAWS = 2000
SEED = 20262


@dataclass(frozen=True)
class Bootstrap:
    """The difference's standard error, and two-sided p by the share of draws on the other side of 0."""

    se: float
    p: float


def multi_bootstrap(a: Values, b: Values, draws: int = DRAWS) -> Bootstrap:
    """(n_a, m) and (n_b, m) jackknife values of two methods on the same rows.

    Its percentile interval holds too little below about 10 seeds, so only standard error and p are given.
    """
    generator = np.random.default_rng(SEED)
    m = a.shape[1]
    rows = generator.multinomial(m, np.full(m, 1 / m), size=draws) / m  # (draws, m)
    means = []
    for side in (a, b):
        n = len(side)
        seeds = generator.multinomial(n, np.full(n, 1 / n), size=draws) / n  # (draws, n)
        means.append(np.einsum("dn,dn->d", seeds, rows @ side.T))
    found = means[0] - means[1]
    below, above = float((found <= 0).mean()), float((found >= 0).mean())
    return Bootstrap(float(found.std(ddof=1)), min(1.0, 2 * max(min(below, above), 1 / draws)))
