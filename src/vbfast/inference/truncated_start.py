"""Starts of very many components, whose cost does not grow as rows times components.

First centres are chosen in a sample. Lloyd's iterations (1982) then go over all rows, each of which
looks for its nearest centre among the neighbours of those that it had before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeGuard

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, Moments, Request, Statistics
from vbfast.inference.chains import LENGTH, chain_rows
from vbfast.inference.kmeans import seed_rows
from vbfast.inference.monitor import Monitor
from vbfast.inference.runner import RowRunner, SearchingRunner, searches
from vbfast.inference.subsample import InitSize
from vbfast.inputs.weights import n_weighted_rows
from vbfast.passes.distances import squared_distances
from vbfast.passes.recentring import way_to_the_means

__all__ = ["begins_by_search", "cluster_by_search", "spread_or_drawn_rows"]

# Up to so many components the starts of whole posteriors take no longer, and are better: of groups
# that overlap, fits from them come closer to the exact fit's evidence (bench/truncated.py, curved).
FEW_COMPONENTS = 256

# Rows of the sample, for each component, and at least.
ROWS_PER_COMPONENT = 8
LEAST_ROWS = 8192
# k-means++ costs the sample times the components: with more it would take longer than the
# iterations.
MOST_SPREAD = 4096
# Evaluations a row that chains may take: those of ten searches.
MOST_CHAINED = 460
# Lloyd's iterations, at most, and the part of the sum of squares that the last one takes off.
ITERATIONS = 20
# After so many of them clusters tell which first centres are better.
FIRST_ITERATIONS = 5
GAIN = 1e-3
# In so many of them, clusters with less than a part of the average weight begin elsewhere; they go
# on as long as more than another part of all clusters does.
RESEEDINGS = 12
SMALL = 0.05
SETTLED = 0.02


def begins_by_search(runner: RowRunner, n_components: int) -> TypeGuard[SearchingRunner]:
    """Whether a start has too many components to evaluate each row under all of them."""
    return searches(runner) and n_components > FEW_COMPONENTS


def spread_or_drawn_rows(
    runner: SearchingRunner,
    n_components: int,
    random_state: np.random.RandomState,
    init_size: InitSize,
    monitor: Monitor,
) -> npt.NDArray[np.intp]:
    """Return first centres that are far from each other, where that does not take too long.

    Rows that k-means++ chooses from a sample, of more components by chains, and of very many for
    so few rows at random.

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
        if LENGTH * n_components**2 > 2 * MOST_CHAINED * runner.n_samples:
            return _drawn_rows(runner, n_components, random_state)
        return chain_rows(runner, n_components, random_state, monitor=monitor)
    size: int | Literal["all"] = (
        max(LEAST_ROWS, ROWS_PER_COMPONENT * n_components) if init_size is None else init_size
    )
    return seed_rows(runner, n_components, random_state, init_size=size, monitor=monitor)


def _drawn_rows(
    runner: SearchingRunner, n_components: int, random_state: np.random.RandomState
) -> npt.NDArray[np.intp]:
    """Return rows that are drawn with equal probability."""
    weight = runner.sample_weight
    counted = n_weighted_rows(weight, runner.n_samples)
    drawn = random_state.choice(counted, size=n_components, replace=False)
    if weight is None or counted == runner.n_samples:
        return np.asarray(drawn, dtype=np.intp)
    return np.flatnonzero(weight)[drawn]


def cluster_by_search(
    runner: SearchingRunner,
    n_components: int,
    moments: Moments,
    random_state: np.random.RandomState,
    init_size: InitSize,
    monitor: Monitor,
    judge: Callable[[Statistics], float] | None = None,
) -> Statistics:
    """Return the statistics of each row in the cluster that truncated k-means finds for it.

    Rows at random lead to better fits where what tells rows apart is noise, by more than a nat a
    row, and those of k-means++ where there are clusters to be found, by several
    (``python bench/search_choices.py --sections starts``). So k-means begins with both, and goes on
    from the one whose clusters the judge prefers after a few iterations.

    Parameters
    ----------
    runner : SearchingRunner
    n_components : int
    moments : the moments that are summed
    random_state : numpy.random.RandomState
    init_size : int, 'all' or None
    monitor : Monitor
        As for :func:`spread_or_drawn_rows`.
    judge : callable, optional
        Returns how good clusters of such statistics are. Without it, and where ``init_size`` is
        given, there is one beginning.
    """
    rows = spread_or_drawn_rows(runner, n_components, random_state, init_size, monitor)
    clustering = _Clustering(runner, rows, random_state)
    if judge is None or init_size is not None:
        clustering.go_on(ITERATIONS)
        return clustering.statistics(moments)
    beginnings = [rows, _drawn_rows(runner, n_components, random_state)]
    best, best_value = None, -np.inf
    for rows in beginnings:
        runner.begin_anew()
        clustering = _Clustering(runner, rows, random_state)
        clustering.go_on(FIRST_ITERATIONS)
        value = judge(clustering.statistics(moments))
        if best is None or value > best_value:
            best, best_value = (clustering, runner.memory()), value
    assert best is not None
    clustering, memory = best
    runner.remember(memory)
    clustering.go_on(ITERATIONS - FIRST_ITERATIONS)
    return clustering.statistics(moments)


class _Clustering:
    """Iterations of k-means whose rows look for their nearest centre by searches."""

    def __init__(
        self,
        runner: SearchingRunner,
        rows: npt.NDArray[np.intp],
        random_state: np.random.RandomState,
    ) -> None:
        self._runner, self._random_state = runner, random_state
        self._centres = runner.gather(rows)
        extent = float(np.ptp(self._centres, axis=0).max())
        # The same in all iterations, whose sums are compared.
        self._unit = extent if extent > 0.0 else 1.0
        self._before = -np.inf
        self._n_iterations = 0
        self._ended = False

    def go_on(self, n_iterations: int) -> None:
        """Make up to so many iterations more."""
        for _ in range(n_iterations):
            if self._ended:
                return
            sums = self._runner.search(
                squared_distances(self._centres, unit=self._unit), Request("hard", "spherical")
            )
            assert sums.statistics is not None
            centres = self._centres + way_to_the_means(sums.statistics)
            reached = sums.expected_log_joint
            moved = 0
            if self._n_iterations < RESEEDINGS:
                moved = _reseed(self._runner, centres, sums.statistics, self._random_state)
            self._centres = centres
            gained = reached - self._before
            self._ended = moved <= SETTLED * len(centres) and gained < GAIN * abs(reached)
            self._before = reached
            self._n_iterations += 1

    def statistics(self, moments: Moments) -> Statistics:
        """Return those of the rows in the clusters that they find now."""
        distances = squared_distances(self._centres, unit=self._unit)
        result = self._runner.search(distances, Request("hard", moments))
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
    centres[moved] = runner.reseed(moved, hosts, random_state)
    return len(moved)
