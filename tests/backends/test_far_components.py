"""Components that are far from each other: each has the digits that its own rows allow.

The oracle is the contract in float64, on differences that it rounds once. Rows and means are given
in units of a standard deviation, and so far apart that nothing but differences has digits.
"""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request, RowOutputs
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("backend")]

all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)

# Where components are, along a line; the upper median of either sign is near or far.
PLACES = {
    "one of two": [0.0, 1.0],
    "one of many": [0.0, 1e-8, -2e-8, 1.0],
    "most": [0.0, 1.0, 2.0, 3.0, -1.0],
    "decades": [0.0, 1e-7, 1e-5, -1e-3, 0.1, 1.0],
}
DISTANCES = [(np.float32, 1e8), (np.float64, 1e14), (np.float64, 1e9)]


def exact_gradient(X, params, resp):
    X = X.astype(np.float64)
    result = np.zeros_like(X)
    for k in range(params.n_components):
        P = params.form.precision_cholesky
        P = P if params.form.factor_type == "tied" else P[k]
        P = P * np.eye(X.shape[1]) if np.ndim(P) < 2 else P
        rows = resp[:, k] > 0
        result[rows] += resp[rows, k, np.newaxis] * ((params.form.centres[k] - X[rows]) @ P @ P.T)
    return result


@pytest.fixture
def problem(rng, random_params):
    """A function that makes a model, rows near each of its components, and their weights."""

    def make(covariance_type, places, dtype, distance, sign=1.0, n_features=3):
        places = np.asarray(places, float)
        params = random_params(rng, covariance_type, len(places), n_features, spread=2.0)
        params.form.centres[:] += sign * distance * np.outer(places, [1.0, -0.5, 1.0][:n_features])
        component = np.repeat(np.arange(len(places)), 60)
        noise = rng.normal(size=(len(component), n_features))
        X = (params.form.centres[component] + noise).astype(dtype)
        order = rng.permutation(len(X))
        weights = rng.integers(0, 3, len(X)) * rng.uniform(0.5, 1.5, len(X))
        return params, X[order], weights

    return make


def assert_statistics(actual, expected, tolerance):
    np.testing.assert_allclose(actual.weight, expected.weight, rtol=tolerance, atol=tolerance)
    for name in ("first", "second"):
        wanted = getattr(expected, name)
        # Of each component, to what its own squares sum to.
        axes = tuple(range(1, wanted.ndim))
        size = np.abs(wanted).max(axis=axes, keepdims=True) if axes else np.abs(wanted)
        error = np.abs(getattr(actual, name) - wanted)
        assert np.all(error <= 20 * tolerance * (size + 1.0)), name


@all_types
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("dtype", "distance"), DISTANCES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_posterior(run, dense_oracle, problem, covariance_type, places, dtype, distance, sign):
    params, X, weights = problem(covariance_type, places, dtype, distance, sign)
    request = Request(moments=MOMENTS_OF[covariance_type], entropy=True)
    result, outputs = run(X, params, request, sample_weight=weights)
    expected = dense_oracle(X, params, request, sample_weight=weights)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for name in ("log_evidence", "expected_log_joint"):
        np.testing.assert_allclose(
            getattr(outputs, name), getattr(expected, name), rtol=tolerance, atol=tolerance
        )
        total = np.sum(weights * getattr(expected, name))
        np.testing.assert_allclose(getattr(result, name), total, rtol=10 * tolerance)
    for name in ("resp", "entropy"):
        np.testing.assert_allclose(
            getattr(outputs, name), getattr(expected, name), atol=50 * tolerance
        )
    np.testing.assert_array_equal(outputs.labels, expected.labels)
    assert_statistics(result.statistics, expected, 10 * tolerance)


@all_types
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("dtype", "distance"), DISTANCES)
def test_log_joint_and_gradient(dense_oracle, problem, covariance_type, places, dtype, distance):
    params, X, weights = problem(covariance_type, places, dtype, distance)
    outputs = RowOutputs(
        log_joint=np.empty((len(X), len(places)), dtype), gradient=np.empty_like(X)
    )
    run_pass(as_row_source(X), params, Request(), sample_weight=weights, outputs=outputs)
    expected = dense_oracle(X, params, Request())
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(
        outputs.log_joint, expected.log_joint, rtol=tolerance, atol=tolerance
    )
    gradient = exact_gradient(X, params, expected.resp)
    size = np.abs(gradient).max(axis=1, keepdims=True)
    assert np.all(np.abs(outputs.gradient - gradient) <= 50 * tolerance * (size + 1.0))


@all_types
@pytest.mark.parametrize("assignment", ["hard", "given", "labels"])
@pytest.mark.parametrize(("dtype", "distance"), DISTANCES)
@pytest.mark.parametrize("possible", [True, False])
def test_rows_of_one_component(
    run, dense_oracle, problem, covariance_type, assignment, dtype, distance, possible
):
    params, X, weights = problem(covariance_type, PLACES["most"], dtype, distance)
    nearest = dense_oracle(X, params, Request("hard")).labels
    given = {"hard": None, "labels": nearest, "given": np.eye(5, dtype=dtype)[nearest]}[assignment]
    if given is not None and not possible:
        params.offset[3] = -np.inf  # what is given need not be possible
    request = Request("hard" if assignment == "hard" else "given", MOMENTS_OF[covariance_type])
    result, outputs = run(X, params, request, sample_weight=weights, resp=given)
    expected = dense_oracle(X, params, request, sample_weight=weights, resp=given)
    np.testing.assert_array_equal(outputs.resp.argmax(axis=1), nearest)
    assert_statistics(result.statistics, expected, 1e-5 if dtype == np.float32 else 1e-13)


@all_types
def test_many_components(run, dense_oracle, problem, rng, covariance_type):
    places = rng.uniform(-1.0, 1.0, 70) ** 3
    params, X, weights = problem(covariance_type, places, np.float32, 1e8)
    request = Request(moments=MOMENTS_OF[covariance_type])
    result, outputs = run(X, params, request, sample_weight=weights)
    expected = dense_oracle(X, params, request, sample_weight=weights)
    np.testing.assert_allclose(outputs.log_evidence, expected.log_evidence, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(outputs.resp, expected.resp, atol=1e-3)
    assert_statistics(result.statistics, expected, 1e-4)


@all_types
def test_what_is_far_does_not_change_what_is_near(run, problem, covariance_type):
    """But for the point near them that rows are taken from, which is amid all components."""
    params, X, _ = problem(covariance_type, [0.0, 0.0, 0.0, 1.0, -1.0], np.float32, 1e8)
    without = LogJoint.quadratic(
        covariance_type,
        params.offset[:3],
        params.form.centres[:3],
        params.form.precision_cholesky
        if covariance_type == "tied"
        else params.form.precision_cholesky[:3],
    )
    X = X[np.abs(X).max(axis=1) < 1e3]
    _, beside = run(X, params, Request())
    _, alone = run(X, without, Request())
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(beside.log_evidence, alone.log_evidence, rtol=4 * eps, atol=40 * eps)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@all_types
def test_a_row_whose_square_overflows_leaves_the_others_alone(
    run, random_params, sample, rng, covariance_type, dtype
):
    """It belongs to a broad component; the squares of its distance to the others overflow."""
    params = random_params(rng, covariance_type, 4, 3)
    far = np.finfo(dtype).max ** 0.6
    if covariance_type != "tied":
        params.form.precision_cholesky[3] /= far
        params.offset[3] = -50.0
    X = sample(rng, params, 200, dtype)
    X[37] = far
    kept = np.arange(200) != 37
    # With a tied factor it is near to no component.
    weights = np.where(kept, 1.0, 0.0 if covariance_type == "tied" else 1.0)
    request = Request(moments=MOMENTS_OF[covariance_type])
    result, outputs = run(X, params, request, sample_weight=weights)
    without, rows = run(X[kept], params, request)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(outputs.log_evidence[kept], rows.log_evidence, rtol=tolerance)
    for name in ("weight", "first", "second"):
        ours, theirs = (getattr(one.statistics, name) for one in (result, without))
        if covariance_type != "tied":
            ours, theirs = ours[:3], theirs[:3]
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=300 * tolerance)


def overflowing(covariance_type, dtype):
    """A model of three components and rows that are too far for its log-joints."""
    size = 1e20 if dtype == np.float32 else 1e200
    scales = np.array([1.0, 0.25, 4.0])
    P = {
        "full": scales[:, np.newaxis, np.newaxis] * np.array([[1.0, 0.5], [0.0, 1.0]]),
        "tied": np.array([[1.0, 0.5], [0.0, 1.0]]),
        "diag": scales[:, np.newaxis] * np.array([1.0, 2.0]),
        "spherical": scales,
    }[covariance_type]
    means = 0.25 * size * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    X = size * np.array([[4.0, 0.0], [-3.0, 1.0], [0.5, 5.0], [-4.0, -4.0], [0.0, 3.0]])
    return LogJoint.quadratic(covariance_type, np.array([0.0, -1.0, 2.0]), means, P), X.astype(
        dtype
    )


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_too_far_for_any_log_joint(run, exact_log_joint, covariance_type, dtype):
    params, X = overflowing(covariance_type, dtype)
    result, outputs = run(X, params, Request(moments=MOMENTS_OF[covariance_type], entropy=True))
    nearest = [int(np.argmax(row)) for row in exact_log_joint(X, params)]
    np.testing.assert_array_equal(outputs.resp, np.eye(3)[nearest])
    np.testing.assert_array_equal(outputs.labels, nearest)
    if dtype == np.float64:  # a backend may compute float32 rows in float64
        assert result.log_evidence == -np.inf
    assert outputs.log_evidence.dtype == dtype
    np.testing.assert_array_equal(outputs.log_evidence, -np.inf)
    np.testing.assert_array_equal(outputs.entropy, 0.0)
    _, hard = run(X, params, Request("hard"))
    np.testing.assert_array_equal(hard.labels, nearest)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@all_types
def test_components_that_are_equally_far_share_a_row(run, covariance_type, dtype):
    params, X = overflowing(covariance_type, dtype)
    X = X[[4, 3, 1]]
    P = params.form.precision_cholesky
    same = LogJoint.quadratic(
        covariance_type,
        np.zeros(4),
        params.form.centres[[0, 0, 0, 1]],
        P if covariance_type == "tied" else P[[0, 0, 2, 0]],
    )
    same.offset[3] = -np.inf
    _, outputs = run(X, same, Request())
    shared = 1 / 3 if covariance_type == "tied" else 1 / 2
    expected = [[shared, shared, 1 / 3 if covariance_type == "tied" else 0.0, 0.0]] * 3
    np.testing.assert_allclose(outputs.resp, expected, rtol=1e-6)
    np.testing.assert_array_equal(outputs.labels, 0)
    if dtype == np.float64:  # a backend may compute float32 rows in float64
        np.testing.assert_array_equal(outputs.entropy, 0.0)


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_components_whose_means_are_lost_in_a_row(run, covariance_type, dtype):
    """Of one covariance; along the row the second is ahead, and the third is the second again."""
    size = 1e20 if dtype == np.float32 else 1e200
    P = {
        "full": np.tile(np.array([[1.0, 0.5], [0.0, 1.0]]), (3, 1, 1)),
        "tied": np.array([[1.0, 0.5], [0.0, 1.0]]),
        "diag": np.ones((3, 2)),
        "spherical": np.ones(3),
    }[covariance_type]
    means = np.array([[-1.0, 0.5], [0.25, 0.5], [0.25, 0.5]])
    params = LogJoint.quadratic(covariance_type, np.log([0.5, 0.2, 0.3]), means, P)
    X = np.array([[size, 0.0], [-size, 0.0]], dtype)
    _, outputs = run(X, params, Request())
    np.testing.assert_allclose(outputs.resp, [[0.0, 0.4, 0.6], [1.0, 0.0, 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(outputs.labels, [2, 0])


def test_largest_numbers(run):
    """The difference of a row and a mean may overflow, too."""
    largest = np.finfo(np.float64).max
    params = LogJoint.quadratic(
        "full",
        np.zeros(2),
        np.array([[-largest, 0.0], [0.0, largest]]),
        np.tile(np.eye(2), (2, 1, 1)),
    )
    X = np.array([[largest, 0.0], [largest, largest], [-largest, largest / 2]])
    _, outputs = run(X, params, Request())
    np.testing.assert_array_equal(outputs.resp, [[0, 1], [0, 1], [1, 0]])
    np.testing.assert_array_equal(outputs.log_evidence, -np.inf)
    X = np.vstack([X, params.form.centres])  # rows that components count for beside them
    gradient = np.full_like(X, np.nan)
    run_pass(as_row_source(X), params, Request(), outputs=RowOutputs(gradient=gradient))
    np.testing.assert_array_equal(gradient[:3], 0.0)


@pytest.mark.parametrize("power", [66, -66, 100, -100])
@all_types
def test_float32_factors_whose_squares_overflow(run, rng, dense_oracle, covariance_type, power):
    """Deviations of 1e-20 or 1e20, of 1e-30 or 1e30, and rows alike; float32 has neither square."""
    scale = 2.0**power
    params, X = overflowing(covariance_type, np.float32)
    size = np.abs(params.form.centres).max()
    params.form.centres[:] = params.form.centres / size / scale
    params.form.precision_cholesky[:] *= scale
    X = (X / (4 * size) / scale).astype(np.float32)
    request = Request(moments=MOMENTS_OF[covariance_type], entropy=True)
    _, outputs = run(X, params, request)
    expected = dense_oracle(X, params, request)
    np.testing.assert_allclose(outputs.log_evidence, expected.log_evidence, rtol=1e-5)
    np.testing.assert_allclose(outputs.resp, expected.resp, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("apart", [0.0, 0.25])
@all_types
def test_distances_are_scaled_before_they_are_squared(
    run, exact_log_joint, covariance_type, apart, dtype
):
    """Their squares overflow, but not those of distances in standard deviations."""
    size = 1e20 if dtype == np.float32 else 1e160
    scales = 1.0 / np.array([1.0, 1e4, 1e9])
    P = {
        "full": scales[:, np.newaxis, np.newaxis] * np.array([[1.0, 0.5], [0.0, 1.0]]),
        "tied": scales[2] * np.array([[1.0, 0.5], [0.0, 1.0]]),
        "diag": scales[:, np.newaxis] * np.array([1.0, 2.0]),
        "spherical": scales,
    }[covariance_type]
    means = np.array([[0.0, 1.0], [2.0, 0.0], [apart * size, 0.0]])
    params = LogJoint.quadratic(covariance_type, np.log([0.5, 0.3, 0.2]), means, P)
    X = size * np.array([[1.0, 0.0], [-2.0, 3.0], [0.0, 0.5], [0.0, 0.0]])
    X = X[np.arange(50) % 4].astype(dtype)
    log_joint = np.empty((len(X), 3), dtype)
    run_pass(as_row_source(X), params, Request(), outputs=RowOutputs(log_joint=log_joint))
    exact = np.array(exact_log_joint(X, params))
    beyond = exact < -float(np.finfo(dtype).max)
    with np.errstate(over="ignore"):
        expected = np.where(beyond, -np.inf, exact).astype(dtype)
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(log_joint, expected, rtol=tolerance)
    assert not beyond[:, 2].any()
    assert covariance_type == "tied" or beyond[0, 0]
    _, outputs = run(X, params, Request(moments=MOMENTS_OF[covariance_type]))
    np.testing.assert_allclose(outputs.log_evidence, expected.max(axis=1), rtol=tolerance, atol=1.0)
    np.testing.assert_array_equal(outputs.labels, expected.argmax(axis=1))
    _, hard = run(X, params, Request("hard"))
    np.testing.assert_array_equal(hard.labels, outputs.labels)


SCALES = {np.float32: 3e17, np.float64: 1e150}


@pytest.mark.parametrize("dtype", SCALES)
@all_types
def test_rows_of_any_size_count_as_they_are(run, dense_oracle, rng, covariance_type, dtype):
    """Squares near the end of the range, of a component that is near the shift."""
    scale = SCALES[dtype]
    P = {
        "full": np.eye(2)[np.newaxis],
        "tied": np.eye(2),
        "diag": np.ones((1, 2)),
        "spherical": np.ones(1),
    }[covariance_type]
    params = LogJoint.quadratic(covariance_type, np.zeros(1), np.zeros((1, 2)), P / scale)
    X = (scale * rng.normal(size=(3000, 2))).astype(dtype)
    request = Request(moments=MOMENTS_OF[covariance_type])
    result, outputs = run(X, params, request)
    expected = dense_oracle(X, params, request)
    np.testing.assert_allclose(outputs.log_evidence, expected.log_evidence, rtol=1e-5)
    tolerance = 1e-6 if dtype == np.float32 else 1e-13
    # Products of two features cancel: an epsilon of the squares is left.
    np.testing.assert_allclose(
        result.statistics.second,
        expected.second,
        rtol=tolerance,
        atol=np.finfo(np.float64).eps * expected.second.max(),
    )
    np.testing.assert_allclose(
        result.statistics.first, expected.first, atol=tolerance * 3e3 * scale
    )


@pytest.mark.parametrize("dtype", SCALES)
@all_types
def test_a_heavy_row_of_a_broad_component_leaves_the_others_alone(
    run, dense_oracle, covariance_type, dtype
):
    """Its square overflows once it is multiplied by its weight, which is an ordinary one."""
    far = 3e18 if dtype == np.float32 else 1e147
    scales = np.array([1.0, 1.0, 0.3 / far])
    P = {
        "full": scales[:, np.newaxis, np.newaxis] * np.eye(2),
        "tied": np.eye(2),
        "diag": scales[:, np.newaxis] * np.ones(2),
        "spherical": scales,
    }[covariance_type]
    means = np.array([[0.0, 0.0], [1.0, 0.0], [far, 0.0]])
    params = LogJoint.quadratic(covariance_type, np.array([0.0, 0.0, -500.0]), means, P)
    X = np.array([[0.0, 0.0], [0.5, 1.0], [1.0, 1.0], [2.0 * far, far]], dtype)
    weights = np.array([1.0, 1.0, 1.0, 0.0 if covariance_type == "tied" else 1.0]) * 1e6
    request = Request(moments=MOMENTS_OF[covariance_type])
    result, _ = run(X, params, request, sample_weight=weights)
    expected = dense_oracle(X, params, request, sample_weight=weights)
    kept = slice(None) if covariance_type == "tied" else slice(2)
    for name in ("weight", "first", "second"):
        np.testing.assert_allclose(
            getattr(result.statistics, name)[kept], getattr(expected, name)[kept], rtol=1e-5
        )
    np.testing.assert_allclose(result.statistics.first, expected.first, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@all_types
def test_a_difference_that_overflows_is_a_distance(run, covariance_type, dtype):
    """Whatever it is multiplied by, and whether it is the row or the mean that is beyond."""
    largest = float(np.finfo(dtype).max)
    P = {
        "full": np.tile(np.array([[1.0, -2.0], [0.0, 1.0]]), (3, 1, 1)),
        "tied": np.array([[1.0, -2.0], [0.0, 1.0]]),
        "diag": np.ones((3, 2)),
        "spherical": np.ones(3),
    }[covariance_type]
    beyond = 10.0 * largest if dtype == np.float32 else largest
    means = np.array([[largest, 0.0], [0.0, 0.0], [-beyond, -beyond]])
    params = LogJoint.quadratic(covariance_type, np.zeros(3), means, P)
    X = np.array([[0.0, 0.0], [largest, 0.0]], dtype)
    log_joint = np.full((2, 3), np.nan, dtype)
    gradient = np.full((2, 2), np.nan, dtype)
    run_pass(
        as_row_source(X),
        params,
        Request(),
        outputs=RowOutputs(log_joint=log_joint, gradient=gradient),
    )
    expected = [[-np.inf, 0.0, -np.inf], [0.0, -np.inf, -np.inf]]
    np.testing.assert_array_equal(log_joint, expected)
    np.testing.assert_array_equal(gradient, 0.0)
    _, outputs = run(X, params, Request(entropy=True))
    np.testing.assert_array_equal(outputs.resp, [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(outputs.log_evidence, 0.0)
    for request, resp in ((Request("hard"), None), (Request("given"), np.array([1, 0]))):
        _, outputs = run(X, params, request, resp=resp)
        np.testing.assert_array_equal(outputs.labels, [1, 0])
        np.testing.assert_array_equal(outputs.expected_log_joint, 0.0)


@all_types
@pytest.mark.parametrize("assignment", ["hard", "given", "labels"])
def test_outputs_do_not_change_what_rows_count_for(run, covariance_type, assignment):
    params, X = overflowing(covariance_type, np.float64)
    labels = run(X, params, Request("hard"))[1].labels
    resp = {"hard": None, "labels": labels, "given": np.full((len(X), 3), 1 / 3)}[assignment]
    request = Request("hard" if assignment == "hard" else "given", "first")
    result, _ = run(X, params, request, resp=resp)
    alone = run_pass(as_row_source(X), params, request, resp=resp)
    q = resp if assignment == "given" else np.eye(3)[labels]
    for statistics in (result.statistics, alone.statistics):
        np.testing.assert_allclose(statistics.weight, q.sum(axis=0))
        first = np.einsum("nk,nkd->kd", q, X[:, np.newaxis] - params.form.centres)
        np.testing.assert_allclose(statistics.first, first, rtol=1e-12, atol=1e186)


@pytest.mark.parametrize("outputs", [("gradient",), ("gradient", "resp", "entropy")])
def test_rows_too_far_for_any_log_joint_have_no_gradient(outputs):
    params, X = overflowing("diag", np.float64)
    shapes = {"gradient": X.shape, "resp": (len(X), 3), "entropy": (len(X),)}
    filled = RowOutputs(**{name: np.full(shapes[name], np.nan) for name in outputs})
    run_pass(as_row_source(X), params, Request(entropy=True), outputs=filled)
    np.testing.assert_array_equal(filled.gradient, 0.0)


def test_a_spherical_component_as_broad_as_the_range_allows(run):
    params = LogJoint.quadratic("spherical", np.zeros(1), np.zeros((1, 2)), np.array([1e-18]))
    _, outputs = run(np.array([[2e19, 0.0]], np.float32), params, Request())
    np.testing.assert_allclose(outputs.log_evidence, -200.0, rtol=1e-6)
