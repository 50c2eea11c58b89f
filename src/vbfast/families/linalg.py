"""Covariance and precision matrices and their triangular factors, in plain NumPy."""

from __future__ import annotations

import numpy as np

from vbfast.contract import Float64Array, FloatArray, NotPositiveDefiniteError

__all__ = ["gram", "log_det_cholesky", "positive_definite", "upper_cholesky"]


def upper_cholesky(matrices: Float64Array) -> Float64Array:
    """Upper triangular ``U`` with ``U @ U.T`` the given matrices.

    This is the precision Cholesky factor of a precision: it runs from the last row upwards, where
    the usual factor runs from the first row down. Vectorised over the matrices, one column at a
    time, in an order of summation that nothing changes.

    Parameters
    ----------
    matrices : ndarray of shape (n_components, n_features, n_features), float64
        Symmetric.

    Returns
    -------
    ndarray of shape (n_components, n_features, n_features), float64

    Raises
    ------
    NotPositiveDefiniteError
        If a matrix is not positive definite, or not finite.
    """
    upper = np.zeros_like(matrices, order="C")
    for j in reversed(range(matrices.shape[-1])):
        done = upper[:, : j + 1, j + 1 :]
        column = matrices[:, : j + 1, j] - np.einsum("kil,kl->ki", done, upper[:, j, j + 1 :])
        pivot = column[:, j]
        if not np.all(pivot > 0.0):
            raise NotPositiveDefiniteError(int(np.argmin(pivot > 0.0)))
        upper[:, : j + 1, j] = column / np.sqrt(pivot)[:, np.newaxis]
    return upper


def gram(factors: Float64Array) -> Float64Array:
    """Products ``A @ A.T`` of square matrices.

    Parameters
    ----------
    factors : ndarray of shape (..., n_features, n_features), float64

    Returns
    -------
    ndarray of shape (..., n_features, n_features), float64
    """
    return np.asarray(factors @ factors.swapaxes(-1, -2))


def log_det_cholesky(factors: Float64Array) -> Float64Array:
    """Log-determinants of triangular matrices with a positive diagonal, in nats.

    Parameters
    ----------
    factors : ndarray of shape (..., n_features, n_features), float64

    Returns
    -------
    ndarray of shape (...), float64
    """
    diagonals = factors.diagonal(axis1=-2, axis2=-1)
    return np.asarray(np.add.reduce(np.log(diagonals), axis=-1))


def positive_definite(matrices: FloatArray) -> bool:
    """Return whether matrices are symmetric to rounding and positive definite.

    Parameters
    ----------
    matrices : ndarray of shape (..., n_features, n_features)
        Finite.

    Returns
    -------
    bool
    """
    symmetric = np.isclose(matrices, matrices.swapaxes(-1, -2)).all()
    return bool(symmetric and (np.linalg.eigvalsh(matrices) > 0.0).all())
