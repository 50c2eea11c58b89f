"""The linear form at its edges: infinite offsets, rows far out, and what overflows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vbfast.contract import Linear, LogJoint, Request

DTYPES = (np.float64, np.float32)
MOMENTS = ("first", "diag", "spherical", "pooled", "full")

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("linear_backend")]

all_dtypes = pytest.mark.parametrize("dtype", DTYPES)
all_moments = pytest.mark.parametrize("moments", MOMENTS)


@all_dtypes
def test_a_component_at_minus_infinity_does_not_exist(run_all, linear_problem, dtype):
    X, params, _ = linear_problem(dtype, 200, 4, 3)
    params.offset[1] = -np.inf
    request = Request(moments="diag", entropy=True)
    result, outputs = run_all(X, params, request)
    without, rows = run_all(X, params.select(np.array([0, 2, 3])), request)
    rtol = 1e-13 if dtype == np.float64 else 1e-5
    for name in ("log_evidence", "entropy", "expected_log_joint", "gradient"):
        np.testing.assert_allclose(
            getattr(outputs, name), getattr(rows, name), rtol=rtol, atol=rtol, err_msg=name
        )
    np.testing.assert_allclose(result.log_evidence, without.log_evidence, rtol=rtol)
    np.testing.assert_array_equal(outputs.resp[:, 1], 0)
    np.testing.assert_array_equal(outputs.log_joint[:, 1], -np.inf)
    for name in ("weight", "first", "second"):
        np.testing.assert_array_equal(getattr(result.statistics, name)[1], 0)


@all_dtypes
def test_no_component_at_all(run_all, linear_problem, dtype):
    X, params, _ = linear_problem(dtype, 100, 3, 2)
    params.offset[:] = -np.inf
    result, outputs = run_all(X, params, Request(moments="full", entropy=True))
    assert result.log_evidence == result.expected_log_joint == -np.inf
    assert result.entropy == result.kl == 0
    np.testing.assert_array_equal(outputs.log_evidence, -np.inf)
    for values in (outputs.resp, outputs.labels, outputs.entropy, outputs.gradient):
        np.testing.assert_array_equal(values, 0)
    for name in ("weight", "first", "second"):
        np.testing.assert_array_equal(getattr(result.statistics, name), 0)


@all_dtypes
def test_components_at_infinity_share_the_rows(run, linear_problem, dtype):
    X, params, _ = linear_problem(dtype, 100, 4, 2)
    params.offset[:] = [0.0, np.inf, -np.inf, np.inf]
    result, outputs = run(X, params, Request(moments="first", entropy=True))
    assert result.log_evidence == np.inf
    np.testing.assert_array_equal(outputs.resp, [[0, 0.5, 0, 0.5]] * len(X))
    np.testing.assert_array_equal(outputs.labels, 1)
    np.testing.assert_array_equal(result.statistics.weight, [0, 50, 0, 50])


@all_dtypes
@all_moments
@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e12])
def test_rows_of_any_size(
    run_all, dense_oracle, linear_problem, assert_statistics_close, dtype, moments, scale
):
    """Theta falls as the rows grow: log-joints and responsibilities stay what they are."""
    X, params, weights = linear_problem(dtype, 500, 5, 6, scale)
    request = Request(moments=moments, entropy=True)
    result, outputs = run_all(X, params, request, sample_weight=weights)
    expected = dense_oracle(X, params, request, sample_weight=weights)
    tolerance = 1e-13 if dtype == np.float64 else 1e-5
    for name in ("log_joint", "resp", "log_evidence", "entropy"):
        np.testing.assert_allclose(
            getattr(outputs, name), getattr(expected, name), rtol=0, atol=20 * tolerance
        )
    np.testing.assert_allclose(
        outputs.gradient, expected.resp @ params.form.theta, rtol=0, atol=20 * tolerance / scale
    )
    for name, power in (("weight", 0), ("first", 1), ("second", 2)):
        wanted, actual = getattr(expected, name), getattr(result.statistics, name)
        if wanted is not None:
            np.testing.assert_allclose(
                actual, wanted, rtol=0, atol=20 * tolerance * len(X) * scale**power
            )
    assert_statistics_close(result.statistics, params, moments, expected, 20 * tolerance)


@all_dtypes
def test_log_joints_far_from_zero(run_all, exact_log_joint, linear_problem, rounding, dtype):
    X, params, _ = linear_problem(dtype, 20, 4, 9)
    far = replace(params, form=Linear(1e6 * params.form.theta))
    _, outputs = run_all(X, far, Request())
    bounds = rounding(X, far)
    for n, row in enumerate(exact_log_joint(X, far)):
        assert np.all(np.abs(outputs.log_joint[n] - np.array(row, float)) <= bounds[n])


@all_dtypes
def test_terms_that_overflow_may_have_a_sum(run_all, dtype):
    big = float(np.sqrt(np.finfo(dtype).max)) * 2.0
    X = np.array([[0, 0, 1], [big, big, 1], [big, -big, 1]], dtype)
    theta = np.array([[big, -big, 2.0], [-big, big, 3.0], [-big, -big, 0.0], [0.0, 0.0, 1.0]])
    params = LogJoint(np.array([0.0, -1.0, -np.inf, 0.5]), Linear(theta))
    result, outputs = run_all(X, params, Request(moments="first", entropy=True))
    np.testing.assert_array_equal(outputs.log_joint[:2, [0, 1, 3]], [[2.0, 2.0, 1.5]] * 2)
    np.testing.assert_array_equal(outputs.log_joint[:, 2], -np.inf)
    np.testing.assert_array_equal(outputs.log_joint[2], [np.inf, -np.inf, -np.inf, 1.5])
    np.testing.assert_allclose(outputs.resp[0], outputs.resp[1], rtol=1e-6)
    np.testing.assert_array_equal(outputs.resp[2], [1, 0, 0, 0])
    np.testing.assert_array_equal(outputs.labels, 0)
    np.testing.assert_array_equal(np.isposinf(outputs.log_evidence), [False, False, True])
    if dtype == np.float64:  # a backend may compute float32 rows in float64
        assert result.log_evidence == np.inf


@all_dtypes
def test_rows_that_overflow_have_the_limit(run_all, dtype):
    """Where every log-joint is beyond the dtype, the largest one takes the row, ties by offset."""
    big = float(np.finfo(dtype).max) / 4
    theta = -np.array([[8.0, 4.0], [8.0, 2.0], [16.0, 2.0], [8.0, 2.0], [1.0, 1.0]]) * 1e3
    offset = np.log([0.3, 0.1, 0.3, 0.3, 0.0], where=[1, 1, 1, 1, 0], out=np.full(5, -np.inf))
    params = LogJoint(offset, Linear(theta))
    X = np.array([[1, 1], [big, big], [0, big], [0, 0]], dtype)
    result, outputs = run_all(X, params, Request(moments="first", entropy=True))
    np.testing.assert_array_equal(outputs.log_evidence[[1, 2]], -np.inf)
    np.testing.assert_array_equal(outputs.log_joint[[1, 2]], -np.inf)
    np.testing.assert_allclose(outputs.resp[1], [0, 0.25, 0, 0.75, 0], atol=1e-6)
    ties = [0, 1 / 7, 3 / 7, 3 / 7, 0]
    np.testing.assert_allclose(outputs.resp[2], ties, atol=1e-6)
    np.testing.assert_array_equal(outputs.labels, [3, 3, 2, 0])
    assert np.all(np.isfinite(outputs.log_evidence[[0, 3]]))
    _, hard = run_all(X, params, Request("hard"))
    np.testing.assert_array_equal(hard.labels, outputs.labels)
    if dtype == np.float64:  # a backend may compute float32 rows in float64
        assert result.log_evidence == -np.inf
        np.testing.assert_array_equal(outputs.gradient[[1, 2]], 0)
        assert result.statistics.weight.sum() == 2.0
