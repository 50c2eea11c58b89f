"""Starting parameters that a user gives, checked in scikit-learn's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_array

from vbfast.engine.contract import CovarianceType, Float64Array
from vbfast.engine.distributions import sum_tolerance
from vbfast.engine.plain import check_plain
from vbfast.families.covariances import covariance_shape

__all__ = [
    "GivenStart",
    "check_covariance_matrices",
    "check_fitted_shapes",
    "check_given_start",
    "check_means",
    "check_resumed_shapes",
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
    """Check that finite numbers have a shape; ``name`` is scikit-learn's for what they are.

    A mask, or zeros that are left out, would be lost in the conversion: an error.
    """
    check_plain(values, argument)
    array = check_array(
        values,
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


def check_fitted_shapes(
    weights: Any, means: Any, precisions_cholesky: Any, covariance_type: CovarianceType
) -> None:
    """Check that fitted parameters are of the covariance type, which may be set after the fit.

    Raises
    ------
    ValueError
        If their shapes do not go together.
    """
    shape = covariance_shape(covariance_type, *np.shape(means))
    if np.shape(precisions_cholesky) != shape or np.shape(weights) != np.shape(means)[:1]:
        raise ValueError(
            f"covariance_type={covariance_type!r} and means_ of shape {np.shape(means)} need "
            f"weights_ of shape {np.shape(means)[:1]} and precisions_cholesky_ of shape {shape}; "
            f"got {np.shape(weights)} and {np.shape(precisions_cholesky)}. Fit again after a "
            "change of parameters."
        )


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
