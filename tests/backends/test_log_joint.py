"""The log-joint of every row and component as an output of a pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vbfast.engine.config import config_context
from vbfast.engine.contract import COVARIANCE_TYPES, Request, RowOutputs
from vbfast.engine.engine import run_pass
from vbfast.engine.rows import SlicedRows, as_row_source

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
    for request in (Request(), Request(statistics=covariance_type, entropy=True)):
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
