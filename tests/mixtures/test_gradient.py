"""The gradient of the mixture's log evidence: JAX, central differences, and edges."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbfast.config.settings import config_context
from vbfast.contract import COVARIANCE_TYPES, Request
from vbfast.families.gaussian_parameters import GaussianParameters, gaussian_log_joint
from vbfast.mixtures.gradient import log_evidence_and_grad, pull_back
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner
from vbfast.results import MixtureGradient


def random_parameters(rng, covariance_type, n_components, n_features):
    def covariance():
        mixing = rng.normal(size=(n_features, n_features))
        return mixing @ mixing.T / n_features + 0.3 * np.eye(n_features)

    shapes = {"diag": (n_components, n_features), "spherical": n_components}
    if covariance_type == "full":
        covariances = np.array([covariance() for _ in range(n_components)])
    elif covariance_type == "tied":
        covariances = covariance()
    else:
        covariances = rng.uniform(0.3, 2.0, shapes[covariance_type])
    weights = rng.dirichlet(np.full(n_components, 2.0))
    means = rng.normal(size=(n_components, n_features))
    return GaussianParameters.from_covariances(covariance_type, weights, means, covariances)


def evaluate(X, parameters, sample_weight=None, wrt_x=True):
    return log_evidence_and_grad(
        LocalRunner(as_row_source(X), sample_weight),
        parameters.log_joint(),
        parameters.weights,
        wrt_x=wrt_x,
    )


def assert_agree(actual, expected, rtol):
    """To a relative error in the largest entry of each array."""
    for name, value in expected.items():
        ours = getattr(actual, name)
        assert ours.shape == value.shape, name
        scale = max(1e-3, np.abs(value).max())
        np.testing.assert_allclose(ours, value, rtol=0, atol=rtol * scale, err_msg=name)


@pytest.fixture
def jax_gradient(jax_float64):
    """A function that differentiates the textbook's density with JAX in float64."""
    jax, jnp = jax_float64, jax_float64.numpy

    def log_evidence(X, w, weights, means, precision, log_det):
        d = X[:, None] - means
        square = jnp.einsum("nki,kij,nkj->nk", d, precision, d)
        log_density = 0.5 * (log_det - square - X.shape[1] * jnp.log(2 * jnp.pi))
        # Not a logsumexp of logarithms, whose derivative at a weight of zero is lost.
        largest = jax.lax.stop_gradient(log_density.max(axis=1))
        ratio = jnp.exp(log_density - largest[:, None]) @ weights
        return (w * (jnp.log(ratio) + largest)).sum()

    def as_matrices(kind, array, K, D):
        if kind in ("full", "tied"):
            return jnp.broadcast_to(array, (K, D, D))
        return jnp.broadcast_to(array.reshape(K, -1), (K, D))[:, :, None] * jnp.eye(D)

    def differentiate(X, parameters, w):
        kind, (K, D) = parameters.covariance_type, parameters.means.shape

        def sum_of_three(weights, means, covariances, X, factor, logits, w):
            """One compilation: the evidence by covariances, by factors and by logits."""
            fixed = jax.lax.stop_gradient((X, w, weights, means))
            matrices = as_matrices(kind, covariances, K, D)
            moments = jnp.linalg.inv(matrices), -jnp.linalg.slogdet(matrices)[1]
            P = jnp.triu(as_matrices(kind, factor, K, D))
            log_det = 2 * jnp.log(jnp.diagonal(P, axis1=1, axis2=2)).sum(axis=1)
            value = log_evidence(X, w, weights, means, *moments)
            by_factor = log_evidence(*fixed, P @ P.swapaxes(1, 2), log_det)
            by_logits = log_evidence(
                *fixed[:2], jax.nn.softmax(logits), fixed[3], *jax.lax.stop_gradient(moments)
            )
            return value + by_factor + by_logits, value

        arguments = {
            "weights": parameters.weights,
            "means": parameters.means,
            "covariances": parameters.covariances,
            "X": X,
            "precisions_cholesky": parameters.precision_cholesky,
            "logits": np.log(np.maximum(parameters.weights, 1e-300)),
        }
        w = np.ones(len(X)) if w is None else w
        function = jax.value_and_grad(sum_of_three, argnums=range(6), has_aux=True)
        (_, value), gradients = jax.jit(function)(*arguments.values(), w)
        named = zip(arguments, map(np.asarray, gradients), strict=True)
        return float(value), dict(named)

    return differentiate


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize(
    ("n_samples", "n_components", "n_features", "weighted"),
    [(40, 3, 2, True), (30, 1, 3, False), (25, 4, 1, True), (300, 6, 9, False)],
)
def test_agrees_with_jax(
    jax_gradient, rng, n_samples, n_components, n_features, weighted, covariance_type
):
    parameters = random_parameters(rng, covariance_type, n_components, n_features)
    X = 1.5 * rng.normal(size=(n_samples, n_features))
    w = rng.uniform(0.0, 3.0, n_samples) if weighted else None
    if weighted:
        w[::4] = 0.0
    log_evidence, gradient = evaluate(X, parameters, w)
    expected_evidence, expected = jax_gradient(X, parameters, w)
    np.testing.assert_allclose(log_evidence, expected_evidence, rtol=1e-12)
    assert_agree(gradient, expected, 1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_weight_of_zero_has_a_finite_gradient(jax_gradient, rng, covariance_type):
    parameters = random_parameters(rng, covariance_type, 4, 2)
    parameters.weights[:] = [0.0, 0.6, 0.4, 1e-30]
    X = rng.normal(size=(50, 2))
    w = rng.uniform(0.0, 2.0, 50)
    _, gradient = evaluate(X, parameters, w)
    _, expected = jax_gradient(X, parameters, w)
    assert_agree(gradient, expected, 1e-9)
    np.testing.assert_allclose(gradient.weights, expected["weights"], rtol=1e-9)
    assert gradient.logits[0] == 0.0
    np.testing.assert_array_equal(gradient.means[0], 0.0)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_agrees_with_central_differences(rng, covariance_type):
    parameters = random_parameters(rng, covariance_type, 3, 2)
    X = rng.normal(size=(60, 2))
    w = rng.uniform(0.0, 2.0, 60)
    _, gradient = evaluate(X, parameters, w)
    arrays = {
        "weights": parameters.weights,
        "means": parameters.means,
        "precisions_cholesky": parameters.precision_cholesky,
        "X": X,
    }

    def evidence(**changed):
        values = arrays | changed
        params = gaussian_log_joint(
            covariance_type, values["weights"], values["means"], values["precisions_cholesky"]
        )
        return LocalRunner(as_row_source(values["X"]), w).run(params, Request()).log_evidence

    step = 1e-5
    for name, array in arrays.items():
        direction = rng.normal(size=array.shape)
        if name == "precisions_cholesky" and covariance_type in ("full", "tied"):
            direction = np.triu(direction)
        ahead, behind = (evidence(**{name: array + sign * step * direction}) for sign in (1, -1))
        slope = np.sum(direction * getattr(gradient, name))
        np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6, err_msg=name)


@pytest.mark.kernels
@settings(max_examples=25, deadline=None)
@given(
    covariance_type=st.sampled_from(COVARIANCE_TYPES),
    n_components=st.integers(1, 9),
    n_features=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_backends_agree_and_matrices_are_symmetric(covariance_type, n_components, n_features, seed):
    rng = np.random.default_rng(seed)
    parameters = random_parameters(rng, covariance_type, n_components, n_features)
    X = rng.normal(size=(80, n_features))
    _, native = evaluate(X, parameters)
    with config_context(backend="reference"):
        _, reference = evaluate(X, parameters)
    assert_agree(native, {f.name: getattr(reference, f.name) for f in fields(native)}, 1e-9)
    if covariance_type in ("full", "tied"):
        G = native.covariances
        np.testing.assert_array_equal(G, G.swapaxes(-1, -2))
        np.testing.assert_array_equal(np.tril(native.precisions_cholesky, -1), 0.0)
    np.testing.assert_allclose(native.logits.sum(), 0.0, atol=1e-10)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_is_zero_at_the_optimum_of_one_component(rng, covariance_type):
    X = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) + 5.0
    start = random_parameters(rng, covariance_type, 1, 3)
    centred = X - X.mean(axis=0)
    scatter = centred.T @ centred / len(X)
    covariances = {
        "full": scatter[np.newaxis],
        "tied": scatter,
        "diag": np.diag(scatter)[np.newaxis],
        "spherical": np.array([np.trace(scatter) / 3]),
    }[covariance_type]
    optimum = GaussianParameters.from_covariances(
        covariance_type, np.ones(1), X.mean(axis=0)[np.newaxis], covariances
    )
    _, gradient = evaluate(X, optimum)
    _, elsewhere = evaluate(X, start)
    for name in ("means", "covariances", "precisions_cholesky"):
        scale = np.abs(getattr(elsewhere, name)).max()
        np.testing.assert_allclose(getattr(gradient, name), 0.0, atol=1e-10 * scale, err_msg=name)
    np.testing.assert_array_equal(gradient.logits, 0.0)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_single_precision_rows(rng, covariance_type):
    parameters = random_parameters(rng, covariance_type, 4, 3)
    X = rng.normal(size=(2000, 3)).astype(np.float32)
    _, single = evaluate(X, parameters)
    _, double = evaluate(X.astype(np.float64), parameters)
    assert single.X.dtype == np.float32
    assert single.means.dtype == np.float64
    assert_agree(single, {f.name: getattr(double, f.name) for f in fields(double)}, 1e-4)


def test_a_row_without_evidence_counts_for_nothing(rng):
    parameters = random_parameters(rng, "full", 3, 2)
    parameters.weights[:] = [0.0, 0.5, 0.5]
    X = rng.normal(size=(20, 2))
    _, expected = evaluate(X, parameters)
    log_evidence, gradient = evaluate(np.vstack([X, [[1e200, 1e200]]]), parameters)
    assert log_evidence == -np.inf
    for field in fields(gradient):
        ours = getattr(gradient, field.name)
        value = getattr(expected, field.name)
        np.testing.assert_allclose(ours[: len(value)], value, rtol=1e-12, err_msg=field.name)
    np.testing.assert_array_equal(gradient.X[20], 0.0)


def test_a_row_of_weight_zero_counts_for_nothing(rng):
    parameters = random_parameters(rng, "diag", 3, 2)
    parameters.weights[:] = [0.0, 0.5, 0.5]
    X = rng.normal(size=(20, 2))
    X[3] = 1e9
    w = np.ones(20)
    w[3] = 0.0
    log_evidence, gradient = evaluate(X, parameters, w)
    assert np.isfinite(log_evidence)
    for field in fields(gradient):
        assert np.isfinite(getattr(gradient, field.name)).all(), field.name


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_pull_back_takes_cotangents_of_any_sign(rng, covariance_type):
    parameters = random_parameters(rng, covariance_type, 3, 2)
    X = rng.normal(size=(90, 2))
    cotangent = rng.normal(size=90)
    cotangent[:5] = 0.0
    runner, params = LocalRunner(as_row_source(X)), parameters.log_joint()
    actual = pull_back(runner, params, parameters.weights, cotangent)
    assert actual.X is None
    one_by_one = [evaluate(x[np.newaxis], parameters)[1] for x, c in zip(X, cotangent, strict=True)]
    for name in ("weights", "logits", "means", "covariances", "precisions_cholesky"):
        expected = sum(c * getattr(g, name) for c, g in zip(cotangent, one_by_one, strict=True))
        np.testing.assert_allclose(
            getattr(actual, name), expected, rtol=0, atol=1e-11 * np.abs(expected).max()
        )


@pytest.mark.parametrize(("cotangent", "value"), [(0.0, 0.0), (np.nan, np.nan), (np.inf, np.nan)])
def test_pull_back_of_nothing_and_of_what_is_not_finite(rng, cotangent, value):
    parameters = random_parameters(rng, "tied", 3, 2)
    cotangents = np.zeros(5)
    cotangents[2] = cotangent
    gradient = pull_back(
        LocalRunner(as_row_source(rng.normal(size=(5, 2)))),
        parameters.log_joint(),
        parameters.weights,
        cotangents,
    )
    for field in fields(MixtureGradient):
        array = getattr(gradient, field.name)
        if array is not None:
            np.testing.assert_array_equal(array, np.full(array.shape, value))


def test_pull_back_takes_one_pass_for_components_that_are_rare(rng, passes):
    parameters = random_parameters(rng, "diag", 3, 2)
    parameters.weights[:] = [0.4, 0.6, 1e-30]
    X = rng.normal(size=(50, 2))
    runner = LocalRunner(as_row_source(X))
    gradient = pull_back(runner, parameters.log_joint(), parameters.weights, np.ones(50))
    assert len(passes) == 1
    _, expected = evaluate(X, parameters)
    np.testing.assert_allclose(gradient.logits, expected.logits, atol=1e-12)
