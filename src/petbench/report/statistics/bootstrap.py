"""The multi-bootstrap, which resamples seeds and rows together: a check on the t test for metrics that are not means.

Sellam et al., The MultiBERTs: BERT reproductions for robustness analysis, ICLR 2022. Rows are drawn for both methods
together, seeds for each method on its own. To first order the metric of drawn rows is the mean of their jackknife
values, so a draw takes two matrix products instead of 2·n scores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
DRAWS = 2000
SEED = 20262


@dataclass(frozen=True)
class Bootstrap:
    """The standard error of the difference, and the two-sided p from the share of draws on the other side of 0."""

    se: float
    p: float


def multi_bootstrap(a: Values, b: Values, draws: int = DRAWS) -> Bootstrap:
    """The multi-bootstrap of two methods. a, b: (n_a, m) and (n_b, m) jackknife values on the same m rows.

    With fewer than about 10 seeds its percentile interval is too narrow, so only standard error and p are given.
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
