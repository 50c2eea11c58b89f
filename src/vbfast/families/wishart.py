"""Normalisers of Wishart densities."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from vbfast.contract import Float64Array

__all__ = ["half_degrees", "log_wishart_normaliser"]


def log_wishart_normaliser(
    log_det_scale: Float64Array, degrees_of_freedom: Float64Array, n_features: int
) -> Float64Array:
    """``log B(W, nu)`` of a Wishart density (Bishop 2006, eq. B.79) without its power of pi.

    That power is the same for prior and posterior, of which only ratios occur.

    Parameters
    ----------
    log_det_scale : ndarray
        ``log det W``.
    degrees_of_freedom : ndarray of the same shape
        ``nu``.
    n_features : int

    Returns
    -------
    ndarray of the same shape, nats
    """
    gammas = gammaln(half_degrees(degrees_of_freedom, n_features)).sum(axis=-1)
    scale = 0.5 * degrees_of_freedom * (log_det_scale + n_features * math.log(2.0))
    return np.asarray(-scale - gammas)


def half_degrees(degrees_of_freedom: Float64Array, n_features: int) -> Float64Array:
    """Return ``(nu - i) / 2`` for i from 0 to D - 1, along a new last axis."""
    return np.asarray(0.5 * (degrees_of_freedom[..., np.newaxis] - np.arange(float(n_features))))
