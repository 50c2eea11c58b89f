"""Squared distances as a log-joint, for passes that cluster or take moments about given points."""

from __future__ import annotations

import numpy as np

from vbfast.contract import Float64Array, LogJoint

__all__ = ["precision_of_unit", "squared_distances"]

# The part of the centres' extent that is the unit of length where all digits are wanted.
RESOLUTION = 2.0**-30


def squared_distances(centres: Float64Array, unit: float | None = None) -> LogJoint:
    """Return the log-joint ``-1/2 ||x_n - c_k||^2 / unit^2``.

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
    precision = precision_of_unit(unit)
    return LogJoint.quadratic(
        "spherical", np.zeros(n_centres), centres, np.full(n_centres, precision)
    )


def precision_of_unit(unit: float) -> float:
    """Return the root of the precision that distances in such units have.

    One where there is nothing to go by, as centres coincide, or are too close or too far apart for
    a square.
    """
    return 1.0 / unit if 1e-150 < unit < 1e150 else 1.0
