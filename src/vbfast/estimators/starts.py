"""Starting parameters that a user gives, checked in scikit-learn's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_array

from vbfast.contract import CovarianceType, Float64Array
from vbfast.families.covariances import covariance_shape
from vbfast.inputs.distributions import sum_tolerance
from vbfast.inputs.numbers import as_array, as_numbers

__all__ = [
    "GivenStart",
    "check_covariance_matrices",
    "check_fitted_parameters",
    "check_given_start",
    "check_means",
    "check_not_negative",
    "check_resumed_shapes",
    "fitted_array",
]

_DTYPES = [np.float64, np.float32]


@dataclass(frozen=True)
class GivenStart:
    """The starting parameters that are given; ``None`` for those that are not."""

    weights: Float64Array | None
    means: Float64Array | None
    precisions: Float64Array | None


def check_given_start(
    weights: Any,
    means: Any,
    precisions: Any,
    *,
    covariance_type: CovarianceType,
    n_components: int,
    n_features: int,
) -> GivenStart:
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
    GivenStart
        In float64.

    Raises
    ------
    ValueError
        If a shape is wrong, the weights are no distribution, or a precision is not symmetric and
        positive definite.
    """
    return GivenStart(
        None if weights is None else _check_weights(weights, n_components),
        None if means is None else check_means(means, (n_components, n_features), "means_init"),
        None
        if precisions is None
        else check_covariance_matrices(
            precisions,
            covariance_type,
            covariance_shape(covariance_type, n_components, n_features),
            "precision",
            "precisions_init",
        ),
    )


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
        symmetric = np.isclose(matrices, matrices.swapaxes(-1, -2)).all()
        if not (symmetric and (np.linalg.eigvalsh(matrices) > 0.0).all()):
            raise ValueError(
                f"'{covariance_type} precision' should be symmetric, positive-definite"
            )
    elif (matrices <= 0.0).any():
        raise ValueError(f"'{covariance_type} precision' should be positive")
    return np.array(matrices, dtype=np.float64, order="C")


def check_fitted_parameters(
    weights: Any, means: Any, precisions_cholesky: Any, covariance_type: CovarianceType
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Check fitted parameters: attributes, and the covariance type, may be set after the fit.

    Returns
    -------
    weights, means, precisions_cholesky : ndarray
        In float64 and C order.

    Raises
    ------
    TypeError
        If they are complex or no numbers.
    ValueError
        If their shapes do not go together, a number is not finite, or a weight is negative.
    """
    given = {
        "weights_": as_numbers(weights, "weights_"),
        "means_": as_numbers(means, "means_"),
        "precisions_cholesky_": as_numbers(precisions_cholesky, "precisions_cholesky_"),
    }
    shapes = {name: values.shape for name, values in given.items()}
    if len(shapes["means_"]) != 2 or 0 in shapes["means_"]:
        raise ValueError(
            "means_ must have shape (n_components, n_features), at least one of each; got shape "
            f"{shapes['means_']}"
        )
    n_components, n_features = shapes["means_"]
    shape = covariance_shape(covariance_type, n_components, n_features)
    if shapes["precisions_cholesky_"] != shape or shapes["weights_"] != (n_components,):
        raise ValueError(
            f"covariance_type={covariance_type!r} and means_ of shape {shapes['means_']} need "
            f"weights_ of shape {(n_components,)} and precisions_cholesky_ of shape {shape}; "
            f"got {shapes['weights_']} and {shapes['precisions_cholesky_']}. Fit again after a "
            "change of parameters."
        )
    checked = {name: _finite(values, name) for name, values in given.items()}
    check_not_negative(checked["weights_"], "weights_")
    return checked["weights_"], checked["means_"], checked["precisions_cholesky_"]


def fitted_array(
    estimator: Any, name: str, shape: tuple[int, ...], *, positive: bool = False
) -> Float64Array:
    """Return a fitted attribute as an array, in float64 and C order.

    Raises
    ------
    TypeError
        If it is complex or no numbers.
    ValueError
        If its shape is another one, or a number is not finite or, where asked, not positive.
    """
    values = as_numbers(getattr(estimator, name), name)
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {values.shape}")
    array = _finite(values, name)
    if positive and not (array > 0.0).all():
        raise ValueError(f"{name} must be positive; got {array.min()}")
    return array


def check_not_negative(array: Float64Array, name: str) -> None:
    """Check that no number of an array is below zero.

    Raises
    ------
    ValueError
        If one is.
    """
    if array.min() < 0.0:
        raise ValueError(f"{name} must not be negative; got {array.min()}")


def _finite(values: Any, name: str) -> Float64Array:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return np.array(values, dtype=np.float64, order="C")


def check_resumed_shapes(
    means: Any,
    covariances: Any,
    covariance_type: CovarianceType,
    n_components: int,
    n_features: int,
) -> None:
    """Check that a fit can go on from the last one's parameters.

    Raises
    ------
    ValueError
        If their shapes are not those of this fit.
    """
    fitted = (np.shape(means), np.shape(covariances))
    shape = covariance_shape(covariance_type, n_components, n_features)
    if fitted != ((n_components, n_features), shape):
        raise ValueError(
            "warm_start=True goes on from the last fit, whose means and covariances have the "
            f"shapes {fitted[0]} and {fitted[1]}; this fit needs "
            f"{(n_components, n_features)} and {shape}. "
            "Use warm_start=False or clone the estimator."
        )
