"""Starting parameters that a user gives, checked in scikit-learn's words."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from vbfast.contract import CovarianceType, Float64Array, covariance_shape
from vbfast.families.linalg import positive_definite
from vbfast.inputs.distributions import sum_tolerance
from vbfast.inputs.numbers import as_array, as_numbers

__all__ = ["check_covariance_matrices", "check_given_start", "check_means"]

_DTYPES = [np.float64, np.float32]


def check_given_start(
    weights: Any,
    means: Any,
    precisions: Any,
    *,
    covariance_type: CovarianceType,
    n_components: int,
    n_features: int,
) -> tuple[Float64Array | None, Float64Array | None, Float64Array | None]:
    """Check ``weights_init``, ``means_init`` and ``precisions_init``; each may be ``None``.

    Parameters
    ----------
    weights : array-like of shape (n_components,) or None
        Non-negative, summing to one within 1e-6 (float64) or 1e-3 (float32); renormalised.
    means : array-like of shape (n_components, n_features) or None
    precisions : array-like or None
        Shaped by the covariance type, positive definite.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_components, n_features : int

    Returns
    -------
    weights, means, precisions : ndarray of float64 or None
        Those that are given.

    Raises
    ------
    ValueError
        If a shape is wrong, the weights are no distribution, or a precision is not symmetric and
        positive definite.
    """
    if weights is not None:
        weights = _check_weights(weights, n_components)
    if means is not None:
        means = check_means(means, (n_components, n_features), "means_init")
    if precisions is not None:
        precisions = check_covariance_matrices(
            precisions,
            covariance_type,
            covariance_shape(covariance_type, n_components, n_features),
            "precision",
            "precisions_init",
        )
    return weights, means, precisions


def _check_array(values: Any, shape: tuple[int, ...], name: str, argument: str) -> Any:
    """Check that finite numbers have a shape; ``name`` is scikit-learn's for what they are."""
    array = as_array(values, argument)
    array = check_array(
        array if array.dtype.kind == "c" else as_numbers(array, argument),
        dtype=_DTYPES,
        ensure_2d=False,
        allow_nd=True,
        ensure_min_samples=0,  # the shape says more, also of a number
        ensure_min_features=0,
        input_name=argument,
    )
    if array.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}"
        )
    return array


def _check_weights(weights: Any, n_components: int) -> Float64Array:
    weights = _check_array(weights, (n_components,), "weights", "weights_init")
    if (weights < 0.0).any() or (weights > 1.0).any():
        # The two values are the other way round in scikit-learn's message too.
        raise ValueError(
            "The parameter 'weights' should be in the range "
            f"[0, 1], but got max value {weights.min():.5f}, min value {weights.max():.5f}"
        )
    total = weights.sum(dtype=np.float64)
    if abs(1.0 - total) > sum_tolerance(weights.dtype):
        raise ValueError(
            f"The parameter 'weights' should be normalized, but got sum(weights) = {total:.5f}"
        )
    return np.asarray(weights / total, dtype=np.float64)


def check_means(means: Any, shape: tuple[int, ...], argument: str) -> Float64Array:
    """Check means, or the mean of a prior, of a given shape."""
    return np.ascontiguousarray(_check_array(means, shape, "means", argument), dtype=np.float64)


def check_covariance_matrices(
    matrices: Any,
    covariance_type: CovarianceType,
    shape: tuple[int, ...],
    name: str,
    argument: str,
) -> Float64Array:
    """Check precisions, or the covariance of a prior, of a given shape.

    Parameters
    ----------
    matrices : array-like
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    shape : tuple of int
    name : str
        What the message about a wrong shape calls them.
    argument : str
        The argument that they were given as.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        If the shape is wrong, a number is not finite, or they are not (symmetric and) positive
        definite; about which scikit-learn's message says precision, whatever they are.
    """
    matrices = _check_array(matrices, shape, f"{covariance_type} {name}", argument)
    if covariance_type in ("full", "tied"):
        if not positive_definite(matrices):
            raise ValueError(
                f"'{covariance_type} precision' should be symmetric, positive-definite"
            )
    elif (matrices <= 0.0).any():
        raise ValueError(f"'{covariance_type} precision' should be positive")
    return np.array(matrices, dtype=np.float64, order="C")
