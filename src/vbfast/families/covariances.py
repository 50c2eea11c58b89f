"""The four covariance types: shapes, factors, and second moments about other points.

What is shaped by the type has shape (K, D, D) for 'full', (D, D) for 'tied' (summed or shared over
the components), (K, D) for 'diag' and (K,) for 'spherical' (the mean over the features).
"""

from __future__ import annotations

import numpy as np

from vbfast.engine.contract import CovarianceType, Float64Array, Statistics, covariance_shape
from vbfast.families.gamma_differences import itakura_saito
from vbfast.families.linalg import (
    NotPositiveDefiniteError,
    gram,
    log_det_cholesky,
    precision_cholesky,
    ratio_norms,
    subtract_symmetric,
)

__all__ = [
    "add_to_diagonal",
    "covariance_shape",
    "log_det_factor",
    "precision_factor",
    "precision_traces",
    "precisions_of",
    "relative_divergence",
    "scatter_about",
    "scatter_floor",
    "squares",
]


def precision_factor(covariance_type: CovarianceType, covariances: Float64Array) -> Float64Array:
    """Upper triangular ``P`` with ``P @ P.T`` the inverse covariance, or inverse deviations.

    Raises
    ------
    NotPositiveDefiniteError
        If a covariance is not positive definite, or not finite.
    """
    if covariance_type == "full":
        return precision_cholesky(covariances)
    if covariance_type == "tied":
        return np.asarray(precision_cholesky(covariances[np.newaxis])[0])
    valid = (covariances > 0.0) & (covariances < np.inf)
    if not valid.all():
        component = int(np.argwhere(~valid)[0, 0])
        raise NotPositiveDefiniteError(component)
    return np.asarray(1.0 / np.sqrt(covariances))


def precisions_of(covariance_type: CovarianceType, factor: Float64Array) -> Float64Array:
    """Return the precisions of given precision factors."""
    if covariance_type in ("full", "tied"):
        return gram(factor)
    return np.asarray(np.square(factor))


def precision_traces(
    covariance_type: CovarianceType, factor: Float64Array, n_features: int
) -> Float64Array:
    """Return ``tr(P P^T)`` of precision factors: shape (K,), for 'tied' ()."""
    squared = np.square(factor)
    if covariance_type == "spherical":
        return np.asarray(n_features * squared)
    return np.asarray(squared.sum(axis=-1 if covariance_type == "diag" else (-2, -1)))


def relative_divergence(
    covariance_type: CovarianceType,
    factor: Float64Array,
    reference: Float64Array,
    n_features: int,
) -> Float64Array:
    """Return ``tr(M) - D - log det M`` with ``M = (Q Q^T)^-1 P P^T``: shape (K,), for 'tied' ().

    Never negative, and zero where ``P`` is ``Q`` (James and Stein 1961). With ``T = Q^-1 P``, whose
    diagonal is the ratio of theirs, it is a sum of squares above the diagonal and of
    ``t^2 - 1 - log t^2`` on it, which keeps its digits as ``T`` comes near the identity.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    factor : ndarray
        Precision factors ``P`` of that type.
    reference : ndarray
        Precision factors ``Q``, of the same shape or, for all components, with one axis less.
    n_features : int
    """
    if covariance_type in ("full", "tied"):
        shape = (-1, n_features, n_features)
        upper, by = factor.reshape(shape), reference.reshape(shape)
        ratios = upper.diagonal(axis1=1, axis2=2) / by.diagonal(axis1=1, axis2=2)
        # Q^-1 (P - Q diag(t)) is T above the diagonal and zero on it.
        above = ratio_norms(np.triu(upper - by * ratios[:, np.newaxis], 1), by)
        divergence = _square_divergence(ratios).sum(axis=1) + above
        return divergence if covariance_type == "full" else np.asarray(divergence[0])
    divergence = _square_divergence(factor / reference)
    if covariance_type == "diag":
        return np.asarray(divergence.sum(axis=1))
    return np.asarray(n_features * divergence)


def _square_divergence(ratios: Float64Array) -> Float64Array:
    """Return ``t^2 - 1 - log t^2``."""
    return itakura_saito(np.square(ratios), 1.0, (1.0 - ratios) * (1.0 + ratios))


def log_det_factor(
    covariance_type: CovarianceType, factor: Float64Array, n_features: int
) -> Float64Array:
    """Log-determinants of precision factors, nats: shape (K,), for 'tied' ()."""
    if covariance_type in ("full", "tied"):
        return log_det_cholesky(factor)
    if covariance_type == "diag":
        return np.asarray(np.log(factor).sum(axis=-1))
    return np.asarray(n_features * np.log(factor))


def scatter_about(statistics: Statistics, second: Float64Array, step: Float64Array) -> Float64Array:
    """Move second moments from the statistics' centres to ``centres + step``.

    With ``d`` measured from the centre, ``sum r (d - s)(d - s)^T = S - f s^T - s f^T + N s s^T``.
    Elementwise, or summed in a fixed order: the bits must not depend on a threaded BLAS.

    Parameters
    ----------
    statistics : Statistics
        Of a kind with second moments.
    second : ndarray
        ``statistics.second``.
    step : ndarray of shape (n_components, n_features)

    Returns
    -------
    ndarray, shaped by the kind of the statistics
    """
    # f s^T + s f^T - N s s^T in two halves, which are each other's transposes.
    half = statistics.first - 0.5 * statistics.weight[:, np.newaxis] * step
    if statistics.kind == "full":
        return subtract_symmetric(second, half, step)
    if statistics.kind == "tied":
        product = np.einsum("ki,kj->ij", half, step)
        return np.asarray(second - (product + product.T))
    return np.asarray(second - _per_component(statistics.kind, 2.0 * half * step))


def scatter_floor(
    kind: str, counts: Float64Array, reg_covar: float, covariance: Float64Array | float = 0.0
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
    variances = np.diagonal(covariance) if np.ndim(covariance) == 2 else np.asarray(covariance)
    floor = reg_covar * counts[:, np.newaxis] + variances
    return np.asarray(floor.sum(axis=0, keepdims=True) if kind == "tied" else floor)


def squares(kind: str, deviations: Float64Array) -> Float64Array:
    """Return ``d_k d_k^T`` of vectors ``d`` of shape (K, D), shaped by the covariance type."""
    if kind == "full":
        return deviations[:, :, np.newaxis] * deviations[:, np.newaxis, :]
    if kind == "tied":
        return np.asarray(np.einsum("ki,kj->ij", deviations, deviations))
    return _per_component(kind, np.square(deviations))


def _per_component(kind: str, diagonals: Float64Array) -> Float64Array:
    """Reduce diagonals of shape (K, D) to what 'diag' or 'spherical' keeps of them."""
    return diagonals if kind == "diag" else np.asarray(diagonals.mean(axis=1))


def add_to_diagonal(kind: str, covariances: Float64Array, value: float | Float64Array) -> None:
    """Add ``value``, a number or for all but 'tied' one a component, to diagonals in place.

    Matrices have to be in C order.
    """
    if kind in ("full", "tied"):
        assert covariances.flags.c_contiguous
        D = covariances.shape[-1]
        covariances.reshape(-1, D * D)[:, :: D + 1] += np.reshape(value, (-1, 1))
    else:
        covariances += np.reshape(value, (-1,) + (1,) * (covariances.ndim - 1))
