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

from vbfast.contract import (
    MOMENTS_OF,
    NEAR_LIMIT,
    CovarianceType,
    Float64Array,
    LinearAlgebra,
    Moments,
    Quadratic,
    Statistics,
)

__all__ = ["TOLERATED", "reach_of_middle", "second_moments_cancel", "way_to_the_means"]

# The part of a variance that cancellation may cost, in epsilons.
TOLERATED = {
    np.dtype(np.float64): 1e-9 / float(np.finfo(np.float64).eps),
    np.dtype(np.float32): 1e-3 / float(np.finfo(np.float32).eps),
}
# The covariance type whose shape second moments have.
SHAPED_AS: dict[Moments, CovarianceType] = {m: c for c, m in MOMENTS_OF.items()}


def way_to_the_means(statistics: Statistics) -> Float64Array:
    """Return the rows' means less the centres, shape (n_components, n_features).

    Zero for a component without rows.
    """
    weight = statistics.weight[:, np.newaxis]
    return np.divide(
        statistics.first, weight, out=np.zeros_like(statistics.first), where=weight > 0
    )


def second_moments_cancel(
    form: Quadratic,
    offset: Float64Array,
    statistics: Statistics,
    dtype: np.dtype[Any],
    floor: Float64Array,
    linalg: LinearAlgebra,
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
    linalg : LinearAlgebra
    """
    assert statistics.second is not None
    return linalg.second_moments_cancel(
        form.factor_type,
        offset,
        form.centres,
        form.precision_cholesky,
        SHAPED_AS[statistics.moments],
        statistics.weight,
        statistics.first,
        statistics.second,
        floor,
        tolerated=TOLERATED[dtype],
        reach=reach_of_middle(dtype),
    )


def reach_of_middle(dtype: np.dtype[Any]) -> float:
    """Return the largest squared distance at which moments may be about the components' middle.

    In standard deviations. That middle is not the same for all backends.
    """
    return 4.0 * NEAR_LIMIT[dtype]
