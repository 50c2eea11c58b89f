"""k-means on passes over the rows: greedy k-means++ seeding and Lloyd's iterations.

Outside of the passes there is work on one number a row at most. Seeding makes a pass a centre (two
where the distances to all candidates would take much memory) and Lloyd's algorithm one an
iteration, so rows that are read from disk are read that often.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, FloatArray, LogJoint, Request, RowOutputs
from vbfast.inference.ahead import move_ahead, seed_ahead
from vbfast.inference.monitor import SILENT, Monitor
from vbfast.inference.runner import RowRunner
from vbfast.inference.subsample import InitSize, check_enough_rows, named_among_all, subsample
from vbfast.inputs.weights import of_unit_scale
from vbfast.passes.distances import squared_distances

__all__ = ["draw_rows", "kmeans", "lloyd", "reached", "seed_rows"]

# How many times the distance between the closest seeds is the unit for finding closest centres:
# their boundary is where it should be to 1e-4 of that in float32.
SEPARATIONS = 16.0

# scikit-learn's defaults for KMeans.
RELATIVE_TOLERANCE = 1e-4
MAX_ITERATIONS = 300

# Over all rows, after a sample has been clustered.
ITERATIONS_OVER_ALL = 2

# Rows whose masses are summed at once when cumulative masses are inverted, and up to how many
# masses are summed one after the other.
DRAW_BLOCK_ROWS = 1024
SUMMED_ROWS = 16 * DRAW_BLOCK_ROWS

# Up to here the distances of all rows to all candidates for a centre are kept, which saves a pass.
KEPT_BYTES = 64 << 20


def kmeans(
    runner: RowRunner,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    init_size: InitSize = "all",
    bounds: Any = None,
    monitor: Monitor = SILENT,
) -> Float64Array:
    """Cluster the rows: k-means++ seeding, then Lloyd's algorithm to scikit-learn's tolerance.

    Parameters
    ----------
    runner : RowRunner
    n_clusters : int
    random_state : numpy.random.RandomState
    init_size : int, 'all' or None, optional
        Of the sample that is clustered before a few iterations over all rows, see
        :func:`vbfast.inference.subsample.subsample`.
    bounds : object, optional
        See :func:`lloyd`.
    monitor : Monitor, optional
        Told of every centre and iteration.

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features), float64

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    ValueError
        If fewer than ``n_clusters`` rows have positive weight.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.inference.kmeans import kmeans
    >>> from vbfast.passes.rows import as_row_source
    >>> from vbfast.passes.runner import LocalRunner
    >>> runner = LocalRunner(as_row_source([[0.0], [1.0], [10.0], [11.0]]))
    >>> np.sort(kmeans(runner, 2, np.random.RandomState(0)), axis=0)
    array([[ 0.5],
           [10.5]])
    """
    check_enough_rows(runner, n_clusters)
    drawn = subsample(runner, n_clusters, init_size, random_state)
    if drawn is None:
        every = _for_many_passes(runner, init_size)
        bounds = bounds if every is runner else None
        return _kmeans(every, n_clusters, random_state, monitor, bounds).centres
    sample, _ = drawn
    with named_among_all(runner):
        clustering = _kmeans(sample, n_clusters, random_state, monitor)
    return lloyd(
        runner,
        clustering.centres,
        tolerance=clustering.tolerance,
        unit=clustering.unit,
        max_iterations=ITERATIONS_OVER_ALL,
        bounds=bounds,
        monitor=monitor,
    )


def _for_many_passes(runner: RowRunner, init_size: InitSize) -> RowRunner:
    """Return a runner over all rows: of no more than a sample would have, copies in memory.

    Not if all were asked for, however many they are.
    """
    return runner if init_size == "all" else runner.in_memory()


class _Clustering(NamedTuple):
    centres: Float64Array
    tolerance: float
    unit: float | None


def _kmeans(
    runner: RowRunner,
    n_clusters: int,
    random_state: np.random.RandomState,
    monitor: Monitor,
    bounds: Any = None,
) -> _Clustering:
    _, variance = runner.column_moments()
    tolerance = RELATIVE_TOLERANCE * float(variance.mean())
    rows, separation = _seed(runner, n_clusters, random_state, monitor)
    unit = SEPARATIONS * separation if separation > 0.0 else None
    centres = lloyd(
        runner,
        runner.gather(rows),
        tolerance=tolerance,
        unit=unit,
        bounds=bounds,
        monitor=monitor,
    )
    return _Clustering(centres, tolerance, unit)


def seed_rows(
    runner: RowRunner,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    init_size: InitSize = "all",
    monitor: Monitor = SILENT,
) -> npt.NDArray[np.intp]:
    """Choose distinct rows as first centres, far from each other.

    Greedy k-means++ (Arthur and Vassilvitskii 2007, section 5): of ``2 + int(log n_clusters)``
    candidates, drawn with probability proportional to the weight times the squared distance to the
    closest centre, the one that lowers the sum of those most is taken. Draws invert the cumulative
    sums, so that a row of integer weight w is drawn where w copies of it would be.

    Parameters
    ----------
    runner : RowRunner
    n_clusters : int
    random_state : numpy.random.RandomState
    init_size : int, 'all' or None, optional
        Of the sample that they are chosen from, see :func:`vbfast.inference.subsample.subsample`.
    monitor : Monitor, optional
        Told of every centre.

    Returns
    -------
    rows : ndarray of shape (n_clusters,), intp

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    ValueError
        If fewer than ``n_clusters`` rows have positive weight.
    """
    check_enough_rows(runner, n_clusters)
    drawn = subsample(runner, n_clusters, init_size, random_state)
    if drawn is None:
        every = _for_many_passes(runner, init_size)
        return _seed(every, n_clusters, random_state, monitor)[0]
    sample, rows = drawn
    with named_among_all(runner):
        return rows[_seed(sample, n_clusters, random_state, monitor)[0]]


def _seed(
    runner: RowRunner,
    n_clusters: int,
    random_state: np.random.RandomState,
    monitor: Monitor,
) -> tuple[npt.NDArray[np.intp], float]:
    """Return what :func:`seed_rows` does, and the least distance between two that differ.

    Zero if all coincide.
    """
    sample_weight, _ = of_unit_scale(runner.sample_weight)
    runner = runner.weighted(sample_weight)
    n_trials = 2 + int(np.log(n_clusters))
    quantiles = random_state.uniform(size=1 + (n_clusters - 1) * n_trials)
    if monitor.silent and runner.n_samples <= SUMMED_ROWS:
        seeds = seed_ahead(runner, n_clusters, n_trials=n_trials, quantiles=quantiles)
        if seeds is not None:
            return seeds[0], _distance(seeds[1])
    separation = np.inf  # squared
    rows = np.empty(n_clusters, dtype=np.intp)
    weights = np.ones(runner.n_samples) if sample_weight is None else sample_weight
    rows[0] = draw_rows(weights, quantiles[:1])[0]
    kept_all = n_trials * runner.n_samples * runner.dtype.itemsize <= KEPT_BYTES
    lowered = np.empty((n_trials if kept_all else 1, runner.n_samples), dtype=runner.dtype)

    def lower(centre: Float64Array) -> float:
        potential = runner.seed(centre, closest, lowered=lowered[:1])
        closest[:] = lowered[0]
        return float(potential[0])

    monitor.start_progressed(f"k-means++ centre 1 of {n_clusters}")
    closest = np.full(runner.n_samples, np.inf, dtype=runner.dtype)
    potential = lower(runner.gather(rows[:1])) if n_clusters > 1 else 0.0
    for chosen in range(1, n_clusters):
        monitor.start_progressed(f"k-means++ centre {chosen + 1} of {n_clusters}")
        drawn = quantiles[1 + (chosen - 1) * n_trials :][:n_trials]
        if 0 < potential < np.inf:
            mass = closest if sample_weight is None else closest * sample_weight
            trials = draw_rows(mass, drawn)
        else:  # every row coincides with a centre, or squared distances overflow
            unused = weights.copy()
            unused[rows[:chosen]] = 0
            trials = draw_rows(unused, drawn)
        candidates = runner.gather(trials)
        left = runner.seed(candidates, closest, lowered=lowered if kept_all else None)
        best = int(np.argmin(left))
        rows[chosen] = trials[best]
        if closest[rows[chosen]] > 0:
            separation = min(separation, float(closest[rows[chosen]]))
        if kept_all:
            closest[:] = lowered[best]
            potential = float(left[best])
        elif chosen + 1 < n_clusters:
            potential = lower(candidates[best : best + 1])
    return rows, _distance(separation)


def _distance(squared: float) -> float:
    """Return the distance of a finite square, and zero of an infinite one."""
    return math.sqrt(squared) if squared < math.inf else 0.0


def draw_rows(mass: FloatArray, quantiles: Float64Array) -> npt.NDArray[np.intp]:
    """Return the rows at which the cumulative mass first exceeds given parts of its total.

    Parameters
    ----------
    mass : ndarray of shape (n_samples,)
        Non-negative, with a positive and finite sum.
    quantiles : ndarray of shape (n_draws,)
        In [0, 1).

    Returns
    -------
    rows : ndarray of shape (n_draws,), intp
        Rows of positive mass.
    """
    if len(mass) <= SUMMED_ROWS:
        cumulative = np.cumsum(mass, dtype=np.float64)
        return np.asarray(reached(cumulative, quantiles * cumulative[-1]))
    starts = np.arange(0, len(mass), DRAW_BLOCK_ROWS)
    ends = np.cumsum(np.add.reduceat(mass, starts, dtype=np.float64))
    targets = quantiles * ends[-1]
    blocks = reached(ends, targets)
    rows = np.empty(len(quantiles), dtype=np.intp)
    for draw, block in enumerate(blocks.tolist()):
        before = ends[block - 1] if block > 0 else 0.0
        start = block * DRAW_BLOCK_ROWS
        within = np.cumsum(mass[start : start + DRAW_BLOCK_ROWS], dtype=np.float64)
        rows[draw] = start + reached(within, targets[draw] - before)
    return rows


def reached(cumulative: Float64Array, targets: Any) -> Any:
    """Return where cumulative masses first exceed the targets, one or several.

    A target that only rounding puts beyond the end belongs to the last position of positive mass.
    """
    last = np.searchsorted(cumulative, cumulative[-1])
    return np.minimum(np.searchsorted(cumulative, targets, side="right"), last)


@np.errstate(over="ignore", invalid="ignore")
def lloyd(
    runner: RowRunner,
    centres: Float64Array,
    *,
    tolerance: float,
    unit: float | None = None,
    max_iterations: int = MAX_ITERATIONS,
    bounds: Any = None,
    monitor: Monitor = SILENT,
) -> Float64Array:
    """Move centres to the means of the rows closest to them until they rest (Lloyd 1982).

    A centre without rows goes to the row farthest from its own centre, as in scikit-learn; where
    every row is at a centre already, it stays where it is.

    Parameters
    ----------
    runner : RowRunner
    centres : ndarray of shape (n_clusters, n_features), float64
        The start.
    tolerance : float
        Converged once the squared shifts of all centres sum to no more.
    unit : float, optional
        See :func:`vbfast.passes.distances.squared_distances`.
    max_iterations : int, optional
    bounds : object, optional
        What ``runner.nearest_bounds()`` returned: passes after this one find there what this one
        knows of the rows. By default new ones. Results are the same, to the bit.
    monitor : Monitor, optional
        Told of every iteration.

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features), float64

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    request = Request("hard", "first")
    bounds = runner.nearest_bounds() if bounds is None else bounds
    iteration = 0
    ahead = unit is not None and monitor.silent
    while iteration < max_iterations:
        if ahead:
            moved = move_ahead(
                runner,
                centres,
                unit=unit,
                tolerance=tolerance,
                max_iterations=max_iterations - iteration,
                bounds=bounds,
            )
            ahead = moved is not None
            if moved is not None:
                centres, iteration = moved.centres, iteration + moved.n_iterations
                if moved.rested:
                    break
                if not moved.left:
                    continue
        iteration += 1
        monitor.start_progressed(f"k-means iteration {iteration} of at most {max_iterations}")
        distances = squared_distances(centres, unit)
        result = runner.run(distances, request, bounds=bounds)
        assert result.statistics is not None
        weight = result.statistics.weight[:, np.newaxis]
        shift = np.divide(
            result.statistics.first, weight, out=np.zeros_like(centres), where=weight > 0
        )
        if not result.statistics.weight.all():
            empty = np.flatnonzero(result.statistics.weight == 0)
            far = _farthest_rows(runner, distances, len(empty), bounds)
            shift[empty[: len(far)]] = far - centres[empty[: len(far)]]
        centres = centres + shift
        # NaN, where squared distances overflow, does not converge to anything.
        if not float(np.square(shift).sum()) > tolerance:
            break
    return centres


def _farthest_rows(
    runner: RowRunner, distances: LogJoint, n_rows: int, bounds: Any
) -> Float64Array:
    """Return the weighted rows farthest from their centres, farthest first; none at a centre."""
    minus_half_square = np.empty(runner.n_samples, dtype=runner.dtype)
    outputs = RowOutputs(expected_log_joint=minus_half_square)
    runner.run(distances, Request("hard"), outputs=outputs, bounds=bounds)
    if runner.sample_weight is not None:
        minus_half_square[runner.sample_weight == 0] = 0
    n_rows = min(n_rows, runner.n_samples)
    candidates = np.argpartition(minus_half_square, n_rows - 1)[:n_rows]
    order = candidates[np.lexsort((candidates, minus_half_square[candidates]))]
    away = order[minus_half_square[order] < 0]
    return runner.gather(away)
