"""k-means on the engine's passes: greedy k-means++ seeding and Lloyd's iterations.

Outside of the passes there is work on one number a row at most. Seeding makes a pass a centre (two
where the distances to all candidates would take much memory) and Lloyd's algorithm one an
iteration, so rows that are read from disk are read that often.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.engine.contract import Float64Array, FloatArray, KernelParams, Request, RowOutputs
from vbfast.engine.engine import run_pass, run_seeding
from vbfast.engine.rows import RowSource
from vbfast.engine.weights import n_weighted_rows, of_unit_scale
from vbfast.inference.column_moments import column_moments
from vbfast.inference.monitor import SILENT, Monitor

__all__ = ["distance_params", "kmeans", "lloyd", "seed_rows"]

# The part of the centres' extent that is the unit of length where all digits are wanted.
RESOLUTION = 2.0**-30

# How many times the distance between the closest seeds is the unit for finding closest centres:
# their boundary is where it should be to 1e-4 of that in float32.
SEPARATIONS = 16.0

# scikit-learn's defaults for KMeans.
RELATIVE_TOLERANCE = 1e-4
MAX_ITERATIONS = 300

# Rows whose masses are summed at once when cumulative masses are inverted.
DRAW_BLOCK_ROWS = 1024

# Up to here the distances of all rows to all candidates for a centre are kept, which saves a pass.
KEPT_BYTES = 64 << 20


def distance_params(centres: Float64Array, unit: float | None = None) -> KernelParams:
    """Return parameters whose log-joint is ``-1/2 ||x_n - c_k||^2 / unit^2``.

    Passes keep the digits of rows that are within some units of a centre, wherever the others are.

    Parameters
    ----------
    centres : ndarray of shape (n_clusters, n_features), float64
    unit : float, optional
        Positive. By default so small a part of the centres' extent that rows keep all digits that
        their distances to their centres have.
    """
    n_centres = len(centres)
    if unit is None:
        with np.errstate(over="ignore"):
            unit = RESOLUTION * float(np.ptp(centres, axis=0).max())
    # Nothing to go by where centres coincide, or are too close or too far apart for a square.
    precision = 1.0 / unit if 1e-150 < unit < 1e150 else 1.0
    return KernelParams("spherical", np.zeros(n_centres), centres, np.full(n_centres, precision))


def kmeans(
    source: RowSource,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    sample_weight: Float64Array | None = None,
    monitor: Monitor = SILENT,
    workspace: Any = None,
) -> Float64Array:
    """Cluster the rows: k-means++ seeding, then Lloyd's algorithm to scikit-learn's tolerance.

    Parameters
    ----------
    source : RowSource
    n_clusters : int
    random_state : numpy.random.RandomState
    sample_weight : ndarray of shape (n_samples,), float64, optional
    monitor : Monitor, optional
        Told of every centre and iteration.
    workspace : object, optional
        From :func:`vbfast.engine.engine.new_workspace`.

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
    >>> from vbfast.engine.rows import as_row_source
    >>> from vbfast.inference.kmeans import kmeans
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> np.sort(kmeans(as_row_source(X), 2, np.random.RandomState(0)), axis=0)
    array([[ 0.5],
           [10.5]])
    """
    _, variance = column_moments(source, sample_weight=sample_weight, workspace=workspace)
    rows, separation = _seed(source, n_clusters, random_state, sample_weight, monitor)
    return lloyd(
        source,
        source.take(rows).astype(np.float64),
        tolerance=RELATIVE_TOLERANCE * float(variance.mean()),
        unit=SEPARATIONS * separation if separation > 0.0 else None,
        sample_weight=sample_weight,
        monitor=monitor,
        workspace=workspace,
    )


def seed_rows(
    source: RowSource,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    sample_weight: Float64Array | None = None,
    monitor: Monitor = SILENT,
) -> npt.NDArray[np.intp]:
    """Choose distinct rows as first centres, far from each other.

    Greedy k-means++ (Arthur and Vassilvitskii 2007, section 5): of ``2 + int(log n_clusters)``
    candidates, drawn with probability proportional to the weight times the squared distance to the
    closest centre, the one that lowers the sum of those most is taken. Draws invert the cumulative
    sums, so that a row of integer weight w is drawn where w copies of it would be.

    Parameters
    ----------
    source : RowSource
    n_clusters : int
    random_state : numpy.random.RandomState
    sample_weight : ndarray of shape (n_samples,), float64, optional
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
    return _seed(source, n_clusters, random_state, sample_weight, monitor)[0]


def _seed(
    source: RowSource,
    n_clusters: int,
    random_state: np.random.RandomState,
    sample_weight: Float64Array | None,
    monitor: Monitor,
) -> tuple[npt.NDArray[np.intp], float]:
    """Return what :func:`seed_rows` does, and the least distance between two that differ.

    Zero if all coincide.
    """
    n_candidates = n_weighted_rows(sample_weight, source.n_samples)
    if n_candidates < n_clusters:
        raise ValueError(
            f"{n_clusters} components need as many rows of positive weight; got {n_candidates}"
        )
    sample_weight, _ = of_unit_scale(sample_weight)
    n_trials = 2 + int(np.log(n_clusters))
    separation = np.inf  # squared
    rows = np.empty(n_clusters, dtype=np.intp)
    weights = np.ones(source.n_samples) if sample_weight is None else sample_weight
    rows[0] = draw_rows(weights, random_state.uniform(size=1))[0]
    kept_all = n_trials * source.n_samples * source.dtype.itemsize <= KEPT_BYTES
    lowered = np.empty((n_trials if kept_all else 1, source.n_samples), dtype=source.dtype)

    def lower(centre: Float64Array) -> float:
        potential = run_seeding(
            source, centre, closest, sample_weight=sample_weight, lowered=lowered[:1]
        )
        closest[:] = lowered[0]
        return float(potential[0])

    monitor.start_progressed(f"k-means++ centre 1 of {n_clusters}")
    closest = np.full(source.n_samples, np.inf, dtype=source.dtype)
    potential = lower(source.take(rows[:1]).astype(np.float64)) if n_clusters > 1 else 0.0
    for chosen in range(1, n_clusters):
        monitor.start_progressed(f"k-means++ centre {chosen + 1} of {n_clusters}")
        quantiles = random_state.uniform(size=n_trials)
        if 0 < potential < np.inf:
            mass = closest if sample_weight is None else closest * sample_weight
            trials = draw_rows(mass, quantiles)
        else:  # every row coincides with a centre, or squared distances overflow
            unused = weights.copy()
            unused[rows[:chosen]] = 0
            trials = draw_rows(unused, quantiles)
        candidates = source.take(trials).astype(np.float64)
        left = run_seeding(
            source,
            candidates,
            closest,
            sample_weight=sample_weight,
            lowered=lowered if kept_all else None,
        )
        best = int(np.argmin(left))
        rows[chosen] = trials[best]
        if closest[rows[chosen]] > 0:
            separation = min(separation, float(closest[rows[chosen]]))
        if kept_all:
            closest[:] = lowered[best]
            potential = float(left[best])
        elif chosen + 1 < n_clusters:
            potential = lower(candidates[best : best + 1])
    return rows, float(np.sqrt(separation)) if separation < np.inf else 0.0


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
    if len(mass) <= 16 * DRAW_BLOCK_ROWS:
        cumulative = np.cumsum(mass, dtype=np.float64)
        return np.asarray(_reached(cumulative, quantiles * cumulative[-1]))
    starts = np.arange(0, len(mass), DRAW_BLOCK_ROWS)
    reached = np.cumsum(np.add.reduceat(mass, starts, dtype=np.float64))
    targets = quantiles * reached[-1]
    blocks = _reached(reached, targets)
    rows = np.empty(len(quantiles), dtype=np.intp)
    for draw, block in enumerate(blocks.tolist()):
        before = reached[block - 1] if block > 0 else 0.0
        start = block * DRAW_BLOCK_ROWS
        within = np.cumsum(mass[start : start + DRAW_BLOCK_ROWS], dtype=np.float64)
        rows[draw] = start + _reached(within, targets[draw] - before)
    return rows


def _reached(cumulative: Float64Array, targets: Any) -> Any:
    """Return where cumulative masses first exceed the targets.

    A target that only rounding puts beyond the end belongs to the last position of positive mass.
    """
    last = np.searchsorted(cumulative, cumulative[-1])
    return np.minimum(np.searchsorted(cumulative, targets, side="right"), last)


@np.errstate(over="ignore", invalid="ignore")
def lloyd(
    source: RowSource,
    centres: Float64Array,
    *,
    tolerance: float,
    unit: float | None = None,
    sample_weight: Float64Array | None = None,
    monitor: Monitor = SILENT,
    workspace: Any = None,
) -> Float64Array:
    """Move centres to the means of the rows closest to them until they rest (Lloyd 1982).

    A centre without rows goes to the row farthest from its own centre, as in scikit-learn; where
    every row is at a centre already, it stays where it is.

    Parameters
    ----------
    source : RowSource
    centres : ndarray of shape (n_clusters, n_features), float64
        The start.
    tolerance : float
        Converged once the squared shifts of all centres sum to no more.
    unit : float, optional
        See :func:`distance_params`.
    sample_weight : ndarray of shape (n_samples,), float64, optional
    monitor : Monitor, optional
        Told of every iteration.
    workspace : object, optional
        From :func:`vbfast.engine.engine.new_workspace`.

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features), float64

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    request = Request("hard", "means")
    for iteration in range(1, MAX_ITERATIONS + 1):
        monitor.start_progressed(f"k-means iteration {iteration} of at most {MAX_ITERATIONS}")
        params = distance_params(centres, unit)
        result = run_pass(
            source,
            params,
            request,
            sample_weight=sample_weight,
            workspace=workspace,
        )
        assert result.statistics is not None
        weight = result.statistics.weight[:, np.newaxis]
        shift = np.divide(
            result.statistics.first, weight, out=np.zeros_like(centres), where=weight > 0
        )
        empty = np.flatnonzero(result.statistics.weight == 0)
        if len(empty) > 0:
            far = _farthest_rows(source, params, len(empty), sample_weight, workspace)
            shift[empty[: len(far)]] = far - centres[empty[: len(far)]]
        centres = centres + shift
        # NaN, where squared distances overflow, does not converge to anything.
        if not float(np.square(shift).sum()) > tolerance:
            break
    return centres


def _farthest_rows(
    source: RowSource,
    params: KernelParams,
    n_rows: int,
    sample_weight: Float64Array | None,
    workspace: Any,
) -> Float64Array:
    """Return the weighted rows farthest from their centres, farthest first; none at a centre."""
    minus_half_square = np.empty(source.n_samples, dtype=source.dtype)
    run_pass(
        source,
        params,
        Request("hard"),
        outputs=RowOutputs(expected_log_joint=minus_half_square),
        workspace=workspace,
    )
    if sample_weight is not None:
        minus_half_square[sample_weight == 0] = 0
    n_rows = min(n_rows, source.n_samples)
    candidates = np.argpartition(minus_half_square, n_rows - 1)[:n_rows]
    order = candidates[np.lexsort((candidates, minus_half_square[candidates]))]
    away = order[minus_half_square[order] < 0]
    return source.take(away).astype(np.float64)
