"""What the squares of a few rows are added to: sums of squares of others.

A component has few rows in a batch, perhaps one, about whose mean there is nothing else. Second
moments of the batch may lose digits then that do not matter beside the squares of all rows.
"""

from __future__ import annotations

import numpy as np

from vbfast.contract import Float64Array, Statistics

__all__ = ["sums_of_squares"]


def sums_of_squares(statistics: Statistics) -> Float64Array:
    """Return sums of squares about the means.

    Parameters
    ----------
    statistics : Statistics
        With second moments.

    Returns
    -------
    ndarray
        Broadcasts as what :attr:`vbfast.families.family.Objective.scatter_floor` returns.
    """
    mass = statistics.mass[:, np.newaxis]
    subtracted = np.divide(
        np.square(statistics.first), mass, out=np.zeros_like(statistics.first), where=mass > 0.0
    )
    second = statistics.second
    assert second is not None
    if statistics.moments == "full":
        second = second.diagonal(axis1=1, axis2=2)
    elif statistics.moments == "pooled":
        second, subtracted = second.diagonal(), subtracted.sum(axis=0, keepdims=True)
    elif statistics.moments == "spherical":
        second, subtracted = second[:, np.newaxis], subtracted.mean(axis=1, keepdims=True)
    return np.maximum(second - subtracted, 0.0)
