"""The linear form, offset + x . theta, on every backend that evaluates it.

Rows meet theta in a matrix product, so that an error is measured by the sum of the magnitudes of
its terms, of which rounding takes an epsilon each.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from vbfast.backends import get_backend
from vbfast.backends.native.blocking import blocking as native_blocking
from vbfast.config.settings import config_context
from vbfast.contract import (
    Linear,
    LogJoint,
    NonFiniteRowError,
    Request,
    RowBlock,
    RowOutputs,
    StudentT,
    merge,
)
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

DTYPES = (np.float64, np.float32)
MOMENTS = ("first", "diag", "spherical", "pooled", "full")
ASSIGNMENTS = ("posterior", "hard", "given", "labels")
STATISTICS_TOLERANCE = {np.float64: 1e-12, np.float32: 3e-5}
# Rows, components and features: single ones, whole and broken groups of lanes and blocks of
# components and of features.
SHAPES = [
    (1, 1, 1),
    (1, 5, 3),
    (7, 3, 2),
    (64, 6, 16),
    (130, 70, 5),
    (333, 13, 64),
    (257, 7, 65),
    (90, 6, 200),
    (2333, 8, 37),
    (700, 300, 9),
]

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("linear_backend")]

all_dtypes = pytest.mark.parametrize("dtype", DTYPES)
all_assignments = pytest.mark.parametrize("assignment", ASSIGNMENTS)
all_moments = pytest.mark.parametrize("moments", MOMENTS)


@pytest.fixture
def responsibilities(rng):
    """A function that draws what a request of an assignment is given, if anything."""

    def draw(assignment, n_samples, n_components):
        if assignment == "given":
            return rng.dirichlet(np.full(n_components, 0.5), n_samples)
        return rng.integers(-1, n_components, n_samples) if assignment == "labels" else None

    return draw


def request_of(assignment, moments=None, *, entropy=True):
    return Request("given" if assignment == "labels" else assignment, moments, entropy)


@all_dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_and_sums(run_all, dense_oracle, linear_problem, rounding, dtype, shape):
    X, params, weights = linear_problem(dtype, *shape)
    expected = dense_oracle(X, params, Request())
    result, outputs = run_all(X, params, Request(entropy=True), sample_weight=weights)
    eps = np.finfo(dtype).eps
    bound = rounding(X, params)
    assert np.all(np.abs(outputs.log_joint - expected.log_joint) <= bound)
    of_row = bound.max(axis=1) + 4 * eps * np.maximum(1.0, np.abs(expected.log_evidence))
    assert np.all(np.abs(outputs.log_evidence - expected.log_evidence) <= of_row)
    # Responsibilities are off by as much, relative to themselves, and what they multiply with them.
    error = np.abs(outputs.resp - expected.resp)
    assert np.all(error <= (2 * of_row[:, np.newaxis] + 8 * eps) * expected.resp)
    spread = np.ptp(expected.log_joint, axis=1) + 1.0
    for name in ("entropy", "expected_log_joint"):
        error = np.abs(getattr(outputs, name) - getattr(expected, name))
        assert np.all(error <= 4 * of_row * spread), name
        total = (weights * getattr(expected, name)).sum()
        tolerance = (weights * 4 * of_row * spread).sum() + 1e-12
        assert abs(getattr(result, name) - total) <= tolerance, name
    assert abs(result.log_evidence - (weights * expected.log_evidence).sum()) <= (
        (weights * of_row).sum() + 1e-12
    )
    assert result.total_weight == pytest.approx(weights.sum(), rel=1e-13)
    clear = np.ones(len(X), bool)
    if params.n_components > 1:
        clear = np.diff(np.sort(expected.log_joint, axis=1)[:, -2:], axis=1)[:, 0] > 2 * of_row
    np.testing.assert_array_equal(outputs.labels[clear], expected.labels[clear])
    assert clear.mean() > 0.9
    slopes = expected.resp @ params.form.theta
    size = np.abs(params.form.theta).max() * (4 * of_row[:, np.newaxis] + shape[1] * eps)
    assert np.all(np.abs(outputs.gradient - slopes) <= size)


@all_dtypes
def test_log_joints_in_sixty_digits(
    run_all, exact_log_joint, exact_log_sum_exp, linear_problem, rounding, dtype
):
    X, params, _ = linear_problem(dtype, 12, 5, 33)
    _, outputs = run_all(X, params, Request())
    bounds = rounding(X, params)
    for n, row in enumerate(exact_log_joint(X, params)):
        for actual, exact, bound in zip(outputs.log_joint[n], row, bounds[n], strict=True):
            assert abs(float(actual) - float(exact)) <= bound
        evidence = float(exact_log_sum_exp(row))
        error = abs(float(outputs.log_evidence[n]) - evidence)
        assert error <= bounds[n].max() + 4 * np.finfo(dtype).eps * max(1.0, abs(evidence))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    moments=st.sampled_from(MOMENTS),
    assignment=st.sampled_from(ASSIGNMENTS),
    dtype=st.sampled_from(DTYPES),
    n_samples=st.integers(1, 300),
    n_components=st.integers(1, 40),
    n_features=st.integers(1, 70),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_statistics_of_any_shape(
    dense_oracle,
    assert_statistics_close,
    moments,
    assignment,
    dtype,
    n_samples,
    n_components,
    n_features,
    weighted,
    seed,
):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)).astype(dtype)
    theta = rng.normal(size=(n_components, n_features))
    params = LogJoint(rng.normal(size=n_components), Linear(theta))
    weights = np.resize([0.0, 1.0, 2.5, 1e-3], n_samples) if weighted else None
    resp = None
    if assignment == "given":
        resp = rng.dirichlet(np.ones(n_components), n_samples)
    elif assignment == "labels":
        resp = rng.integers(-1, n_components, n_samples)
    request = request_of(assignment, moments)
    expected = dense_oracle(X, params, request, sample_weight=weights, resp=resp)
    if assignment == "hard" and dtype == np.float32 and n_components > 1:
        best = np.sort(expected.log_joint, axis=1)[:, -2:]
        clear = np.diff(best, axis=1)[:, 0] >= 1e-3
        assume(clear.any())
        X, weights = X[clear], None if weights is None else weights[clear]
        expected = dense_oracle(X, params, request, sample_weight=weights)
    result = run_pass(as_row_source(X), params, request, sample_weight=weights, resp=resp)
    tolerance = STATISTICS_TOLERANCE[dtype] * max(1.0, np.abs(expected.log_joint).max() / 10)
    assert_statistics_close(result.statistics, params, moments, expected, tolerance)


@all_dtypes
@all_assignments
@all_moments
def test_zero_weights_and_identities(
    run, linear_problem, responsibilities, assert_statistics_close, dtype, assignment, moments
):
    X, params, weights = linear_problem(dtype)
    resp = responsibilities(assignment, len(X), 7)
    request = request_of(assignment, moments)
    result, outputs = run(X, params, request, sample_weight=weights, resp=resp)
    _, unweighted = run(X, params, request, resp=resp)
    for name in ("log_evidence", "labels", "resp", "entropy", "expected_log_joint"):
        np.testing.assert_array_equal(getattr(outputs, name), getattr(unweighted, name), name)
    kept = weights > 0
    resp_kept = None if resp is None else resp[kept]
    alone, _ = run(X[kept], params, request, sample_weight=weights[kept], resp=resp_kept)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    terms = ("total_weight", "log_evidence", "expected_log_joint", "entropy", "kl")
    size = np.abs([getattr(result, name) for name in terms]).sum()
    for name in terms:
        assert getattr(result, name) == pytest.approx(getattr(alone, name), abs=rtol * size)
    assert_statistics_close(result.statistics, params, moments, alone.statistics, rtol)
    if assignment != "labels":  # a row without a component has evidence, and nothing else
        gap = result.log_evidence - result.expected_log_joint - result.entropy - result.kl
        assert abs(gap) <= rtol * size
    assert result.kl >= 0
    assert np.all(outputs.entropy >= 0)


@all_moments
def test_integer_weights_are_repeated_rows(linear_problem, rng, assert_statistics_close, moments):
    X, params, _ = linear_problem(np.float64, 400)
    repeats = rng.integers(0, 4, size=400)
    request = Request(moments=moments)
    weighted = run_pass(as_row_source(X), params, request, sample_weight=repeats.astype(float))
    repeated = run_pass(as_row_source(np.repeat(X, repeats, axis=0)), params, request)
    assert weighted.total_weight == repeated.total_weight
    np.testing.assert_allclose(weighted.log_evidence, repeated.log_evidence, rtol=1e-12)
    assert_statistics_close(weighted.statistics, params, moments, repeated.statistics, 1e-12)


@all_dtypes
def test_the_gradient_is_the_slope_of_the_evidence(run_all, linear_problem, dtype):
    X, params, _ = linear_problem(dtype, 40, 6, 4)
    _, outputs = run_all(X, params, Request())
    step = 1e-5
    rows = X.astype(np.float64)
    for d, direction in enumerate(step * np.eye(4)):
        above, below = (run_all(rows + sign * direction, params, Request())[1] for sign in (1, -1))
        slope = (above.log_evidence - below.log_evidence) / (2 * step)
        np.testing.assert_allclose(outputs.gradient[:, d], slope, atol=1e-6)


@all_dtypes
def test_ties_go_to_the_first_component(run, rng, dtype):
    X = rng.normal(size=(300, 2)).astype(dtype)
    params = LogJoint(np.array([-1.0, 0.0, 0.0]), Linear(np.ones((3, 2))))
    result, outputs = run(X, params, Request("hard", "first"))
    np.testing.assert_array_equal(outputs.labels, 1)
    np.testing.assert_array_equal(result.statistics.weight, [0, 300, 0])


# Layouts, threads and partitions.

LAYOUTS = {
    "fortran": np.asfortranarray,
    "backwards": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "uneven": lambda X: np.concatenate([X, X[:, :3]], axis=1)[:, : X.shape[1]],
}


@all_dtypes
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_strides_change_no_bit(run, linear_problem, assert_same_bits, dtype, layout):
    X, params, weights = linear_problem(dtype, 1001, 9, 19)
    request = Request(moments="full", entropy=True)
    expected = run(X, params, request, sample_weight=weights)
    strided = layout(X)
    assert strided.strides != X.strides
    assert_same_bits(run(strided, params, request, sample_weight=weights), expected)


@all_dtypes
@all_assignments
@pytest.mark.parametrize("shape", [(3001, 7, 5), (600, 600, 40)], ids=["partitions", "components"])
def test_threads_change_no_bit(
    run, linear_problem, responsibilities, assert_same_bits, dtype, assignment, shape
):
    X, params, weights = linear_problem(dtype, *shape)
    resp = responsibilities(assignment, *shape[:2])
    split = native_blocking(*np.array(shape)[[0, 2, 1]].tolist(), np.dtype(dtype), "full")
    assert split.split_components == (shape[1] == 600)
    request = request_of(assignment, "full")
    with config_context(num_threads=1):
        expected = run(X, params, request, sample_weight=weights, resp=resp)
    for num_threads in (2, 3):
        with config_context(num_threads=num_threads):
            again = run(X, params, request, sample_weight=weights, resp=resp)
        assert_same_bits(again, expected)


@all_dtypes
@all_moments
def test_parts_of_the_rows_add_up(linear_problem, assert_statistics_close, dtype, moments):
    X, params, weights = linear_problem(dtype)
    request = Request(moments=moments, entropy=True)

    def pass_over(rows):
        return run_pass(as_row_source(X[rows]), params, request, sample_weight=weights[rows])

    whole = pass_over(slice(None))
    bounds = [0, 1, 700, 701, 2400, len(X)]
    parts = merge(pass_over(slice(*pair)) for pair in itertools.pairwise(bounds))
    rtol = 1e-12 if dtype == np.float64 else 1e-6
    for name in ("total_weight", "log_evidence", "expected_log_joint", "entropy"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=rtol)
    assert parts.lowest_log_evidence == pytest.approx(whole.lowest_log_evidence, rel=rtol)
    assert_statistics_close(parts.statistics, params, moments, whole.statistics, 10 * rtol)


@all_dtypes
@all_moments
@all_assignments
def test_a_pass_over_no_rows(linear_backend, linear_problem, dtype, moments, assignment):
    _, params, _ = linear_problem(dtype, 5)
    backend, dtype = get_backend(linear_backend), np.dtype(dtype)
    blocking = backend.blocking(5, 5, 7, dtype, moments)
    running = backend.begin(
        params,
        request_of(assignment, moments),
        blocking,
        outputs=RowOutputs(),
        workspace=backend.workspace(),
        num_threads=2,
    )
    resp = None
    if assignment in ("given", "labels"):
        resp = np.empty((0, 7), dtype) if assignment == "given" else np.empty(0, np.int64)
    running.run([], 2)
    running.run([RowBlock(0, np.empty((0, 5), dtype), np.empty(0), resp)], 2)
    result = running.finish()
    assert result.total_weight == 0
    for name in ("weight", "first", "second"):
        values = getattr(result.statistics, name)
        assert values is None or not values.any()


@all_dtypes
def test_rows_that_are_not_finite_are_named(linear_problem, dtype):
    X, params, weights = linear_problem(dtype, 300)
    for row, value in ((0, np.nan), (131, np.inf), (299, -np.inf)):
        broken = X.copy()
        broken[row, row % 5] = value
        with pytest.raises(NonFiniteRowError) as caught:
            run_pass(as_row_source(broken), params, Request(), sample_weight=weights)
        assert caught.value.row == row


# What is the native backend's alone.


def test_rounding_does_not_grow_with_the_number_of_features(linear_backend, run_all):
    """A sum in one chain is off by 500 epsilons here: every addition rounds to the same side."""
    if linear_backend != "native":
        pytest.skip("a bound of the kernels'")
    X = np.ones((3, 8000), np.float32)
    params = LogJoint(np.zeros(2), Linear(np.full((2, 8000), float(np.float32(0.1)))))
    _, outputs = run_all(X, params, Request())
    exact = 8000 * params.form.theta[0, 0]
    bound = (64 + 8000 / 64) / 2 * np.finfo(np.float32).eps
    assert np.all(np.abs(outputs.log_joint - exact) <= bound * exact)


def test_no_backend_has_the_form_under_another_link(linear_backend):
    params = LogJoint(np.zeros(2), Linear(np.ones((2, 3))), StudentT(np.ones(2)))
    assert not get_backend(linear_backend).evaluates(params)
