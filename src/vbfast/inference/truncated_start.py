"""Starts of very many components, whose cost does not grow as rows times components.

First centres are chosen in a sample. Lloyd's iterations (1982) then go over all rows, each of which
looks for its nearest centre among the neighbours of those that it had before.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, Moments, Request, Statistics
from vbfast.inference.kmeans import seed_rows
from vbfast.inference.monitor import Monitor
from vbfast.inference.runner import SearchingRunner
from vbfast.inference.subsample import InitSize
from vbfast.inputs.weights import n_weighted_rows
from vbfast.passes.distances import squared_distances
from vbfast.passes.hosts import rows_of_hosts
from vbfast.passes.recentring import way_to_the_means

__all__ = ["cluster_by_search", "spread_or_drawn_rows"]

# Rows of the sample, for each component, and at least.
ROWS_PER_COMPONENT = 8
LEAST_ROWS = 8192
# k-means++ costs the sample times the components. With more components rows are drawn instead:
# it would take longer than the iterations.
MOST_SPREAD = 4096
# Lloyd's iterations, at most, and the part of the sum of squares that the last one takes off.
ITERATIONS = 20
GAIN = 1e-3
# In so many of them, clusters with less than a part of the average weight begin elsewhere; they go
# on as long as more than another part of all clusters does.
RESEEDINGS = 12
SMALL = 0.05
SETTLED = 0.02


def spread_or_drawn_rows(
    runner: SearchingRunner,
    n_components: int,
    random_state: np.random.RandomState,
    init_size: InitSize,
    monitor: Monitor,
) -> npt.NDArray[np.intp]:
    """Return first centres: rows that k-means++ chooses from a sample, or, of many, rows at random.

    Parameters
    ----------
    runner : SearchingRunner
    n_components : int
    random_state : numpy.random.RandomState
    init_size : int, 'all' or None
        How many rows the sample has; by default eight a component, and at least 8,192.
    monitor : Monitor
        Told of every centre that k-means++ chooses.

    Returns
    -------
    rows : ndarray of shape (n_components,), intp
    """
    if n_components > MOST_SPREAD and init_size is None:
        weight = runner.sample_weight
        counted = n_weighted_rows(weight, runner.n_samples)
        drawn = random_state.choice(counted, size=n_components, replace=False)
        if weight is None or counted == runner.n_samples:
            return np.asarray(drawn, dtype=np.intp)
        return np.flatnonzero(weight)[drawn]
    size: int | Literal["all"] = (
        max(LEAST_ROWS, ROWS_PER_COMPONENT * n_components) if init_size is None else init_size
    )
    return seed_rows(runner, n_components, random_state, init_size=size, monitor=monitor)


def cluster_by_search(
    runner: SearchingRunner,
    n_components: int,
    moments: Moments,
    random_state: np.random.RandomState,
    init_size: InitSize,
    monitor: Monitor,
) -> Statistics:
    """Return the statistics of each row in the cluster that truncated k-means finds for it.

    Parameters
    ----------
    runner : SearchingRunner
    n_components : int
    moments : the moments that are summed
    random_state : numpy.random.RandomState
    init_size : int, 'all' or None
    monitor : Monitor
        As for :func:`spread_or_drawn_rows`.
    """
    rows = spread_or_drawn_rows(runner, n_components, random_state, init_size, monitor)
    centres = runner.gather(rows)
    extent = float(np.ptp(centres, axis=0).max())
    unit = extent if extent > 0.0 else 1.0  # the same in all iterations, whose sums are compared
    before = -np.inf
    for iteration in range(ITERATIONS):
        sums = runner.search(squared_distances(centres, unit=unit), Request("hard", "spherical"))
        assert sums.statistics is not None
        centres = centres + way_to_the_means(sums.statistics)
        reached = sums.expected_log_joint
        moved = 0
        if iteration < RESEEDINGS:
            moved = _reseed(runner, centres, sums.statistics, random_state)
        if moved <= SETTLED * n_components and reached - before < GAIN * abs(reached):
            break
        before = reached
    result = runner.search(squared_distances(centres, unit=unit), Request("hard", moments))
    assert result.statistics is not None
    return result.statistics


def _reseed(
    runner: SearchingRunner,
    centres: Float64Array,
    statistics: Statistics,
    random_state: np.random.RandomState,
) -> int:
    """Move centres that have few rows into clusters of large scatter; return how many.

    k-means++ takes rows far from all others for clusters, the more the smaller the sample is. The
    clusters that take them in are drawn with probabilities proportional to their scatter.
    """
    weight, second = statistics.weight, statistics.second
    assert second is not None
    n_clusters, n_features = centres.shape
    small = weight < SMALL * weight.sum() / n_clusters
    moved = np.flatnonzero(small)
    way = way_to_the_means(statistics)
    scatter = np.maximum(n_features * second - weight * (way**2).sum(axis=1), 0.0)
    scatter[small] = 0.0
    total = np.cumsum(scatter)
    if len(moved) == 0 or not 0.0 < total[-1] < np.inf:
        return 0
    wanted = (np.arange(len(moved)) + random_state.uniform(size=len(moved))) / len(moved)
    hosts = np.searchsorted(total, wanted * total[-1], side="right")
    hosts = np.minimum(hosts, np.flatnonzero(scatter)[-1])
    assert runner.kept is not None
    rows = rows_of_hosts(runner.kept[:, 0], runner.sample_weight, hosts, random_state)
    runner.begin_beside(moved, hosts)
    centres[moved] = runner.gather(rows)
    return len(moved)
