"""The terms of the bound: entropy, expected log-joint, KL, and the identities between them."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request, RowOutputs
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("backend")]

DTYPES = (np.float64, np.float32)
ASSIGNMENTS = ("posterior", "hard", "given", "labels")
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}


@pytest.fixture(params=ASSIGNMENTS)
def assignment(request):
    return request.param


@pytest.fixture
def problem(rng, random_params, sample, assignment):
    """A function of dtype and covariance type: rows, parameters, a request and its
    responsibilities."""

    def make(dtype, covariance_type, n_samples=700, n_components=6, n_features=5):
        params = random_params(rng, covariance_type, n_components, n_features, spread=2.0)
        X = sample(rng, params, n_samples, dtype)
        resp = None
        if assignment == "given":
            resp = rng.dirichlet(np.full(n_components, 0.5), n_samples)
            resp[::5] = np.eye(n_components)[0]
        elif assignment == "labels":
            resp = rng.integers(n_components, size=n_samples)
        kind = "given" if resp is not None else assignment
        return X, params, Request(kind, MOMENTS_OF[covariance_type], entropy=True), resp

    return make


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_terms_and_row_outputs(run, dense_oracle, problem, dtype, covariance_type):
    X, params, request, resp = problem(dtype, covariance_type)
    result, outputs = run(X, params, request, resp=resp)
    expected = dense_oracle(X, params, request, resp=resp)
    for name in ("log_evidence", "expected_log_joint", "entropy", "kl"):
        value = getattr(expected, name)
        scale = np.maximum(1.0, np.abs(value))
        tolerance = TOLERANCE[dtype]
        total = getattr(result, name)
        assert abs(total - value.sum()) <= 4 * tolerance * scale.sum(), name
        if name != "kl":
            error = np.abs(getattr(outputs, name) - value)
            assert np.all(error <= 16 * tolerance * scale), name
    np.testing.assert_allclose(outputs.resp, expected.resp, atol=16 * TOLERANCE[dtype])
    if dtype == np.float64:
        np.testing.assert_array_equal(outputs.labels, expected.labels)
    assert result.total_weight == len(X)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_identities_and_signs(run, rng, problem, dtype, covariance_type):
    X, params, request, resp = problem(dtype, covariance_type)
    weights = rng.uniform(0, 3, len(X))
    result, outputs = run(X, params, request, resp=resp, sample_weight=weights)
    elbo = result.expected_log_joint + result.entropy
    terms = (result.log_evidence, result.expected_log_joint, result.entropy, result.kl)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    assert abs(result.log_evidence - elbo - result.kl) <= tolerance * max(1, np.abs(terms).sum())
    assert result.kl >= 0
    assert np.all(outputs.entropy >= 0)
    if request.assignment == "posterior":
        assert result.kl <= tolerance * max(1, np.abs(terms).sum())


def test_only_what_is_asked_for_is_returned(problem):
    X, params, request, resp = problem(np.float64, "diag")
    result = run_pass(as_row_source(X), params, Request(request.assignment), resp=resp)
    posterior = request.assignment == "posterior"
    assert np.isnan(result.entropy)
    assert np.isnan(result.kl)
    assert np.isnan(result.log_evidence) == (not posterior)
    assert np.isnan(result.expected_log_joint) == posterior
    assert result.statistics is None


@pytest.mark.parametrize(
    "name", ["log_evidence", "labels", "resp", "entropy", "expected_log_joint"]
)
def test_an_output_alone_has_the_same_values(run, problem, name):
    X, params, request, resp = problem(np.float64, "full")
    _, every = run(X, params, request, resp=resp)
    one = np.zeros_like(getattr(every, name))
    outputs = RowOutputs(**{name: one})
    run_pass(as_row_source(X), params, Request(request.assignment), resp=resp, outputs=outputs)
    np.testing.assert_allclose(one, getattr(every, name), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_zero_weight_fill_outputs_and_no_sum(run, problem, dtype):
    X, params, request, resp = problem(dtype, "full")
    weights = np.ones(len(X))
    weights[1::3] = 0.0
    kept = weights > 0
    result, outputs = run(X, params, request, resp=resp, sample_weight=weights)
    _, unweighted = run(X, params, request, resp=resp)
    for name in ("log_evidence", "labels", "resp", "entropy", "expected_log_joint"):
        np.testing.assert_array_equal(getattr(outputs, name), getattr(unweighted, name), name)
    alone, _ = run(X[kept], params, request, resp=None if resp is None else resp[kept])
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    for name in ("total_weight", "log_evidence", "expected_log_joint", "entropy"):
        np.testing.assert_allclose(getattr(result, name), getattr(alone, name), rtol=rtol)
    for name in ("weight", "first", "second"):
        value = getattr(alone.statistics, name)
        np.testing.assert_allclose(
            getattr(result.statistics, name), value, rtol=0, atol=rtol * np.abs(value).max()
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("by_label", [False, True])
def test_bad_responsibilities_of_zero_weight_are_skipped(
    run, rng, random_params, sample, dtype, covariance_type, by_label
):
    params = random_params(rng, covariance_type, 4, 3)
    X = sample(rng, params, 500, dtype)
    resp = rng.integers(4, size=500) if by_label else rng.dirichlet(np.ones(4), 500)
    weights = rng.uniform(0.5, 2.0, 500)
    weights[::3] = 0.0
    kept = weights > 0
    request = Request("given", MOMENTS_OF[covariance_type], entropy=True)
    well, _ = run(X, params, request, resp=resp, sample_weight=weights)
    resp[~kept] = 4 if by_label else np.nan
    result, outputs = run(X, params, request, resp=resp, sample_weight=weights)
    for name in ("total_weight", "log_evidence", "expected_log_joint", "entropy", "kl"):
        assert getattr(result, name) == getattr(well, name), name
    for name in ("weight", "first", "second"):
        np.testing.assert_array_equal(
            getattr(result.statistics, name), getattr(well.statistics, name), name
        )
    np.testing.assert_array_equal(outputs.resp[~kept], 0)
    resp[7] = resp[0]
    with pytest.raises(ValueError, match=r"resp .*; row 7 has"):
        run(X, params, request, resp=resp, sample_weight=weights)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_without_a_component_count_nowhere(run, rng, random_params, sample, dtype):
    params = random_params(rng, "diag", 4, 3)
    X = sample(rng, params, 500, dtype)
    labels = rng.integers(-1, 4, size=500)
    held = labels >= 0
    request = Request("given", "diag", entropy=True)
    result, outputs = run(X, params, request, resp=labels)
    alone, _ = run(X[held], params, request, resp=labels[held])
    np.testing.assert_array_equal(outputs.resp.sum(axis=1), held)
    np.testing.assert_array_equal(outputs.expected_log_joint[~held], 0)
    np.testing.assert_array_equal(result.statistics.weight, alone.statistics.weight)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(result.expected_log_joint, alone.expected_log_joint, rtol=rtol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_hard_ties_go_to_the_first_component(run, rng, dtype):
    X = rng.normal(size=(300, 2)).astype(dtype)
    centre = np.zeros((3, 2))
    params = LogJoint.quadratic("spherical", np.array([-1.0, 0.0, 0.0]), centre, np.ones(3))
    result, outputs = run(X, params, Request("hard", "first"))
    np.testing.assert_array_equal(outputs.labels, 1)
    np.testing.assert_array_equal(result.statistics.weight, [0, 300, 0])
