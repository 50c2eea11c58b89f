"""Sufficient statistics against the formulae on whole arrays, over shapes, weights and layouts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from vbfast.backends.native.blocking import blocking as native_blocking
from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("backend")]

DTYPES = (np.float64, np.float32)
MOMENTS = ("full", "pooled", "diag", "spherical", "first")
TOLERANCE = {np.float64: 1e-12, np.float32: 3e-5}


weight_lists = st.lists(
    st.sampled_from([0.0, 1.0, 2.5, 1e-3, 5e-324, 1e-310]), min_size=1, max_size=7
)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    covariance_type=st.sampled_from(COVARIANCE_TYPES),
    moments=st.sampled_from(MOMENTS),
    assignment=st.sampled_from(["posterior", "hard", "given", "labels"]),
    dtype=st.sampled_from(DTYPES),
    n_samples=st.integers(1, 300),
    n_components=st.integers(1, 40),
    n_features=st.integers(1, 40),
    weights=st.none() | weight_lists,
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(
    dense_oracle,
    random_params,
    sample,
    assert_statistics_close,
    covariance_type,
    moments,
    assignment,
    dtype,
    n_samples,
    n_components,
    n_features,
    weights,
    seed,
):
    rng = np.random.default_rng(seed)
    params = random_params(rng, covariance_type, n_components, n_features)
    X = sample(rng, params, n_samples, dtype)
    if weights is not None:
        weights = np.resize(weights, n_samples).astype(float)
    resp = None
    if assignment == "given":
        resp = rng.dirichlet(np.ones(n_components), n_samples)
    elif assignment == "labels":
        resp = rng.integers(-1, n_components, size=n_samples)
    request = Request(assignment if resp is None else "given", moments)
    expected = dense_oracle(X, params, request, sample_weight=weights, resp=resp)
    if assignment == "hard" and dtype == np.float32:
        # Two log-joints that single precision cannot tell apart may be ordered either way.
        best = np.sort(expected.log_joint, axis=1)[:, -2:]
        clear = (np.diff(best, axis=1) >= 1e-3).all(axis=1)
        assume(clear.any())
        X, weights = X[clear], None if weights is None else weights[clear]
        expected = dense_oracle(X, params, request, sample_weight=weights)
    result = run_pass(as_row_source(X), params, request, sample_weight=weights, resp=resp)
    # Single-precision log-joints are known to eps times their size, responsibilities follow.
    near = np.abs(expected.log_joint.max(axis=1)).max()
    tolerance = TOLERANCE[dtype] * max(1.0, near / 10)
    # Products with denormal numbers have lost their digits; row weights take part in the dtype.
    floor = float(1e4 * np.finfo(dtype).tiny)
    assert_statistics_close(result.statistics, params, moments, expected, tolerance, floor)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("moments", MOMENTS)
@pytest.mark.parametrize("n_features", [63, 64, 65, 130])
def test_many_features(
    dense_oracle, random_params, sample, assert_statistics_close, rng, dtype, moments, n_features
):
    covariance_type = {"first": "diag", "pooled": "tied"}.get(moments, moments)
    params = random_params(rng, covariance_type, 5, n_features)
    X = sample(rng, params, 333, dtype)
    weights = rng.uniform(0, 2, 333)
    request = Request(moments=moments)
    result = run_pass(as_row_source(X), params, request, sample_weight=weights)
    expected = dense_oracle(X, params, request, sample_weight=weights)
    tolerance = TOLERANCE[dtype] * (10 if dtype == np.float32 else 1)
    assert_statistics_close(result.statistics, params, moments, expected, tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("n_features", [11, 17, 24])
@pytest.mark.parametrize("n_components", [3, 21])
def test_separated_components(
    dense_oracle,
    random_params,
    sample,
    assert_statistics_close,
    rng,
    dtype,
    far,
    n_features,
    n_components,
):
    """Few responsibilities count: rows are gathered for each component, in some tiles or in all."""
    params = random_params(rng, "full", n_components, n_features, spread=8.0)
    means = params.form.centres.copy()
    means[1] = means[0] + 0.1  # two that overlap
    if far:
        means[2] += 1e5 if dtype == np.float64 else 3e3
    params = LogJoint.quadratic("full", params.offset, means, params.form.precision_cholesky)
    X = sample(rng, params, 1777, dtype)
    # Rows on the way from one component to the next have several that count.
    X[600:1100] = X[600:1100].mean(axis=0) + rng.normal(size=(500, n_features))
    weights = rng.integers(0, 3, 1777) * rng.uniform(0.5, 1.5, 1777)
    request = Request(moments="full")
    expected = dense_oracle(X, params, request, sample_weight=weights)
    result = run_pass(as_row_source(X), params, request, sample_weight=weights)
    distance = np.sqrt(-2 * expected.log_joint.max(axis=1).min())
    tolerance = TOLERANCE[dtype] * max(10.0, distance**2 / 10)
    assert_statistics_close(result.statistics, params, "full", expected, tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_sizes_around_a_tile_and_a_partition(
    dense_oracle, random_params, sample, assert_statistics_close, rng, dtype, extra
):
    params = random_params(rng, "full", 3, 2)
    tile_rows = native_blocking(10**6, 2, 3, np.dtype(dtype), "full").tile_rows
    request = Request(moments="full", entropy=True)
    for n_samples in (tile_rows + extra, 4 * tile_rows + extra):
        X = sample(rng, params, n_samples, dtype)
        result = run_pass(as_row_source(X), params, request)
        expected = dense_oracle(X, params, request)
        assert_statistics_close(result.statistics, params, "full", expected, 3 * TOLERANCE[dtype])
        assert result.total_weight == n_samples


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("assignment", ["posterior", "hard", "given"])
def test_a_model_too_large_for_a_partial_statistic_a_partition(
    dense_oracle, random_params, sample, assert_statistics_close, rng, dtype, assignment
):
    n_samples, n_features, n_components = 900, 40, 600
    assert native_blocking(
        n_samples, n_features, n_components, np.dtype(dtype), "full"
    ).split_components
    params = random_params(rng, "diag", n_components, n_features)
    X = sample(rng, params, n_samples, dtype)
    resp = rng.dirichlet(np.ones(n_components), n_samples) if assignment == "given" else None
    request = Request(assignment, "full")
    result = run_pass(as_row_source(X), params, request, resp=resp)
    # The oracle needs N x K x D numbers: it checks some components.
    some = np.arange(0, n_components, 57)
    weight = result.statistics.weight
    np.testing.assert_allclose(weight.sum(), n_samples, rtol=1e-6)
    few_requests = Request("given", "full")
    d = X.astype(float)
    log_joint = np.stack(
        [
            params.offset[k]
            - 0.5
            * np.square((d - params.form.centres[k]) * params.form.precision_cholesky[k]).sum(
                axis=1
            )
            for k in range(n_components)
        ],
        axis=1,
    )
    if assignment == "posterior":
        q = np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1)[:, np.newaxis])
    elif assignment == "hard":
        q = np.eye(n_components)[log_joint.argmax(axis=1)]
    else:
        q = resp
    selected = LogJoint.quadratic(
        "diag", params.offset[some], params.form.centres[some], params.form.precision_cholesky[some]
    )
    expected = dense_oracle(X, selected, few_requests, resp=q[:, some])
    tolerance = 1e-12 if dtype == np.float64 else 3e-4
    for name in ("weight", "first", "second"):
        actual, value = getattr(result.statistics, name)[some], getattr(expected, name)
        np.testing.assert_allclose(
            actual, value, rtol=0, atol=tolerance * max(1.0, np.abs(value).max())
        )


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_integer_weights_are_repeated_rows(
    random_params, sample, assert_statistics_close, rng, covariance_type
):
    params = random_params(rng, covariance_type, 4, 6)
    X = sample(rng, params, 400)
    repeats = rng.integers(0, 4, size=400)
    request = Request(moments=MOMENTS_OF[covariance_type])
    weighted = run_pass(as_row_source(X), params, request, sample_weight=repeats.astype(float))
    repeated = run_pass(as_row_source(np.repeat(X, repeats, axis=0)), params, request)
    assert weighted.total_weight == repeated.total_weight
    np.testing.assert_allclose(weighted.log_evidence, repeated.log_evidence, rtol=1e-13)
    assert_statistics_close(
        weighted.statistics, params, request.moments, repeated.statistics, 1e-12
    )
