"""Starting parameters that a user gives, checked in scikit-learn's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_array

from vbfast.engine.contract import CovarianceType, Float64Array
from vbfast.families.gaussian import covariance_shape

__all__ = ["GivenStart", "check_given_start"]

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
        Non-negative, summing to one.
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
        None if means is None else _check_means(means, n_components, n_features),
        None
        if precisions is None
        else _check_precisions(precisions, covariance_type, n_components, n_features),
    )


def _check_shape(parameter: Any, shape: tuple[int, ...], name: str) -> None:
    if parameter.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {parameter.shape}"
        )


def _check_weights(weights: Any, n_components: int) -> Float64Array:
    weights = check_array(weights, dtype=_DTYPES, ensure_2d=False)
    _check_shape(weights, (n_components,), "weights")
    if (weights < 0.0).any() or (weights > 1.0).any():
        # The two values are the other way round in scikit-learn's message too.
        raise ValueError(
            "The parameter 'weights' should be in the range "
            f"[0, 1], but got max value {weights.min():.5f}, min value {weights.max():.5f}"
        )
    tolerance = 1e-6 if weights.dtype == np.float32 else 1e-8
    total = weights.sum()
    if abs(1.0 - total) > tolerance:
        raise ValueError(
            f"The parameter 'weights' should be normalized, but got sum(weights) = {total:.5f}"
        )
    return np.asarray(weights, dtype=np.float64)


def _check_means(means: Any, n_components: int, n_features: int) -> Float64Array:
    means = check_array(means, dtype=_DTYPES, ensure_2d=False)
    _check_shape(means, (n_components, n_features), "means")
    return np.ascontiguousarray(means, dtype=np.float64)


def _check_precisions(
    precisions: Any, covariance_type: CovarianceType, n_components: int, n_features: int
) -> Float64Array:
    precisions = check_array(
        precisions, dtype=_DTYPES, ensure_2d=False, allow_nd=covariance_type == "full"
    )
    shape = covariance_shape(covariance_type, n_components, n_features)
    _check_shape(precisions, shape, f"{covariance_type} precision")
    if covariance_type in ("full", "tied"):
        symmetric = np.isclose(precisions, precisions.swapaxes(-1, -2)).all()
        if not (symmetric and (np.linalg.eigvalsh(precisions) > 0.0).all()):
            raise ValueError(
                f"'{covariance_type} precision' should be symmetric, positive-definite"
            )
    elif (precisions <= 0.0).any():
        raise ValueError(f"'{covariance_type} precision' should be positive")
    return np.ascontiguousarray(precisions, dtype=np.float64)
