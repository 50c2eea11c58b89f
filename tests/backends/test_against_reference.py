"""Every output and statistic of the compiled kernels against plain NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vbfast.config.settings import config_context
from vbfast.contract import (
    COVARIANCE_TYPES,
    LogJoint,
    NonFiniteRowError,
    Request,
    RowOutputs,
)
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass, run_seeding
from vbfast.passes.rows import as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("compiled_backend")]

TERMS = ("total_weight", "log_evidence", "expected_log_joint", "entropy", "kl")
OUTPUTS = ("log_evidence", "resp", "entropy", "expected_log_joint", "gradient")
# Of the largest magnitude of each quantity. Components are far apart on the scale of 1e4 standard
# deviations, which single precision resolves to 1e-3 of one.
TOLERANCE = {(np.float64, 1.0): 1e-11, (np.float32, 1.0): 1e-3, (np.float64, 1e4): 1e-10}


def random_params(rng, covariance_type, n_components, n_features, spread=1.0):
    def factor():
        upper = np.triu(0.3 * rng.normal(size=(n_features, n_features)), 1)
        return upper + np.diag(rng.uniform(0.5, 1.5, n_features))

    shape = {"diag": (n_components, n_features), "spherical": n_components}
    if covariance_type == "full":
        precision_cholesky = np.array([factor() for _ in range(n_components)])
    elif covariance_type == "tied":
        precision_cholesky = factor()
    else:
        precision_cholesky = rng.uniform(0.5, 1.5, shape[covariance_type])
    offset = rng.normal(size=n_components)
    if n_components > 2:
        offset[0] = -np.inf
    means = spread * rng.normal(size=(n_components, n_features))
    return LogJoint.quadratic(covariance_type, offset, means, precision_cholesky)


def outputs_for(rows, n_components, assignment):
    n_samples, dtype = len(rows), rows.dtype
    return RowOutputs(
        np.empty(n_samples, dtype),
        np.empty(n_samples, np.int64),
        np.empty((n_samples, n_components), dtype),
        np.empty(n_samples, dtype),
        np.empty(n_samples, dtype),
        np.empty(rows.shape, dtype) if assignment == "posterior" else None,
    )


def run_both(rows, params, request, **arguments):
    results = []
    for backend in ("reference", None):  # None is the one that the fixture set
        outputs = outputs_for(rows, params.n_components, request.assignment)
        with config_context(backend=backend):
            result = run_pass(as_row_source(rows), params, request, outputs=outputs, **arguments)
        results.append((result, outputs))
    return results


def assert_close(actual, expected, tolerance, name):
    actual, expected = np.asarray(actual, float), np.asarray(expected, float)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite], err_msg=name)
    scale = max(1.0, np.abs(expected[finite]).max(initial=0.0))
    np.testing.assert_allclose(
        actual[finite], expected[finite], rtol=0, atol=tolerance * scale, err_msg=name
    )


def check(rows, params, request, tolerance, **arguments):
    (expected, rows_expected), (actual, rows_actual) = run_both(rows, params, request, **arguments)
    for name in TERMS:
        assert_close(getattr(actual, name), getattr(expected, name), tolerance, name)
    for name in OUTPUTS:
        if getattr(rows_expected, name) is not None:
            assert_close(getattr(rows_actual, name), getattr(rows_expected, name), tolerance, name)
    if rows.dtype == np.float64:
        np.testing.assert_array_equal(rows_actual.labels, rows_expected.labels)
    if request.moments is None:
        assert actual.statistics is None
        return
    for name in ("weight", "first", "second"):
        value = getattr(expected.statistics, name)
        if value is None:
            assert getattr(actual.statistics, name) is None
        else:
            assert_close(getattr(actual.statistics, name), value, tolerance, name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize(
    ("n_samples", "n_components", "n_features"),
    [(1, 1, 1), (5, 3, 2), (300, 7, 5), (1000, 13, 16), (700, 9, 33), (333, 5, 63), (600, 6, 130)],
)
@pytest.mark.parametrize("assignment", ["posterior", "hard", "given", "labels"])
def test_all_outputs(dtype, covariance_type, n_samples, n_components, n_features, assignment):
    rng = np.random.default_rng(n_samples)
    params = random_params(rng, covariance_type, n_components, n_features)
    component = rng.integers(n_components, size=n_samples)
    rows = (params.form.centres[component] + rng.normal(size=(n_samples, n_features))).astype(dtype)
    weights = rng.uniform(0, 2, n_samples)
    weights[1::7] = 0.0
    resp = None
    if assignment == "given":
        resp = rng.dirichlet(np.ones(n_components), n_samples).astype(dtype)
    elif assignment == "labels":
        resp = np.where(rng.random(n_samples) < 0.1, -1, component)
    check(
        rows,
        params,
        Request(
            "given" if resp is not None else assignment, MOMENTS_OF[covariance_type], entropy=True
        ),
        TOLERANCE[dtype, 1.0],
        sample_weight=weights,
        resp=resp,
    )


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_components_far_from_each_other(covariance_type):
    rng = np.random.default_rng(3)
    params = random_params(rng, covariance_type, 5, 6, spread=1e4)
    rows = params.form.centres[rng.integers(5, size=500)] + rng.normal(size=(500, 6))
    check(rows, params, Request(moments=MOMENTS_OF[covariance_type], entropy=True), 1e-10)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    covariance_type=st.sampled_from(COVARIANCE_TYPES),
    n_samples=st.integers(1, 300),
    n_components=st.integers(1, 40),
    n_features=st.integers(1, 40),
    layout=st.sampled_from(["C", "F", "every other", "reversed", "unaligned"]),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_shapes_strides_and_weights(
    covariance_type, n_samples, n_components, n_features, layout, weighted, seed
):
    rng = np.random.default_rng(seed)
    params = random_params(rng, covariance_type, n_components, n_features)
    values = rng.normal(size=(n_samples, n_features))
    if layout == "F":
        rows = np.asfortranarray(values)
    elif layout == "every other":
        rows = np.repeat(np.repeat(values, 2, axis=0), 3, axis=1)[::2, ::3]
    elif layout == "reversed":
        rows = values[::-1, ::-1].copy()[::-1, ::-1]
    elif layout == "unaligned":
        raw = np.zeros((n_samples, 8 * n_features + 3), dtype=np.uint8)
        raw[:, 1:-2] = values.view(np.uint8).reshape(n_samples, -1)
        rows = np.lib.stride_tricks.as_strided(
            raw[0, 1:9].view(np.float64), values.shape, (raw.strides[0], 8)
        )
    else:
        rows = values
    np.testing.assert_array_equal(rows, values)
    weights = rng.uniform(0, 1, n_samples) if weighted else None
    request = Request(moments=MOMENTS_OF[covariance_type], entropy=True)
    check(rows, params, request, 1e-11, sample_weight=weights)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_same_bits_for_any_number_of_threads(dtype, covariance_type):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(9000, 9)).astype(dtype)
    params = random_params(rng, covariance_type, 11, 9)
    results = []
    for num_threads in (1, 2, 3, 5):
        with config_context(num_threads=num_threads):
            results.append(
                run_pass(
                    as_row_source(rows),
                    params,
                    Request(moments=MOMENTS_OF[covariance_type], entropy=True),
                )
            )
    for result in results[1:]:
        assert result.log_evidence == results[0].log_evidence
        assert result.entropy == results[0].entropy
        for name in ("weight", "first", "second"):
            np.testing.assert_array_equal(
                getattr(result.statistics, name), getattr(results[0].statistics, name)
            )


def test_a_model_too_large_for_one_partial_statistic_a_partition():
    rng = np.random.default_rng(2)
    params = random_params(rng, "full", 400, 40)
    rows = rng.normal(size=(700, 40))
    check(rows, params, Request(moments="full", entropy=True), 1e-11)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_infinite_log_joints(dtype):
    means = np.array([[0.0], [1.0], [2.0]])
    rows = np.linspace(-1, 1, 70, dtype=dtype)[:, np.newaxis]
    for offset in ([-np.inf] * 3, [np.inf, 0, np.inf], [-np.inf, 0, -np.inf]):
        params = LogJoint.quadratic("spherical", np.array(offset, float), means, np.ones(3))
        check(rows, params, Request(moments="spherical", entropy=True), 1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 1, 63, 64, 255, 256, 998, 999])
def test_the_first_row_that_is_not_finite(bad, row):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(1000, 3))
    rows[row, 1] = bad
    rows[999, 2] = bad
    params = random_params(rng, "full", 4, 3)
    with pytest.raises(NonFiniteRowError) as caught:
        run_pass(as_row_source(rows), params, Request(moments="full"))
    assert caught.value.row == row


def test_denormal_rows_and_weights():
    rng = np.random.default_rng(5)
    rows = 1e-310 * rng.normal(size=(100, 4))
    params = random_params(rng, "diag", 3, 4)
    weights = np.full(100, 1e-310)
    check(rows, params, Request(moments="diag", entropy=True), 1e-11)
    check(rows, params, Request(moments="diag", entropy=True), 1e-11, sample_weight=weights)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_seeding(dtype):
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(2000, 5)).astype(dtype)
    weights = rng.uniform(size=2000)
    candidates = rng.normal(size=(9, 5))
    results = []
    for backend in ("reference", None):
        closest = np.full(2000, np.inf, dtype=dtype)
        lowered = np.empty((9, 2000), dtype=dtype)
        with config_context(backend=backend):
            source = as_row_source(rows)
            first = run_seeding(
                source, candidates[:1], closest, sample_weight=weights, lowered=lowered[:1]
            )
            others = run_seeding(
                source, candidates, lowered[0].copy(), sample_weight=weights, lowered=lowered
            )
        results.append((first, others, lowered))
    for actual, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12 if dtype == np.float64 else 1e-5)
