"""Mixtures of Gaussians in some of their features, and given the values of some.

With ``W`` the inverse of a precision factor, a covariance is ``W^T W``. In another order of the
columns of ``W``, of which ``Q R`` is the QR decomposition, it is ``R^T R``: the leading block of
``R`` is a root of the first features' covariance, the trailing one of the others' given the first.
No covariance is inverted or decomposed, so that none can lose its rank to rounding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array
from vbfast.families.gaussian_parameters import GaussianParameters

__all__ = ["conditional", "marginal", "projected"]

Features = npt.NDArray[np.intp]


def marginal(parameters: GaussianParameters, features: Features) -> GaussianParameters:
    """Return the mixture of some features (Bishop 2006, equation 2.98).

    Parameters
    ----------
    parameters : GaussianParameters
    features : ndarray of shape (n_kept,), intp
        Distinct, in the order that they have in the result.

    Returns
    -------
    GaussianParameters
        Of the same covariance type.
    """
    means = parameters.means[:, features]
    if parameters.covariance_type in ("full", "tied"):
        return _of_roots(parameters, parameters.weights, means, _roots(parameters, features))
    return _of_variances(parameters, parameters.weights, means, features)


def conditional(
    parameters: GaussianParameters,
    features: Features,
    values: Float64Array,
    weights: Float64Array,
) -> GaussianParameters:
    """Return the mixture of the other features, given some (Bishop 2006, equations 2.81 and 2.82).

    Parameters
    ----------
    parameters : GaussianParameters
    features : ndarray of shape (n_given,), intp
        Distinct; some are left.
    values : ndarray of shape (n_given,)
        Theirs.
    weights : ndarray of shape (n_components,)
        The components' responsibilities for the values.

    Returns
    -------
    GaussianParameters
        Of the features that are left, in their order, and of the same covariance type.
    """
    left = np.setdiff1d(np.arange(parameters.n_features), features)
    means = parameters.means[:, left]
    if parameters.covariance_type not in ("full", "tied"):
        return _of_variances(parameters, weights, means, left)
    n_given = len(features)
    roots = _roots(parameters, np.concatenate([features, left]))
    given, between = roots[:, :n_given, :n_given], roots[:, :n_given, n_given:]
    deviations = values - parameters.means[:, features]
    scaled = np.linalg.solve(given.swapaxes(1, 2), deviations[:, :, np.newaxis])
    shifts = (between.swapaxes(1, 2) @ scaled)[:, :, 0]
    return _of_roots(parameters, weights, means + shifts, roots[:, n_given:, n_given:])


def projected(parameters: GaussianParameters, matrix: Float64Array) -> GaussianParameters:
    """Return the mixture of ``matrix @ x`` (Bishop 2006, equation 2.115 without noise).

    Parameters
    ----------
    parameters : GaussianParameters
    matrix : ndarray of shape (n_kept, n_features)
        Of full row rank.

    Returns
    -------
    GaussianParameters
        With 'full' covariances.
    """
    roots = _upper_roots(_inverse_factors(parameters) @ matrix.T)
    roots = np.broadcast_to(roots, (len(parameters.means), *roots.shape[1:]))
    covariances, factors = _of_upper_roots(roots)
    means = parameters.means @ matrix.T
    return GaussianParameters(
        "full", parameters.weights, means, covariances, factors, parameters.linalg
    )


def _roots(parameters: GaussianParameters, features: Features) -> Float64Array:
    """Return upper triangular ``R`` with ``R^T R`` the features' covariance, one for 'tied'."""
    return _upper_roots(_inverse_factors(parameters)[:, :, features])


def _inverse_factors(parameters: GaussianParameters) -> Float64Array:
    """Return ``W`` with ``W^T W`` a covariance, shape (K, D, D), or (1, D, D) for 'tied'."""
    factors, n_features = parameters.precision_cholesky, parameters.n_features
    if parameters.covariance_type in ("full", "tied"):
        return np.asarray(np.linalg.inv(factors.reshape(-1, n_features, n_features)))
    deviations = (1.0 / factors).reshape(len(factors), -1, 1)
    return np.asarray(deviations * np.eye(n_features))


def _upper_roots(matrices: Float64Array) -> Float64Array:
    """Return upper triangular ``R`` of positive diagonal, with ``R^T R = A^T A``."""
    roots = np.asarray(np.linalg.qr(matrices, mode="r"))
    signs = np.sign(roots.diagonal(axis1=1, axis2=2))
    return np.asarray(signs[:, :, np.newaxis] * roots)


def _of_upper_roots(roots: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return covariances and their precision factors."""
    return roots.swapaxes(1, 2) @ roots, np.triu(np.linalg.inv(roots))


def _of_roots(
    parameters: GaussianParameters, weights: Float64Array, means: Float64Array, roots: Float64Array
) -> GaussianParameters:
    covariances, factors = _of_upper_roots(roots)
    if parameters.covariance_type == "tied":
        covariances, factors = covariances[0], factors[0]
    kind, linalg = parameters.covariance_type, parameters.linalg
    return GaussianParameters(kind, weights, means, covariances, factors, linalg)


def _of_variances(
    parameters: GaussianParameters, weights: Float64Array, means: Float64Array, features: Features
) -> GaussianParameters:
    variances, factors = parameters.covariances, parameters.precision_cholesky
    if parameters.covariance_type == "diag":
        variances, factors = variances[:, features], factors[:, features]
    kind, linalg = parameters.covariance_type, parameters.linalg
    return GaussianParameters(kind, weights, means, variances, factors, linalg)
