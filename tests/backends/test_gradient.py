"""The gradient of the log evidence in the rows: an oracle, differences, and edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vbfast.config.settings import config_context
from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request, RowOutputs
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

pytestmark = pytest.mark.kernels


@pytest.fixture
def gradient(backend):
    """A function that returns the gradient of each row, and the rows' evidence."""

    def evaluate(X, params, moments=None, **arguments):
        source = as_row_source(X)
        outputs = RowOutputs(
            log_evidence=np.full(len(X), np.nan, source.dtype),
            gradient=np.full(X.shape, np.nan, source.dtype),
        )
        request = Request(moments=moments)
        run_pass(source, params, request, outputs=outputs, **arguments)
        return outputs.gradient, outputs.log_evidence

    return evaluate


def precision(params, k):
    P = params.form.precision_cholesky
    P = P if params.form.factor_type == "tied" else P[k]
    if params.form.factor_type in ("diag", "spherical"):
        P = np.diag(np.broadcast_to(P, params.n_features))
    return P @ P.T


def expected_gradient(X, params, resp):
    X = np.asarray(X, dtype=np.float64)
    return sum(
        resp[:, [k]] * ((mean - X) @ precision(params, k))
        for k, mean in enumerate(params.form.centres)
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_is_the_formula(gradient, dense_oracle, sized_problem, rng, dtype, covariance_type):
    params, X = sized_problem(dtype, covariance_type)
    weights = rng.uniform(0.5, 2.0, len(X))
    weights[1::3] = 0.0  # a row's gradient is its own, whatever its weight
    actual, _ = gradient(X, params, MOMENTS_OF[covariance_type], sample_weight=weights)
    assert actual.dtype == dtype
    expected = expected_gradient(X, params, dense_oracle(X, params, Request()).resp)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=scale * (1e-12 if dtype == np.float64 else 2e-5)
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("spread", [0.03, 0.4, 3.0])  # of the means: all components, some, one
@pytest.mark.parametrize("n_features", [25, 37, 128, 150])
def test_dense_and_sparse_posteriors_of_many_features(
    gradient, dense_oracle, random_params, sample, rng, n_features, spread, dtype
):
    params = random_params(rng, "full", 6, n_features, spread=spread)
    X = sample(rng, params, 301, dtype)
    actual, _ = gradient(X, params)
    expected = expected_gradient(X, params, dense_oracle(X, params, Request()).resp)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=scale * (1e-12 if dtype == np.float64 else 2e-5)
    )


def test_small_responsibilities_count_where_the_component_is_narrow(gradient):
    X = np.zeros((40, 1))
    params = LogJoint.quadratic(
        "spherical", np.array([0.0, -41.0]), np.array([[0.0], [2e-6]]), np.array([1.0, 1e6])
    )
    responsibility = np.exp(-43.0)
    np.testing.assert_allclose(gradient(X, params)[0], 2e6 * responsibility, rtol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_is_the_slope_of_the_evidence(gradient, random_params, sample, rng, covariance_type):
    params = random_params(rng, covariance_type, 4, 3)
    X = sample(rng, params, 20)
    actual, _ = gradient(X, params)
    step = 1e-5
    for d, direction in enumerate(np.eye(3)):
        above, below = (gradient(X + sign * step * direction, params)[1] for sign in (1, -1))
        np.testing.assert_allclose(actual[:, d], (above - below) / (2 * step), atol=1e-7)


@pytest.mark.parametrize("n_features", [5, 30, 130])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_components_far_from_the_others_are_centred(
    gradient, dense_oracle, random_params, sample, rng, covariance_type, n_features
):
    params = random_params(rng, covariance_type, 6, n_features)
    params.form.centres[2] += 1e7
    params.form.centres[4] -= 1e9
    X = sample(rng, params, 200)
    actual, _ = gradient(X, params)
    expected = expected_gradient(X, params, dense_oracle(X, params, Request()).resp)
    # What the rows' own rounding leaves: nothing grows with the distance of the components.
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("dtype", "doublings"),
    [(np.float32, 66), (np.float32, 100), (np.float64, 66), (np.float64, 600)],
)
@pytest.mark.parametrize("spread", [0.03, 3.0])
@pytest.mark.parametrize("n_features", [1, 4, 30, 130])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_precisions_that_overflow(
    gradient, random_params, sample, rng, covariance_type, n_features, spread, dtype, doublings
):
    """A smaller unit of length multiplies the gradient, though no precision is a number then."""
    params = random_params(rng, covariance_type, 3, n_features, spread=spread)
    X = sample(rng, params, 200, dtype)
    unit = 2.0**-doublings
    smaller = LogJoint.quadratic(
        covariance_type,
        params.offset,
        params.form.centres * unit,
        params.form.precision_cholesky / unit,
    )
    expected, log_evidence = gradient(X, params)
    actual, same = gradient(X * dtype(unit), smaller)
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(same, log_evidence, rtol=tolerance, atol=tolerance * n_features)
    np.testing.assert_allclose(
        actual * dtype(unit), expected, rtol=0, atol=tolerance * np.abs(expected).max()
    )


@pytest.mark.parametrize("n_features", [2, 30, 130])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_row_without_a_component_has_none(
    gradient, random_params, rng, covariance_type, n_features
):
    params = random_params(rng, covariance_type, 3, n_features)
    X = rng.normal(size=(70, n_features))
    X[::9] = 1e200
    actual, log_evidence = gradient(X, params)
    assert np.all(log_evidence[::9] == -np.inf)
    np.testing.assert_array_equal(actual[::9], 0.0)
    assert np.all(np.isfinite(actual))
    none = replace(params, offset=np.full(3, -np.inf))
    np.testing.assert_array_equal(gradient(X, none)[0], 0.0)


def test_a_component_of_weight_zero_counts_for_nothing(gradient, rng):
    X = rng.normal(size=(10, 2))
    means = np.array([[0.0, 0.0], [0.5, 0.5]])
    with_zero = LogJoint.quadratic("spherical", np.array([0.0, -np.inf]), means, np.ones(2))
    np.testing.assert_allclose(gradient(X, with_zero)[0], -X, rtol=1e-14, atol=1e-15)


def test_only_at_the_posterior(random_params, rng, backend):
    X = rng.normal(size=(10, 2))
    outputs = RowOutputs(gradient=np.empty_like(X))
    with pytest.raises(ValueError, match="gradient does not go with assignment 'hard'"):
        run_pass(
            as_row_source(X), random_params(rng, "full", 2, 2), Request("hard"), outputs=outputs
        )


@pytest.mark.parametrize(
    ("covariance_type", "n_features"),
    [*((name, 6) for name in COVARIANCE_TYPES), ("full", 30), ("full", 130)],
)
def test_the_same_bits_for_any_number_of_threads_and_strides(
    gradient, random_params, sample, rng, covariance_type, n_features
):
    params = random_params(rng, covariance_type, 7, n_features)
    X = sample(rng, params, 3000)
    expected, _ = gradient(X, params)
    for num_threads in (1, 3):
        with config_context(num_threads=num_threads):
            np.testing.assert_array_equal(gradient(np.asfortranarray(X), params)[0], expected)
    statistics_too, _ = gradient(X, params, MOMENTS_OF[covariance_type])
    np.testing.assert_array_equal(statistics_too, expected)


@pytest.mark.parametrize(("n_components", "n_features"), [(300, 40), (16, 256)])
def test_a_model_too_large_for_one_partial_statistic_a_partition(
    gradient, dense_oracle, random_params, sample, rng, n_components, n_features
):
    params = random_params(rng, "full", n_components, n_features)
    X = sample(rng, params, 700)
    actual, _ = gradient(X, params, "full")
    expected = expected_gradient(X, params, dense_oracle(X, params, Request()).resp)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
