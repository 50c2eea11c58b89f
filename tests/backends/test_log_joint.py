"""The log-joint of every row and component as an output of a pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vbfast.config.settings import config_context
from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request, RowOutputs
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import SlicedRows, as_row_source

pytestmark = pytest.mark.kernels


def log_joint_of(source, params, request=None):
    result = np.full((source.n_samples, params.n_components), np.nan, source.dtype)
    run_pass(source, params, request or Request(), outputs=RowOutputs(log_joint=result))
    return result


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_is_the_formula(backend, dense_oracle, sized_problem, dtype, covariance_type):
    params, X = sized_problem(dtype, covariance_type)
    expected = dense_oracle(X, params, Request()).log_joint
    tolerance = 1e-12 if dtype == np.float64 or backend == "reference" else 1e-4
    source = as_row_source(X)
    for request in (Request(), Request(moments=MOMENTS_OF[covariance_type], entropy=True)):
        result = log_joint_of(source, params, request)
        rtol = max(tolerance, np.finfo(dtype).eps)
        np.testing.assert_allclose(result, expected, rtol=rtol, atol=10 * rtol)


def test_without_possibility(backend, random_params, sample, rng):
    params = random_params(rng, "diag", 3, 2)
    params = replace(params, offset=np.array([0.0, -np.inf, 1.0]))
    result = log_joint_of(as_row_source(sample(rng, params, 20)), params)
    assert np.all(result[:, 1] == -np.inf)
    assert np.isfinite(result[:, [0, 2]]).all()


def test_bits_do_not_depend_on_threads_or_storage(backend, random_params, sample, rng):
    params = random_params(rng, "full", 5, 4)
    X = sample(rng, params, 3000)
    with config_context(num_threads=1):
        expected = log_joint_of(as_row_source(X), params)
    with config_context(num_threads=3):
        np.testing.assert_array_equal(log_joint_of(SlicedRows(X), params), expected)


def test_goes_with_posterior_passes_only(backend, random_params, sample, rng):
    params = random_params(rng, "diag", 3, 2)
    with pytest.raises(ValueError, match="log_joint does not go with assignment 'hard'"):
        log_joint_of(as_row_source(sample(rng, params, 5)), params, Request("hard"))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_features", [24, 40, 63])
def test_what_far_components_leave_out_changes_no_bit(backend, run, rng, dtype, n_features):
    """Their squares are summed to the end only where the log-joint itself is wanted."""
    n_components = 30
    scale = 10.0 ** rng.uniform(-2.0, 1.0, n_components)
    factors = np.linalg.cholesky(
        np.eye(n_features) + 0.3 * np.ones((n_features, n_features))
    ).T.copy()
    params = LogJoint.quadratic(
        "full",
        -n_features * np.log(scale),
        rng.normal(size=(n_components, n_features)),
        factors / scale[:, np.newaxis, np.newaxis],
    )
    params.offset[4] = -np.inf
    params.form.centres[5] += 1e4 * scale[5]  # far from the origin
    component = rng.integers(n_components, size=700)
    X = params.form.centres[component] + scale[component, np.newaxis] * rng.normal(
        size=(700, n_features)
    )
    X = X[np.argsort(scale[component])].astype(dtype)
    request = Request(moments="full", entropy=True)
    log_joint = log_joint_of(as_row_source(X), params, request)
    far = log_joint < log_joint.max(axis=1, keepdims=True) - 2000
    assert 0.3 < far.mean() < 0.9

    result, outputs = run(X, params, request)
    whole_outputs = replace(outputs, log_joint=np.empty_like(log_joint), **{
        name: np.empty_like(getattr(outputs, name))
        for name in ("log_evidence", "labels", "resp", "entropy", "expected_log_joint")
    })  # fmt: skip
    whole = run_pass(as_row_source(X), params, request, outputs=whole_outputs)
    for name in ("log_evidence", "labels", "resp", "entropy", "expected_log_joint"):
        np.testing.assert_array_equal(getattr(outputs, name), getattr(whole_outputs, name))
    for name in ("log_evidence", "expected_log_joint", "entropy", "kl"):
        assert getattr(result, name) == getattr(whole, name)
    for name in ("weight", "first", "second"):
        np.testing.assert_array_equal(
            getattr(result.statistics, name), getattr(whole.statistics, name)
        )
