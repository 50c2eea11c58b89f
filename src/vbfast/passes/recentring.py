"""When second moments have to be taken again, about the new means.

A pass takes moments about the means that it is given. Where a component then moves by many of its
standard deviations, as from a start far from the rows, moving its second moments along subtracts
``N s s^T`` from a number hardly larger, and what rounding left of it is no covariance. One more
pass with the same responsibilities, about the means that the first one led to, has nothing to
subtract. So it is with a component that collapses onto a few rows: for what was its variance, a
pass may have taken its moments about a point some deviations off.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.contract import NEAR_LIMIT, Float64Array, Moments, Quadratic, Statistics

__all__ = ["second_moments_cancel", "way_to_the_means"]

# The part of a variance that cancellation may cost.
LOSS = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-3}


def way_to_the_means(statistics: Statistics) -> Float64Array:
    """Return the rows' means less the centres, shape (n_components, n_features).

    Zero for a component without rows.
    """
    weight = statistics.weight[:, np.newaxis]
    return np.divide(
        statistics.first, weight, out=np.zeros_like(statistics.first), where=weight > 0
    )


@np.errstate(over="ignore", invalid="ignore")
def second_moments_cancel(
    form: Quadratic,
    offset: Float64Array,
    statistics: Statistics,
    dtype: np.dtype[Any],
    floor: Float64Array,
) -> bool:
    """Return whether moments about the new means would lose too many digits.

    Parameters
    ----------
    form : Quadratic
    offset : ndarray of shape (n_components,)
        Of the log-joint that the pass was run with.
    statistics : Statistics
        What the pass returned, with second moments.
    dtype : float32 or float64
        Of the computation.
    floor : ndarray
        What will be added to the sums of squares, so that smaller errors do not matter: see
        :func:`vbfast.families.covariances.scatter_floor`.
    """
    second = statistics.second
    assert second is not None
    kind, weight = statistics.moments, statistics.weight[:, np.newaxis]
    step = way_to_the_means(statistics)
    tolerated = LOSS[dtype] / float(np.finfo(dtype).eps)
    along = 2.0 * (statistics.first - 0.5 * weight * step) * step
    if kind in ("full", "pooled"):
        second = np.diagonal(second, axis1=-2, axis2=-1)
    elif kind == "spherical":
        second = second[:, np.newaxis]
    kept = tolerated * (second - _of_one_variance(kind, along) + floor)

    def cancel(squared_reach: Float64Array) -> bool:
        subtracted = weight * (np.square(step) + squared_reach)
        return bool((_of_one_variance(kind, subtracted) > kept).any())

    # No reach is longer than the way between the outermost means, which is known sooner.
    return cancel(np.square(np.ptp(form.centres, axis=0))) and cancel(
        _squared_reach(form, offset, dtype)
    )


def _of_one_variance(kind: Moments, values: Float64Array) -> Float64Array:
    """Return the mean or sum over what shares a variance, with that axis kept."""
    if kind == "spherical":
        return np.asarray(values.mean(axis=1, keepdims=True))
    return np.asarray(values.sum(axis=0, keepdims=True)) if kind == "pooled" else values


def _squared_reach(form: Quadratic, offset: Float64Array, dtype: np.dtype[Any]) -> Float64Array:
    """Return how far, squared, points may be from the means that a pass took moments about.

    That point is in the middle of the components, and means that are farther from it than
    :data:`~vbfast.contract.NEAR_LIMIT` says have moments about themselves.
    """
    possible = np.isfinite(offset)
    if not possible.any():
        return np.zeros_like(form.centres)
    squared = np.square(form.centres - np.median(form.centres[possible], axis=0))
    P = form.precision_cholesky
    if form.factor_type in ("full", "tied"):
        steepest = np.square(P).sum(axis=-2).max(axis=-1)
        distance = squared.sum(axis=1) * steepest
    else:
        distance = (squared * np.square(P.reshape(len(P), -1))).max(axis=1)
    near = distance <= 4.0 * NEAR_LIMIT[dtype]  # the middle is not the same for all backends
    return np.where(near[:, np.newaxis], squared, 0.0)
