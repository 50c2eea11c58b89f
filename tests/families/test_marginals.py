"""Marginal and conditional mixtures against the textbook's formulae with inverses."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.marginals import conditional, marginal

K, D = 3, 5


def full_covariances(kind, covariances):
    if kind == "spherical":
        return covariances[:, np.newaxis, np.newaxis] * np.eye(D)
    if kind == "diag":
        return np.array([np.diag(variances) for variances in covariances])
    return np.broadcast_to(covariances, (K, D, D))


@pytest.fixture(params=COVARIANCE_TYPES)
def parameters(request, rng):
    kind = request.param
    shape = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}[kind]
    covariances = rng.normal(size=shape)
    if kind in ("full", "tied"):
        covariances = covariances @ covariances.swapaxes(-1, -2) + 0.1 * np.eye(D)
    else:
        covariances = np.square(covariances) + 0.1
    weights, means = rng.dirichlet(np.ones(K)), rng.normal(size=(K, D))
    return GaussianParameters.from_covariances(kind, weights, means, covariances)


def assert_consistent(parameters):
    """The factor is that of the covariances, with a positive diagonal."""
    again = GaussianParameters.from_covariances(
        parameters.covariance_type, parameters.weights, parameters.means, parameters.covariances
    )
    np.testing.assert_allclose(
        parameters.precision_cholesky, again.precision_cholesky, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("features", [[2], [3, 0], [4, 1, 0, 2, 3]])
def test_marginal(parameters, features):
    features = np.array(features)
    found = marginal(parameters, features)
    covariances = full_covariances(parameters.covariance_type, parameters.covariances)
    expected = covariances[:, features[:, np.newaxis], features]
    np.testing.assert_array_equal(found.weights, parameters.weights)
    np.testing.assert_array_equal(found.means, parameters.means[:, features])
    precisions = np.linalg.inv(expected)
    for k in range(K):
        shape = (len(features), len(features))
        of_k = {
            "full": lambda a, k=k: a[k],
            "tied": lambda a: a,
            "diag": lambda a, k=k: np.diag(a[k]),
            "spherical": lambda a, k=k, shape=shape: a[k] * np.eye(shape[0]),
        }[found.covariance_type]
        np.testing.assert_allclose(of_k(found.covariances), expected[k], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(of_k(found.precisions), precisions[k], rtol=1e-9, atol=1e-10)
    assert_consistent(found)


@pytest.mark.parametrize("features", [[2], [3, 0], [4, 1, 0, 2]])
def test_conditional(parameters, features, rng):
    given = np.array(features)
    left = np.setdiff1d(np.arange(D), given)
    values, weights = rng.normal(size=len(given)), rng.dirichlet(np.ones(K))
    found = conditional(parameters, given, values, weights)
    covariances = full_covariances(parameters.covariance_type, parameters.covariances)
    np.testing.assert_array_equal(found.weights, weights)
    of_found = full_covariances_of(found, len(left))
    for k in range(K):
        S, mean = covariances[k], parameters.means[k]
        gain = S[np.ix_(left, given)] @ np.linalg.inv(S[np.ix_(given, given)])
        np.testing.assert_allclose(
            found.means[k], mean[left] + gain @ (values - mean[given]), rtol=1e-9, atol=1e-10
        )
        np.testing.assert_allclose(
            of_found[k],
            S[np.ix_(left, left)] - gain @ S[np.ix_(given, left)],
            rtol=1e-9,
            atol=1e-10,
        )
    assert_consistent(found)


def full_covariances_of(parameters, n_features):
    kind, covariances = parameters.covariance_type, parameters.covariances
    if kind == "spherical":
        return covariances[:, np.newaxis, np.newaxis] * np.eye(n_features)
    if kind == "diag":
        return np.array([np.diag(variances) for variances in covariances])
    return np.broadcast_to(covariances, (K, n_features, n_features))


def test_features_that_are_nearly_one():
    """The variance of a feature given one that differs by 1e-9 of it keeps its digits."""
    noise = 1e-9
    root = np.array([[1.0, 1.0], [0.0, noise]])  # of x and x + noise
    parameters = GaussianParameters(
        "full",
        np.ones(1),
        np.zeros((1, 2)),
        (root.T @ root)[np.newaxis],
        np.linalg.inv(root)[np.newaxis],
    )
    given = conditional(parameters, np.array([0]), np.array([3.0]), np.ones(1))
    np.testing.assert_allclose(given.covariances, [[[noise**2]]], rtol=1e-6)
    np.testing.assert_allclose(given.means, [[3.0]], rtol=1e-9)
