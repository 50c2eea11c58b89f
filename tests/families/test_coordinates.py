"""Coordinates: there and back, and the metric against the curvature of the log-density."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES, NotPositiveDefiniteError
from vbfast.families.gaussian_coordinates import GaussianCoordinates
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.normal_wishart import NormalWishart
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.families.posterior_coordinates import PosteriorCoordinates

jax = pytest.importorskip("jax", reason="JAX is not installed: pip install vbfast[jax]")
jnp = pytest.importorskip("jax.numpy")

K, D = 3, 4
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def covariances_of(rng, covariance_type):
    square = rng.normal(size=(K, D, 2 * D))
    full = square @ square.swapaxes(1, 2)
    return {
        "full": full,
        "tied": full[0],
        "diag": np.diagonal(full, axis1=1, axis2=2).copy(),
        "spherical": full[:, 0, 0].copy(),
    }[covariance_type]


@pytest.fixture
def mixture(rng, covariance_type):
    return GaussianParameters.from_covariances(
        covariance_type,
        np.array([0.2, 0.3, 0.5]),
        rng.normal(size=(K, D)),
        covariances_of(rng, covariance_type),
    )


def assert_same_mixture(left, right, rtol=1e-10):
    for name in ("weights", "means", "covariances", "precision_cholesky"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=rtol, atol=1e-12)


@all_types
def test_there_and_back(mixture):
    coordinates = GaussianCoordinates()
    assert_same_mixture(coordinates.parameters(coordinates.vector(mixture), mixture), mixture)


@all_types
def test_every_vector_is_a_mixture(rng, mixture):
    coordinates = GaussianCoordinates()
    vector = rng.normal(size=coordinates.vector(mixture).shape)
    other = coordinates.parameters(vector, mixture)
    np.testing.assert_allclose(other.weights.sum(), 1.0)
    rebuilt = GaussianParameters.from_covariances(
        other.covariance_type, other.weights, other.means, other.covariances
    )
    assert_same_mixture(rebuilt, other, rtol=1e-6)
    # All log-weights may be raised by the same number: what is left is the vector itself.
    again = coordinates.vector(other)
    again[:K] += vector[0] - again[0]
    np.testing.assert_allclose(again, vector, atol=1e-9)


def log_joint_of_vector(vector, x, covariance_type):
    """log pi_k + log N(x_k | mu_k, Sigma_k), each component at its own row; softmax left out."""
    log_weights, means = vector[:K], vector[K : K + K * D].reshape(K, D)
    rest = vector[K + K * D :]
    if covariance_type == "spherical":
        factor = jnp.exp(rest)[:, None, None] * jnp.eye(D)
    elif covariance_type == "diag":
        factor = jnp.exp(rest).reshape(K, D)[:, :, None] * jnp.eye(D)
    else:
        n = 1 if covariance_type == "tied" else K
        diagonal, above = rest[: n * D].reshape(n, D), rest[n * D :].reshape(n, -1)
        factor = jnp.exp(diagonal)[:, :, None] * jnp.eye(D)
        factor = factor.at[:, *np.triu_indices(D, 1)].set(above)
        factor = jnp.broadcast_to(factor, (K, D, D))
    white = jnp.einsum("ki,kij->kj", x - means, factor)
    log_det = jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    return log_weights + log_det - 0.5 * (white**2).sum(axis=1)


@all_types
def test_the_metric_is_the_expected_curvature(mixture, covariance_type):
    """The curvature is quadratic in the row, so symmetric points give its expectation exactly."""
    with jax.enable_x64(True):
        vector = jnp.asarray(GaussianCoordinates().vector(mixture))
        covariances = mixture.covariances
        if covariance_type == "tied":
            covariances = np.broadcast_to(covariances, (K, D, D))
        elif covariance_type != "full":
            covariances = np.array([np.diag(np.broadcast_to(c, D)) for c in covariances])
        roots = np.linalg.cholesky(covariances)

        def negative(vector, x):
            return -(mixture.weights * log_joint_of_vector(vector, x, covariance_type)).sum()

        hessian = jax.jit(jax.hessian(negative))
        curvature = np.zeros(len(vector))
        for i in range(D):
            for sign in (-1.0, 1.0):
                x = mixture.means + sign * np.sqrt(D) * roots[:, :, i]
                curvature += np.diag(hessian(vector, x)) / (2 * D)
    # Log-weights enter linearly: their information is that of a Poisson count, pi_k.
    curvature[:K] = mixture.weights
    np.testing.assert_allclose(GaussianCoordinates().metric(mixture), curvature, rtol=1e-8)


@all_types
def test_faint_components_stay_with_the_image(rng, mixture, covariance_type):
    weights = np.array([0.4, 0.0, 0.6])
    image = GaussianParameters(
        covariance_type, weights, mixture.means, mixture.covariances, mixture.precision_cholesky
    )
    coordinates = GaussianCoordinates()
    vector = coordinates.vector(image)
    metric = coordinates.metric(image)
    assert np.isfinite(vector).all()
    assert metric[1] == 0.0
    assert (metric[K + D : K + 2 * D] == 0.0).all()
    moved = coordinates.parameters(vector + rng.normal(size=len(vector)), image)
    assert moved.weights[1] == 0.0
    np.testing.assert_allclose(moved.weights.sum(), 1.0)
    np.testing.assert_array_equal(moved.means[1], image.means[1])
    if covariance_type != "tied":
        np.testing.assert_allclose(moved.covariances[1], image.covariances[1], rtol=1e-10)


@all_types
@pytest.mark.parametrize("value", [1000.0, -1000.0])
def test_what_numbers_do_not_hold_is_no_mixture(mixture, value):
    coordinates = GaussianCoordinates()
    vector = coordinates.vector(mixture)
    vector[K + K * D] = value
    with pytest.raises(NotPositiveDefiniteError):
        coordinates.parameters(vector, mixture)


@all_types
@pytest.mark.parametrize("weights", [Dirichlet, StickBreaking])
def test_a_posterior_there_and_back(rng, mixture, covariance_type, weights):
    counts = np.array([10.0, 0.0, 5.0])
    scale = {"full": np.eye(D), "tied": np.eye(D), "diag": np.ones(D), "spherical": np.ones(())}
    prior = NormalWishartPrior(covariance_type, 0.5, np.zeros(D), D + 1.0, scale[covariance_type])
    rows = counts.mean() if covariance_type == "tied" else counts
    posterior = MixturePosterior(
        weights.from_counts(0.3, counts),
        NormalWishart(
            prior,
            0.5 + counts,
            mixture.means,
            np.asarray(D + 1.0 + rows),
            mixture.covariances,
            mixture.precision_cholesky,
        ),
    )
    coordinates = PosteriorCoordinates()
    back = coordinates.parameters(coordinates.vector(posterior), posterior)
    for one, other in [(back.weights, posterior.weights), (back.components, posterior.components)]:
        for name, value in vars(other).items():
            if name not in ("prior", "linalg"):
                np.testing.assert_allclose(getattr(one, name), value, rtol=1e-10, atol=1e-12)
    assert back.components.prior is prior
    assert len(coordinates.metric(posterior)) == len(coordinates.vector(posterior))


@all_types
def test_there_are_as_many_coordinates_as_free_parameters_and_one(mixture, covariance_type):
    matrices = {"full": K, "tied": 1}.get(covariance_type, 0)
    diagonal = {"full": K * D, "tied": D, "diag": K * D, "spherical": K}[covariance_type]
    expected = K + K * D + diagonal + matrices * D * (D - 1) // 2
    assert GaussianCoordinates().vector(mixture).shape == (expected,)
