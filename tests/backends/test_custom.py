"""Passes over custom components: as a Gaussian's, where they are Gaussian."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.config.settings import config_context
from vbfast.contract import LogJoint, NonFiniteRowError, Request, UserFunction
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import SlicedRows, as_row_source

pytest.importorskip("numba")

DTYPES = (np.float64, np.float32)
TERMS = ("total_weight", "log_evidence", "expected_log_joint", "entropy", "kl")
OUTPUTS = ("log_evidence", "resp", "entropy", "expected_log_joint")


@pytest.fixture(scope="session")
def as_custom(diagonal_gaussian):
    """A function that writes parameters of type 'diag' as a custom family."""

    def convert(params):
        theta = np.column_stack(
            [params.form.centres, params.form.precision_cholesky, np.zeros(params.n_components)]
        )
        return LogJoint(
            params.offset,
            UserFunction(
                diagonal_gaussian.log_density,
                diagonal_gaussian.sufficient_statistics,
                params.n_components,
                params.n_features,
                2 * params.n_features,
                theta,
            ),
        )

    return convert


@pytest.fixture(params=["posterior", "hard", "given", "labels"])
def problem(request, rng, random_params, sample):
    """A function of the dtype: rows, parameters, a request, and weights and responsibilities."""

    def make(dtype, n_samples=3001, n_components=7, n_features=5):
        params = random_params(rng, "diag", n_components, n_features)
        X = sample(rng, params, n_samples, dtype)
        weights = rng.uniform(0, 2, n_samples)
        weights[::5] = 0
        arguments = {"sample_weight": weights}
        if request.param == "given":
            arguments["resp"] = rng.dirichlet(np.ones(n_components), n_samples)
        elif request.param == "labels":
            arguments["resp"] = rng.integers(-1, n_components, n_samples)
        kind = "given" if "resp" in arguments else request.param
        return X, params, kind, arguments

    return make


def about_zero(statistics):
    """Weight, sums of x and sums of x**2, from statistics about centres."""
    N, c = statistics.weight[:, np.newaxis], statistics.centres
    first = statistics.first + N * c
    second = statistics.second + 2 * c * statistics.first + N * c**2
    return np.hstack([first, second])


@pytest.mark.parametrize("dtype", DTYPES)
def test_diagonal_gaussians(run, problem, as_custom, dtype):
    X, params, kind, arguments = problem(dtype)
    expected, expected_rows = run(X, params, Request(kind, "diag", entropy=True), **arguments)
    request = Request(kind, "first", entropy=True)
    actual, actual_rows = run(X, as_custom(params), request, **arguments)
    rtol = 1e-12 if dtype == np.float64 else 2e-5
    for name in TERMS:
        value = getattr(expected, name)
        assert abs(getattr(actual, name) - value) <= rtol * max(len(X), abs(value)), name
    for name in OUTPUTS:
        value = getattr(expected_rows, name)
        np.testing.assert_allclose(
            getattr(actual_rows, name), value, rtol=10 * rtol, atol=10 * rtol
        )
    if dtype == np.float64:
        np.testing.assert_array_equal(actual_rows.labels, expected_rows.labels)
        np.testing.assert_allclose(actual.statistics.weight, expected.statistics.weight, rtol=1e-11)
        sums = about_zero(expected.statistics)
        scale = np.abs(sums).max()
        np.testing.assert_allclose(actual.statistics.first, sums, rtol=0, atol=1e-11 * scale)
    assert actual.statistics.second is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits(run, problem, as_custom, assert_same_bits, dtype):
    X, params, kind, arguments = problem(dtype)
    custom = as_custom(params)
    request = Request(kind, "first", entropy=True)
    with config_context(num_threads=1):
        expected = run(X, custom, request, **arguments)
    for num_threads in (2, 5):
        with config_context(num_threads=num_threads):
            assert_same_bits(run(X, custom, request, **arguments), expected)
    for stored in (np.asfortranarray(X), SlicedRows(X), X[::-1].copy()[::-1]):
        assert_same_bits(run(stored, custom, request, **arguments), expected)


def test_the_backend_in_use_does_not_matter(run, problem, as_custom, assert_same_bits):
    X, params, kind, arguments = problem(np.float64)
    expected = run(X, as_custom(params), Request(kind, "first"), **arguments)
    with config_context(backend="reference"):
        assert_same_bits(run(X, as_custom(params), Request(kind, "first"), **arguments), expected)


def test_threads_that_share_components(run, as_custom, assert_same_bits, rng):
    K, D = 5000, 60
    offset, means = rng.normal(size=K), rng.normal(size=(K, D))
    params = LogJoint.quadratic("diag", offset, means, np.ones((K, D)))
    X = rng.normal(size=(200, D))
    labels = rng.integers(K, size=200)
    for request, arguments in (
        (Request(moments="first"), {}),
        (Request("given", "first"), {"resp": labels}),
    ):
        results = []
        for num_threads in (1, 3):
            with config_context(num_threads=num_threads):
                results.append(run(X, as_custom(params), request, **arguments))
        assert_same_bits(*results)
        expected = run(X, params, Request(request.assignment, "diag"), **arguments)[0].statistics
        np.testing.assert_allclose(results[0][0].statistics.weight, expected.weight, atol=1e-12)


def test_a_bad_row_is_named(as_custom, random_params, rng):
    params = as_custom(random_params(rng, "diag", 3, 2))
    X = rng.normal(size=(4000, 2))
    X[[1777, 3999], 1] = np.nan
    with pytest.raises(NonFiniteRowError, match="row 1777 "):
        run_pass(as_row_source(X), params, Request())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("bad", "name"), [(np.nan, "nan"), (np.inf, "inf")])
def test_a_density_that_is_no_number(as_custom, random_params, rng, dtype, bad, name):
    """The constant of one component's density is what is bad."""
    params = as_custom(random_params(rng, "diag", 3, 2))
    params.form.theta[1, -1] = bad
    rows = np.ones((4000, 2))
    pattern = (
        rf"log_density \(log_density\) returned {name} for row 0, x = \[1. 1.\], under "
        "component 1; it must return a finite number, or -inf"
    )
    with config_context(num_threads=1), pytest.raises(ValueError, match=pattern):
        run_pass(as_row_source(rows.astype(dtype)), params, Request())


def test_a_component_of_no_weight_is_not_evaluated(run, as_custom, random_params, rng):
    params = random_params(rng, "diag", 3, 2)
    params.offset[1] = -np.inf
    custom = as_custom(params)
    custom.form.theta[1] = np.nan
    result, outputs = run(rng.normal(size=(100, 2)), custom, Request(moments="first"))
    np.testing.assert_array_equal(outputs.resp[:, 1], 0)
    assert result.statistics.weight[1] == 0
