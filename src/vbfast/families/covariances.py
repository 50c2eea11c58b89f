"""The four covariance types: shapes, factors, and second moments about other points.

What is shaped by the type has shape (K, D, D) for 'full', (D, D) for 'tied' (summed or shared over
the components), (K, D) for 'diag' and (K,) for 'spherical' (the mean over the features).
"""

from __future__ import annotations

import numpy as np

from vbfast.config.settings import current_linalg
from vbfast.contract import (
    MOMENTS_OF,
    CovarianceType,
    Float64Array,
    LinearAlgebra,
    Moments,
    NotPositiveDefiniteError,
)
from vbfast.families.linalg import gram, log_det_cholesky

__all__ = [
    "COVARIANCE_TYPE_OF",
    "MOMENTS_OF",
    "add_to_diagonal",
    "covariances_of",
    "log_det_factor",
    "matrix_product",
    "precision_factor",
    "precisions_of",
    "scatter_floor",
    "trace_of_product",
]

COVARIANCE_TYPE_OF: dict[Moments, CovarianceType] = {m: c for c, m in MOMENTS_OF.items()}

# How matrices that are shaped by the type are multiplied.
_PRODUCT = {"full": np.matmul, "tied": np.matmul, "diag": np.multiply, "spherical": np.multiply}


def precision_factor(
    covariance_type: CovarianceType,
    covariances: Float64Array,
    linalg: LinearAlgebra | None = None,
) -> Float64Array:
    """Upper triangular ``P`` with ``P @ P.T`` the inverse covariance, or inverse deviations.

    Computed with ``linalg``, by default that of the backend in use.

    Raises
    ------
    NotPositiveDefiniteError
        If a covariance is not positive definite, or not finite.
    """
    if covariance_type in ("full", "tied"):
        stack = covariances.reshape(-1, *covariances.shape[-2:])
        factors = (linalg or current_linalg()).precision_cholesky(stack)
        return factors.reshape(covariances.shape)
    valid = (covariances > 0.0) & (covariances < np.inf)
    if not valid.all():
        component = int(np.argwhere(~valid)[0, 0])
        raise NotPositiveDefiniteError(component)
    return np.asarray(1.0 / np.sqrt(covariances))


def precisions_of(
    covariance_type: CovarianceType,
    factor: Float64Array,
    linalg: LinearAlgebra | None = None,
) -> Float64Array:
    """Return the precisions of given precision factors.

    Computed with ``linalg``, by default that of the backend in use.
    """
    if covariance_type in ("full", "tied"):
        stack = factor.reshape(-1, *factor.shape[-2:])
        return (linalg or current_linalg()).precisions(stack).reshape(factor.shape)
    return np.asarray(np.square(factor))


def covariances_of(
    covariance_type: CovarianceType,
    factor: Float64Array,
    linalg: LinearAlgebra | None = None,
) -> Float64Array:
    """Return the covariances of given precision factors.

    Computed with ``linalg``, by default that of the backend in use.

    Raises
    ------
    NotPositiveDefiniteError
        If a precision has lost its rank to rounding.
    """
    if covariance_type in ("full", "tied"):
        # With P the factor of a precision, the factor of that precision's inverse is P^-T.
        stack = gram(factor).reshape(-1, *factor.shape[-2:])
        return gram(precision_factor("full", stack, linalg)).reshape(factor.shape)
    return np.asarray(1.0 / np.square(factor))


def matrix_product(
    covariance_type: CovarianceType, left: Float64Array, right: Float64Array
) -> Float64Array:
    """Return the matrix products ``L R``."""
    return np.asarray(_PRODUCT[covariance_type](left, right))


def trace_of_product(
    covariance_type: CovarianceType, left: Float64Array, right: Float64Array, n_features: int
) -> Float64Array:
    """Return ``tr(L R^T)``, the sum of products of entries: shape (K,), for 'tied' ()."""
    return _sum_of_entries(covariance_type, left * right, n_features)


def log_det_factor(
    covariance_type: CovarianceType, factor: Float64Array, n_features: int
) -> Float64Array:
    """Log-determinants of precision factors, nats: shape (K,), for 'tied' ()."""
    if covariance_type in ("full", "tied"):
        return log_det_cholesky(factor)
    return _sum_of_entries(covariance_type, np.log(factor), n_features)


def _sum_of_entries(
    covariance_type: CovarianceType, values: Float64Array, n_features: int
) -> Float64Array:
    if covariance_type in ("full", "tied"):
        values = values.reshape(*values.shape[:-2], -1)
    sums = values if covariance_type == "spherical" else values.sum(axis=-1)
    return np.asarray(n_features * sums if covariance_type == "spherical" else sums)


def scatter_floor(
    covariance_type: CovarianceType,
    counts: Float64Array,
    reg_covar: float,
    covariance: Float64Array | None = None,
) -> Float64Array:
    """Return what a global step adds to the sums of squares of every feature.

    That is ``reg_covar`` for every row, of which a component has ``counts``, and a covariance,
    given by its diagonal or whole, for every component.

    Returns
    -------
    ndarray
        Broadcasts against (n_components, n_features); for 'tied' against (1, n_features), the sum
        over the components.
    """
    floor = reg_covar * counts[:, np.newaxis]
    if covariance is not None:
        floor = floor + (covariance.diagonal() if covariance.ndim == 2 else covariance)
    return np.asarray(floor.sum(axis=0, keepdims=True) if covariance_type == "tied" else floor)


def add_to_diagonal(
    covariance_type: CovarianceType, covariances: Float64Array, value: float
) -> None:
    """Add ``value`` to diagonals in place.

    Matrices have to be in C order.
    """
    if covariance_type in ("full", "tied"):
        assert covariances.flags.c_contiguous
        D = covariances.shape[-1]
        covariances.reshape(-1, D * D)[:, :: D + 1] += value
    else:
        covariances += value
