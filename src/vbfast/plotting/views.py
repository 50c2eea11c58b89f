"""A mixture as it is seen in one or two features, or in a projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, RowSource
from vbfast.estimators.gaussian import GaussianMixture, gaussian_mixture_of
from vbfast.estimators.gaussian_base import BaseGaussianMixture
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.marginals import projected
from vbfast.inputs.numbers import as_numbers

__all__ = [
    "View",
    "as_labels",
    "component_numbers",
    "dense_covariances",
    "every_nth",
    "feature_labels",
    "feature_view",
    "projected_view",
    "with_peaks",
]


@dataclass(frozen=True)
class View:
    """What a mixture becomes under a linear map of its features.

    Attributes
    ----------
    mixture : GaussianMixture
        Of one or two features.
    matrix : ndarray of shape (1 or 2, n_features), float64
        Of the map, from the features of the whole mixture.
    labels : tuple of str
        Of the axes.
    """

    mixture: GaussianMixture
    matrix: Float64Array
    labels: tuple[str, ...]


def dense_covariances(mixture: BaseGaussianMixture) -> Float64Array:
    """Return the components' covariances, shape (n_components, n_features, n_features), float64."""
    n_components, n_features = mixture.means_.shape
    held = np.asarray(mixture.covariances_, dtype=np.float64)
    if mixture.covariance_type == "full":
        return held
    if mixture.covariance_type == "tied":
        return np.broadcast_to(held, (n_components, n_features, n_features))
    if mixture.covariance_type == "spherical":
        held = np.broadcast_to(held[:, np.newaxis], (n_components, n_features))
    return held[:, :, np.newaxis] * np.eye(n_features)


def feature_labels(mixture: BaseGaussianMixture) -> tuple[str, ...]:
    """Return what features are called: their names, or their columns."""
    if hasattr(mixture, "feature_names_in_"):
        return tuple(str(name) for name in mixture.feature_names_in_)
    return tuple(f"feature {column}" for column in range(mixture.means_.shape[1]))


def feature_view(fitted: BaseGaussianMixture, features: Any) -> View:
    """Return a mixture in one or two of its features.

    Parameters
    ----------
    fitted : GaussianMixture or BayesianGaussianMixture
    features : int, str, or array-like of one or two of them, or None
        None for the first two, or the only one.

    Raises
    ------
    TypeError, ValueError
        As ``fitted.marginal``; and if there are more than two.
    """
    n_features = fitted.means_.shape[1]
    chosen = fitted._features(range(min(2, n_features)) if features is None else features)
    if len(chosen) > 2:
        raise ValueError(
            f"features must be one or two; got {len(chosen)}. projection='pca' shows all features"
        )
    labels = feature_labels(fitted)
    return View(
        fitted.marginal(chosen),
        np.eye(n_features)[chosen],
        tuple(labels[column] for column in chosen),
    )


def projected_view(fitted: BaseGaussianMixture, projection: Any) -> View:
    """Return a mixture's projection onto a plane.

    Parameters
    ----------
    fitted : GaussianMixture or BayesianGaussianMixture
    projection : array-like of shape (2, n_features), or 'pca'
        'pca' is onto the principal axes of the whole mixture's covariance.

    Raises
    ------
    TypeError
        If it is a matrix of no numbers.
    ValueError
        If it is another word, or has another shape; if it is not finite, or of rank below two; or
        for 'pca' of a mixture of one feature.
    """
    n_features = fitted.means_.shape[1]
    weights = np.asarray(fitted.weights_, dtype=np.float64)
    means = np.asarray(fitted.means_, dtype=np.float64)
    covariances = dense_covariances(fitted)
    if isinstance(projection, str):
        if projection != "pca":
            raise ValueError(
                f"projection must be 'pca' or a matrix of shape (2, {n_features}); "
                f"got {projection!r}"
            )
        if n_features < 2:
            raise ValueError("projection='pca' needs two features; leave projection out")
        matrix, shares = _principal_axes(weights, means, covariances)
        labels = tuple(
            f"principal axis {axis} ({100 * share:.0f} % of the variance)"
            for axis, share in enumerate(shares, 1)
        )
    else:
        matrix = as_numbers(projection, "projection").astype(np.float64)
        if matrix.shape != (2, n_features):
            raise ValueError(
                f"projection must have shape (2, {n_features}), or be 'pca'; got {matrix.shape}"
            )
        if not np.isfinite(matrix).all():
            raise ValueError("projection must be finite")
        if np.linalg.matrix_rank(matrix) < 2:
            raise ValueError("projection must have two rows that are linearly independent")
        labels = ("projection 0", "projection 1")
    parameters = projected(_as_drawn(fitted), matrix)
    mixture = gaussian_mixture_of(fitted, parameters, np.arange(2))
    if hasattr(mixture, "feature_names_in_"):
        del mixture.feature_names_in_  # a sum of features has none of their names
    return View(mixture, matrix, labels)


def component_numbers(components: Any, n_components: int) -> npt.NDArray[np.intp]:
    """Return the numbers of the components that are drawn, those given or all.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If they are no integers, there are none, or one is unknown.
    """
    if components is None:
        return np.arange(n_components)
    chosen = np.atleast_1d(as_numbers(components, "components"))
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or len(chosen) == 0:
        raise ValueError(f"components must be integers, at least one; got {components!r}")
    unknown = chosen[(chosen < 0) | (chosen >= n_components)]
    if len(unknown) > 0:
        raise ValueError(f"components must be in 0..{n_components - 1}; got {unknown[0]}")
    return chosen.astype(np.intp)


def as_labels(labels: Any, n_rows: int, n_components: int) -> npt.NDArray[np.int64]:
    """Return the components of rows.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If they are no integers, not as many as rows, or one is unknown.
    """
    array = as_numbers(labels, "row_labels")
    if array.dtype.kind not in "iu" or array.shape != (n_rows,):
        raise ValueError(
            f"row_labels must be {n_rows} integers, one for each of rows; got shape {array.shape} "
            f"and dtype {array.dtype}"
        )
    unknown = array[(array < 0) | (array >= n_components)]
    if len(unknown) > 0:
        raise ValueError(f"row_labels must be in 0..{n_components - 1}; got {unknown[0]}")
    return array.astype(np.int64)


def every_nth(X: Any, max_rows: int) -> Any:
    """Return every n-th row of an array, a data frame or a row source: no more than are drawn."""
    if isinstance(X, RowSource):
        return X.take(np.arange(0, X.n_samples, _step(X.n_samples, max_rows)))
    rows = X if hasattr(X, "shape") else as_numbers(X, "X")
    if rows.shape == ():
        return rows  # no rows, as estimators say
    return rows[:: _step(rows.shape[0], max_rows)]


def _step(n_rows: int, max_rows: int) -> int:
    return max(1, -(-n_rows // max_rows))


def with_peaks(grid: Float64Array, mixture: BaseGaussianMixture) -> Float64Array:
    """Return a grid over a feature with points amid each component, however narrow it is."""
    deviations = np.sqrt(dense_covariances(mixture)[:, :, 0])
    points = mixture.means_ + deviations * np.linspace(-6.0, 6.0, 49)
    return np.union1d(grid, points[(points >= grid[0]) & (points <= grid[-1])])


def _as_drawn(fitted: BaseGaussianMixture) -> GaussianParameters:
    """Return the parameters that fitted attributes hold, of a Bayesian mixture too."""
    return GaussianParameters(
        fitted.covariance_type,
        np.asarray(fitted.weights_, dtype=np.float64),
        np.asarray(fitted.means_, dtype=np.float64),
        np.asarray(fitted.covariances_, dtype=np.float64),
        np.asarray(fitted.precisions_cholesky_, dtype=np.float64),
    )


def _principal_axes(
    weights: Float64Array, means: Float64Array, covariances: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the two axes of largest variance, as rows, and their shares of the variance."""
    deviations = means - weights @ means
    within = np.tensordot(weights, covariances, axes=1)
    values, vectors = np.linalg.eigh(within + (weights * deviations.T) @ deviations)
    axes = vectors[:, ::-1][:, :2].T
    # An axis has two directions: its largest coordinate is positive here.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, np.newaxis], axis=1)
    return axes * np.sign(largest), values[::-1][:2] / values.sum()
