"""Fitted attributes of estimators: checked where they are read, rounded where they are set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vbfast.contract import CovarianceType, Float64Array, covariance_shape
from vbfast.inputs.numbers import as_numbers

__all__ = [
    "GAUSSIAN_ATTRIBUTES",
    "PrivateAttributes",
    "fitted_array",
    "fitted_weights",
    "gaussian_attributes",
    "rounded",
]

GAUSSIAN_ATTRIBUTES = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
)


class PrivateAttributes(dict[str, Any]):
    """Attributes that a family has made and nobody has written to: neither checked nor copied.

    That would take as long as a pass of some hundred rows.
    """


def fitted_array(
    attributes: Mapping[str, Any], name: str, shape: tuple[int, ...], *, positive: bool = False
) -> Float64Array:
    """Return a fitted attribute as an array, in float64 and C order: a copy, if it is not private.

    Raises
    ------
    TypeError
        If it is complex or no numbers.
    ValueError
        If its shape is another one, or a number is not finite or, where asked, not positive.
    """
    if isinstance(attributes, PrivateAttributes):
        return np.asarray(attributes[name], dtype=np.float64, order="C")
    values = as_numbers(attributes[name], name)
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {values.shape}")
    array = _finite(values, name)
    if positive and not (array > 0.0).all():
        raise ValueError(f"{name} must be positive; got {array.min()}")
    return array


def fitted_weights(attributes: Mapping[str, Any], n_components: int) -> Float64Array:
    """Return ``weights_``, likewise.

    Raises
    ------
    TypeError, ValueError
        As :func:`fitted_array`, or if a weight is negative.
    """
    weights = fitted_array(attributes, "weights_", (n_components,))
    if not isinstance(attributes, PrivateAttributes) and weights.min() < 0.0:
        raise ValueError(f"weights_ must not be negative; got {weights.min()}")
    return weights


def gaussian_attributes(
    attributes: Mapping[str, Any], covariance_type: CovarianceType
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the weights, means and precision factors of Gaussian components.

    Attributes, and the covariance type, may be set after the fit.

    Parameters
    ----------
    attributes : mapping
        With ``weights_``, ``means_`` and ``precisions_cholesky_``.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

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
    names = ("weights_", "means_", "precisions_cholesky_")
    if isinstance(attributes, PrivateAttributes):
        weights, means, factor = (fitted_array(attributes, name, ()) for name in names)
        return weights, means, factor
    shapes = {name: as_numbers(attributes[name], name).shape for name in names}
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
    return (
        fitted_weights(attributes, n_components),
        fitted_array(attributes, "means_", shapes["means_"]),
        fitted_array(attributes, "precisions_cholesky_", shape),
    )


def rounded(attributes: Mapping[str, Float64Array], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Round fitted attributes to the dtype of the rows.

    Precisions, from which nothing is computed, may become infinite.

    Parameters
    ----------
    attributes : mapping of str to ndarray
    dtype : float32 or float64

    Returns
    -------
    dict
        Of arrays, the same ones where they have the dtype; an array without dimensions becomes a
        number.

    Raises
    ------
    ValueError
        If a number overflows.
    """
    with np.errstate(over="ignore"):
        result = {name: values.astype(dtype, copy=False)[()] for name, values in attributes.items()}
    for name, values in result.items():
        if name != "precisions_" and not np.isfinite(values).all():
            raise ValueError(
                f"{name} overflows {dtype}, the dtype of X: pass float64 data, or scale X and the "
                "priors"
            )
    return result


def _finite(values: Any, name: str) -> Float64Array:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return np.array(values, dtype=np.float64, order="C")
