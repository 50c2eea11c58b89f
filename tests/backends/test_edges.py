"""Infinite log-joints, empty components, bad rows, denormal and overflowing numbers."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import (
    COVARIANCE_TYPES,
    LogJoint,
    NonFiniteRowError,
    Request,
)
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("backend")]

DTYPES = (np.float64, np.float32)
STATISTICS = ("weight", "first", "second")


def line(offset):
    """Components at 0, 1, ... of one feature."""
    n_components = len(offset)
    means = np.arange(n_components, dtype=float)[:, np.newaxis]
    return LogJoint.quadratic("spherical", np.asarray(offset, float), means, np.ones(n_components))


@pytest.fixture(params=DTYPES)
def X(request):  # noqa: N802 (a fixture named as in the literature)
    return np.linspace(-1, 3, 150, dtype=request.param)[:, np.newaxis]


def test_a_component_at_minus_infinity_does_not_exist(run, X):
    request = Request(moments="spherical", entropy=True)
    result, outputs = run(X, line([-0.5, -np.inf, 0.5]), request)
    two = LogJoint.quadratic(
        "spherical", np.array([-0.5, 0.5]), np.array([[0.0], [2.0]]), np.ones(2)
    )
    without, rows_without = run(X, two, request)
    tolerance = 1e-13 if X.dtype == np.float64 else 1e-5
    for name in ("log_evidence", "expected_log_joint", "entropy"):
        np.testing.assert_allclose(getattr(result, name), getattr(without, name), rtol=tolerance)
    np.testing.assert_array_equal(outputs.resp[:, 1], 0)
    np.testing.assert_allclose(outputs.resp[:, [0, 2]], rows_without.resp, atol=tolerance)
    assert result.statistics.weight[1] == 0
    assert np.all(result.statistics.first[1] == 0)
    assert result.statistics.second[1] == 0


@pytest.mark.parametrize("assignment", ["posterior", "given"])
def test_nothing_but_minus_infinity(run, X, assignment):
    resp = np.full((len(X), 3), 1 / 3) if assignment == "given" else None
    result, outputs = run(X, line([-np.inf] * 3), Request(assignment, entropy=True), resp=resp)
    assert result.log_evidence == result.expected_log_joint == -np.inf
    assert result.entropy == result.kl == 0
    np.testing.assert_array_equal(outputs.log_evidence, -np.inf)
    np.testing.assert_array_equal(outputs.entropy, 0)
    np.testing.assert_array_equal(outputs.labels, 0)
    if assignment == "posterior":
        np.testing.assert_array_equal(outputs.resp, 0)


def test_nothing_but_minus_infinity_leaves_no_trace_in_statistics(run, X):
    result, _ = run(X, line([-np.inf] * 3), Request(moments="spherical"))
    for name in STATISTICS:
        np.testing.assert_array_equal(getattr(result.statistics, name), 0)


@pytest.mark.parametrize("given_as", ["array", "labels"])
def test_mass_where_the_log_joint_is_minus_infinity(run, X, given_as):
    labels = np.zeros(len(X), dtype=np.int64)
    labels[70] = 1
    resp = labels if given_as == "labels" else np.eye(3)[labels]
    params = line([0.0, -np.inf, 0.0])
    result, outputs = run(X, params, Request("given", entropy=True), resp=resp)
    assert result.expected_log_joint == -np.inf
    assert result.kl == np.inf
    assert np.isfinite(result.log_evidence)
    np.testing.assert_array_equal(np.isinf(outputs.expected_log_joint), labels == 1)
    weights = np.where(labels == 1, 0.0, 1.0)
    skipped, _ = run(X, params, Request("given", entropy=True), resp=resp, sample_weight=weights)
    assert np.isfinite(skipped.expected_log_joint)
    assert np.isfinite(skipped.kl)


def test_plus_infinity_takes_all_mass(run, X):
    offset = [0.0, np.inf, -np.inf, np.inf]
    result, outputs = run(X, line(offset), Request(moments="spherical", entropy=True))
    assert result.log_evidence == np.inf
    np.testing.assert_array_equal(outputs.log_evidence, np.inf)
    np.testing.assert_array_equal(outputs.resp, [[0, 0.5, 0, 0.5]] * len(X))
    np.testing.assert_array_equal(outputs.labels, 1)
    np.testing.assert_allclose(outputs.entropy, np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(result.statistics.weight, len(X) * np.array([0, 0.5, 0, 0.5]))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_component_far_from_all_rows_is_empty(
    run, dense_oracle, random_params, rng, X, covariance_type
):
    rows = rng.normal(size=(300, 3)).astype(X.dtype)
    params = random_params(rng, covariance_type, 4, 3)
    params.form.centres[2] = 1e6
    request = Request(moments=MOMENTS_OF[covariance_type], entropy=True)
    result, outputs = run(rows, params, request)
    assert result.statistics.weight[2] == 0
    np.testing.assert_array_equal(result.statistics.first[2], 0)
    np.testing.assert_array_equal(outputs.resp[:, 2], 0)
    expected = dense_oracle(rows, params, request)
    tolerance = 1e-12 if X.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(outputs.log_evidence, expected.log_evidence, tolerance, tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("weight", [None, 0.0])
def test_a_bad_row_at_every_position_of_a_tile(random_params, rng, dtype, bad, weight):
    params = random_params(rng, "full", 3, 4)
    n_samples = 140
    X = rng.normal(size=(n_samples, 4)).astype(dtype)
    weights = None
    for row in range(n_samples):
        broken = X.copy()
        broken[row, row % 4] = bad
        if weight is not None:
            weights = np.ones(n_samples)
            weights[row] = weight
        with pytest.raises(NonFiniteRowError) as caught:
            run_pass(
                as_row_source(broken),
                params,
                Request(moments="full"),
                sample_weight=weights,
            )
        assert caught.value.row == row


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("assignment", ["posterior", "hard"])
def test_the_first_of_several_bad_rows_is_named(rng, random_params, covariance_type, assignment):
    params = random_params(rng, covariance_type, 5, 9)
    X = rng.normal(size=(6000, 9))
    for row in (5999, 4100, 1700, 333):
        X[row, 8] = np.nan
        with pytest.raises(NonFiniteRowError, match=f"row {row} ") as caught:
            run_pass(as_row_source(X), params, Request(assignment, MOMENTS_OF[covariance_type]))
        assert caught.value.row == row


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_denormal_rows_and_weights(run, rng, random_params, dtype, covariance_type):
    params = random_params(rng, covariance_type, 3, 4)
    tiny = np.finfo(dtype).smallest_subnormal
    X = (rng.integers(-50, 50, size=(200, 4)) * tiny).astype(dtype)
    request = Request(moments=MOMENTS_OF[covariance_type], entropy=True)
    result, outputs = run(X, params, request)
    zeros, rows_of_zeros = run(np.zeros_like(X), params, request)
    np.testing.assert_array_equal(outputs.log_evidence, rows_of_zeros.log_evidence)
    np.testing.assert_array_equal(result.statistics.weight, zeros.statistics.weight)
    denormal, _ = run(X, params, request, sample_weight=np.full(200, 1e-310))
    np.testing.assert_allclose(denormal.total_weight, 2e-308, rtol=1e-12)
    np.testing.assert_allclose(denormal.log_evidence, 1e-310 * result.log_evidence, rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_distances_that_overflow(run, dtype):
    """A row so far out that no log-joint is finite is possible nowhere."""
    largest = np.finfo(dtype).max
    X = np.array([[0.0], [largest / 2], [1.0]], dtype=dtype)
    result, outputs = run(X, line([0.0, 0.0]), Request(moments="spherical", entropy=True))
    assert outputs.log_evidence[1] == -np.inf
    assert np.all(np.isfinite(outputs.log_evidence[[0, 2]]))
    if dtype == np.float64:  # a backend may compute float32 rows in float64
        assert result.log_evidence == -np.inf
        assert outputs.entropy[1] == 0
