"""The evidence against 60-digit arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("backend")]

DTYPES = (np.float64, np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("magnitude", [0.0, 1.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("n_components", [1, 2, 3, 17, 64])
def test_log_sum_exp_is_within_four_eps(
    run, exact_log_joint, exact_log_sum_exp, rng, dtype, magnitude, n_components
):
    """Integer rows and means make the distances exact: what is left is the log-sum-exp's error."""
    X = rng.integers(-3, 4, size=(20, 1)).astype(dtype)
    offset = (magnitude + rng.uniform(-40, 5, n_components)).astype(np.float32).astype(float)
    means = rng.integers(-3, 4, size=(n_components, 1)).astype(float)
    params = LogJoint.quadratic("spherical", offset, means, np.ones(n_components))
    _, outputs = run(X, params, Request())
    for row, actual in zip(exact_log_joint(X, params), outputs.log_evidence, strict=True):
        exact = float(exact_log_sum_exp(row))
        scale = max(1.0, float(abs(max(row))), abs(exact))
        assert abs(float(actual) - exact) <= 4 * np.finfo(dtype).eps * scale


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_features", [1, 2, 5, 8, 11])
def test_every_covariance_type(
    run,
    exact_log_joint,
    exact_log_sum_exp,
    random_params,
    sample,
    rng,
    dtype,
    covariance_type,
    n_features,
):
    """A sum of D squares of sums of D products adds at most a few D eps of its value."""
    params = random_params(rng, covariance_type, 5, n_features)
    X = sample(rng, params, 10, dtype)
    result, outputs = run(X, params, Request())
    total = 0.0
    bound = 4 * (n_features + 4) * np.finfo(dtype).eps
    for row, actual in zip(exact_log_joint(X, params), outputs.log_evidence, strict=True):
        exact = float(exact_log_sum_exp(row))
        total += exact
        assert abs(float(actual) - exact) <= bound * max(1.0, abs(exact))
    assert abs(result.log_evidence - total) <= bound * np.abs(outputs.log_evidence).sum()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("mean", [1e2, 1e4])
def test_single_precision_far_from_the_origin(
    run, dense_oracle, random_params, rng, covariance_type, mean
):
    """The promise for float32 rows: 1e-3 nats a row for |mean|/std up to 1e4."""
    params = random_params(rng, covariance_type, 6, 7)
    params = LogJoint.quadratic(
        covariance_type, params.offset, params.form.centres + mean, params.form.precision_cholesky
    )
    X = (mean + rng.normal(size=(400, 7))).astype(np.float32)
    request = Request(moments=MOMENTS_OF[covariance_type])
    result, outputs = run(X, params, request)
    expected = dense_oracle(X, params, request)
    np.testing.assert_allclose(outputs.log_evidence, expected.log_evidence, rtol=0, atol=1e-3)
    np.testing.assert_allclose(result.log_evidence, expected.log_evidence.sum(), rtol=1e-4)
    scale = np.abs(expected.second).max()
    np.testing.assert_allclose(result.statistics.second, expected.second, rtol=0, atol=1e-3 * scale)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_single_precision_with_components_far_apart(
    run, dense_oracle, random_params, sample, rng, covariance_type
):
    """Components 1e4 standard deviations apart, whose means single precision rounds to 1e-3 of one.

    Evidence, means and covariances must keep that accuracy, where sums about the origin would be
    off by 1e8 times it.
    """
    params = random_params(rng, covariance_type, 5, 4)
    means = rng.uniform(-1e4, 1e4, size=(5, 4))
    params = LogJoint.quadratic(
        covariance_type, params.offset, means, params.form.precision_cholesky
    )
    X = sample(rng, params, 2000, np.float32)
    request = Request(moments=MOMENTS_OF[covariance_type])
    result, outputs = run(X, params, request)
    expected = dense_oracle(X, params, request)
    np.testing.assert_array_equal(outputs.labels, expected.labels)
    assert abs(result.log_evidence - expected.log_evidence.sum()) <= 1e-3 * len(X)
    weight = result.statistics.weight
    np.testing.assert_allclose(weight, expected.weight, rtol=1e-5)
    shift = result.statistics.first / weight[:, np.newaxis]
    exact_shift = expected.first / weight[:, np.newaxis]
    np.testing.assert_allclose(shift, exact_shift, rtol=0, atol=1e-3)
    if covariance_type == "full":
        outer = np.einsum("ki,kj->kij", shift, shift)
        exact_outer = np.einsum("ki,kj->kij", exact_shift, exact_shift)
        covariance = result.statistics.second / weight[:, np.newaxis, np.newaxis] - outer
        exact = expected.second / weight[:, np.newaxis, np.newaxis] - exact_outer
        np.testing.assert_allclose(covariance, exact, rtol=0, atol=1e-3)
    else:
        scale = np.abs(expected.second).max()
        np.testing.assert_allclose(
            result.statistics.second, expected.second, rtol=0, atol=2e-3 * scale
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_offsets_of_any_size(run, dense_oracle, rng, dtype):
    X = rng.normal(size=(50, 2)).astype(dtype)
    largest = 1e300 if dtype == np.float64 else 1e37
    offset = np.array([-largest, -1e5, -np.inf, 1e5, 1e5])
    params = LogJoint.quadratic("diag", offset, rng.normal(size=(5, 2)), np.ones((5, 2)))
    result, outputs = run(X, params, Request(moments="diag", entropy=True))
    expected = dense_oracle(X, params, Request(moments="diag"))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(outputs.log_evidence, expected.log_evidence, rtol=4 * eps)
    np.testing.assert_array_equal(outputs.resp[:, :3], 0)
    np.testing.assert_array_equal(result.statistics.weight[:3], 0)
    # A log-joint of 1e5 is itself known to eps * 1e5 nats only.
    np.testing.assert_allclose(outputs.resp, expected.resp, atol=1e5 * eps)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_lowest_evidence_is_that_of_a_row_with_weight(
    rng, run, random_params, sample, dtype, weighted
):
    params = random_params(rng, "full", 4, 3)
    X = sample(rng, params, 1500, dtype)
    X[700] = 50.0
    weights = rng.integers(1, 3, size=1500).astype(float)
    weights[700] = 0.0
    arguments = {"sample_weight": weights} if weighted else {}
    result, outputs = run(X, params, Request(), **arguments)
    counted = np.delete(outputs.log_evidence, 700) if weighted else outputs.log_evidence
    assert result.lowest_log_evidence == counted.min()
    hard, _ = run(X, params, Request("hard"))
    assert np.isnan(hard.lowest_log_evidence)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_components", [1, 3, 31, 700])
@pytest.mark.parametrize("equal", [False, True])
def test_sums_without_outputs(rng, run, random_params, sample, dtype, n_components, equal):
    """Logarithms of many rows may be taken together then, of sums as large as they can be."""
    params = random_params(rng, "diag", n_components, 2)
    X = sample(rng, params, 1333, dtype)
    if equal:  # each sum of exponentials is the number of components
        zeros = np.zeros((n_components, 2))
        params = LogJoint.quadratic("diag", np.zeros(n_components), zeros, zeros + 1.0)
    X[::97] *= 30.0
    alone = run_pass(as_row_source(X), params, Request(moments="diag"))
    _, outputs = run(X, params, Request(moments="diag"))
    evidence = outputs.log_evidence.astype(np.float64)
    # A backend may keep more digits of the lowest than the output's type has.
    assert dtype(alone.lowest_log_evidence) == evidence.min()
    # Each evidence is rounded to its own size.
    bound = 4 * np.finfo(dtype).eps * np.abs(evidence).sum()
    assert abs(alone.log_evidence - evidence.sum()) <= bound


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_without_outputs_of_impossible_rows(rng, run, random_params, sample, dtype):
    params = random_params(rng, "diag", 3, 2)
    X = sample(rng, params, 1333, dtype)
    X[1000] = 1e30 if dtype == np.float32 else 1e200  # whose squares overflow
    alone = run_pass(as_row_source(X), params, Request())
    # Backends that compute in float64 have a finite evidence, below what float32 can hold.
    lowest = -float(np.finfo(dtype).max)
    assert alone.log_evidence < lowest
    assert alone.lowest_log_evidence < lowest
    _, outputs = run(X, params, Request())
    assert outputs.log_evidence[1000] == -np.inf
