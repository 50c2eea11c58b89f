"""Whether rows lie in an order that batches of consecutive rows suffer from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vbfast.inference.runner import RowRunner

__all__ = ["Order", "order_of_rows"]

# How many batches are looked at, and how many rows of each.
BATCHES = 32
ROWS = 256
# The part of a feature's variance that tells rows of different batches apart, from where on rows
# are sorted. Shuffled rows of one distribution have next to none.
SORTED = 0.1


class Order(NamedTuple):
    """The feature that rows are most sorted by, and the part of its variance between batches."""

    feature: int
    between: float

    @property
    def sorted(self) -> bool:
        """Whether batches differ by more than chance."""
        return self.between > SORTED


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def order_of_rows(runner: RowRunner, batches: Sequence[slice]) -> Order:
    """Say how much the means of batches differ: the largest intraclass correlation of a feature.

    It is estimated by the analysis of variance, ``(F - 1) / (F - 1 + n)`` for ``n`` rows of each
    batch (Fisher 1925, section 40), from the first rows of some batches. Weights do not count.

    Parameters
    ----------
    runner : RowRunner
    batches : sequence of slice
        Of rows.

    Returns
    -------
    Order

    Raises
    ------
    NonFiniteRowError
        If one of these rows is not finite.
    """
    unweighted = runner.weighted(None)
    first = runner.gather(np.array([batches[0].start]))[0]
    centre = np.where(np.isfinite(first), first, 0.0)
    means, counts, within = [], [], np.zeros(runner.n_features)
    for index in np.linspace(0, len(batches) - 1, min(BATCHES, len(batches))).astype(int):
        rows = batches[index]
        some = slice(rows.start, min(rows.start + ROWS, rows.stop))
        statistics = unweighted.section(some).moments_about(centre, "diag")
        assert statistics.second is not None
        mean = statistics.first[0] / statistics.weight[0]
        within += np.maximum(statistics.second[0] - statistics.weight[0] * mean**2, 0.0)
        means.append(mean)
        counts.append(statistics.weight[0])
    count, mean_of = np.array(counts), np.array(means)
    free = count.sum() - len(count)
    if len(count) < 2 or free < 1:
        return Order(0, 0.0)
    between = count @ (mean_of - count @ mean_of / count.sum()) ** 2 / (len(count) - 1)
    ratio = between / (within / free)  # no number where a feature is constant
    excess = np.where(ratio > 1.0, ratio - 1.0, 0.0)
    share = np.where(np.isinf(excess), 1.0, excess / (excess + count.mean()))
    feature = int(np.argmax(share))
    return Order(feature, float(share[feature]))
