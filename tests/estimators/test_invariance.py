"""Fits do not depend on the origin, on signs or power-of-two scales, nor on what is far away.

Rows lie on a grid on which a translation is exact, so that the fit of the moved rows has to be the
moved fit, whatever the arithmetic is: nothing but rounding may differ.
"""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture
from vbfast.contract import COVARIANCE_TYPES

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.usefixtures("backend"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
estimators = pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture])
STARTS = ("kmeans", "k-means++", "random_from_data", "random", "labels")
# From responsibilities that are nearly alike iterations amplify what rounding makes of them, and
# where a component starts with a single row log-joints are -1e7, of which float32 has one nat.
DTYPES_AND_STARTS = [
    (dtype, start)
    for dtype in (np.float64, np.float32)
    for start in STARTS
    if dtype == np.float64 or start in ("kmeans", "labels")
]


@pytest.fixture(params=["native", "numba", "reference"])
def backend(request):
    if request.param == "numba":
        pytest.importorskip("numba")
    with vbfast.config_context(backend=request.param):
        yield request.param


@pytest.fixture
def rows(rng):
    """A function of a grid: two clusters, and a row that is far from both."""

    def make(grid, n_rows=120):
        X = rng.normal(size=(n_rows, 2)) * [1.0, 0.5] + 6.0 * rng.integers(2, size=(n_rows, 1))
        X[17] = [40.0, -30.0]
        return np.round(X / grid) * grid

    return make


def labels_of(X):
    """One component for the row that is far, one for each cluster."""
    labels = (X[:, 0] > 3.0).astype(np.int64)
    labels[17] = 2
    return labels


def fit(estimator, X, covariance_type, init_params, **arguments):
    if isinstance(init_params, str) and init_params == "labels":
        init_params = arguments.pop("labels")
    else:
        arguments.pop("labels", None)
    mixture = estimator(
        3,
        covariance_type=covariance_type,
        init_params=init_params,
        random_state=0,
        max_iter=15,
        tol=0.0,
        **arguments,
    )
    return mixture.fit(X)


def assert_moved(actual, expected, shift, *, bounds, covariances):
    ours, theirs = np.array(actual.lower_bounds_), np.array(expected.lower_bounds_)
    np.testing.assert_allclose(ours, theirs, rtol=bounds, atol=bounds)
    scale = np.abs(expected.covariances_).reshape(len(expected.covariances_), -1).max(axis=1)
    scale = scale.reshape(-1, *(1,) * (expected.covariances_.ndim - 1))
    error = np.abs(actual.covariances_.astype(float) - expected.covariances_)
    assert np.all(error <= covariances * scale)
    deviation = float(np.sqrt(scale.min()))
    rounding = 2 * np.finfo(actual.means_.dtype).eps * np.abs(shift).max()
    np.testing.assert_allclose(
        actual.means_.astype(float) - shift,
        expected.means_,
        atol=10 * covariances * deviation + rounding,
        rtol=1e-6,
    )


@all_types
@estimators
@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("shift", [1e3, -1e6])
def test_float64_does_not_depend_on_the_origin(
    rows, estimator, covariance_type, init_params, shift
):
    X = rows(2.0**-24)
    shift = np.round(np.array([shift, -0.7 * shift]) * 2.0**20) / 2.0**20
    moved = X + shift
    assert np.array_equal(moved - shift, X)
    here = fit(estimator, X, covariance_type, init_params, labels=labels_of(X))
    there = fit(estimator, moved, covariance_type, init_params, labels=labels_of(X))
    assert_moved(there, here, shift, bounds=1e-8, covariances=1e-6)


@all_types
@estimators
@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("shift", [1e2, -1e4])
def test_float32_follows_float64_far_from_the_origin(
    rows, estimator, covariance_type, init_params, shift
):
    shift = np.round(np.array([shift, -0.7 * shift]))
    X = rows(2.0**-7)
    moved = (X + shift).astype(np.float32)
    assert np.array_equal(moved.astype(float) - shift, X)
    if init_params == "random":  # uniform variates are rounded to the dtype of the rows
        random = np.random.default_rng(0).dirichlet(np.ones(3), size=len(X))
        init_params = (0.3 * random + 0.7 * np.eye(3)[labels_of(X)]).astype(np.float32)
    arguments = {"labels": labels_of(X)}
    if isinstance(init_params, str) and init_params == "random_from_data":
        # Where components start with one row, log-joints are as large as rows are far apart in
        # units of it, and a row amid two such components falls to either by float32's digits.
        arguments["reg_covar"] = 1e-3
    here = fit(estimator, X, covariance_type, init_params, **arguments)
    there = fit(estimator, moved, covariance_type, init_params, **arguments)
    assert there.means_.dtype == np.float32
    per_row = 1e-3 if estimator is GaussianMixture else 1e-3 * len(X)
    ours, theirs = np.array(there.lower_bounds_), np.array(here.lower_bounds_)
    rounding = 4 * np.finfo(np.float32).eps * np.abs(theirs)
    assert np.all(np.abs(ours - theirs) <= np.maximum(per_row, rounding))
    assert_moved(there, here, shift, bounds=per_row, covariances=1e-3)


@all_types
def test_priors_taken_from_the_data_move_with_them(rows, covariance_type):
    X = rows(2.0**-24)
    here, there = (
        fit(BayesianGaussianMixture, Y, covariance_type, "kmeans") for Y in (X, X + 2.0**20)
    )
    np.testing.assert_allclose(there.mean_prior_ - 2.0**20, here.mean_prior_, atol=1e-9)
    np.testing.assert_allclose(there.covariance_prior_, here.covariance_prior_, rtol=1e-9)


@all_types
@estimators
@pytest.mark.parametrize(("dtype", "init_params"), DTYPES_AND_STARTS)
def test_signs(rows, estimator, covariance_type, dtype, init_params):
    X = rows(2.0**-7).astype(dtype)
    sign = np.array([-1, 1], dtype)
    here, there = (
        fit(estimator, Y, covariance_type, init_params, labels=labels_of(X)) for Y in (X, X * sign)
    )
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(there.lower_bounds_, here.lower_bounds_, rtol=tolerance)
    np.testing.assert_allclose(
        there.means_ * sign, here.means_, rtol=tolerance, atol=10 * tolerance
    )


@all_types
@pytest.mark.parametrize(("dtype", "init_params"), DTYPES_AND_STARTS)
@pytest.mark.parametrize("power", [-20, 17])
def test_powers_of_two(rows, covariance_type, dtype, init_params, power):
    X = rows(2.0**-7).astype(dtype)
    scale = dtype(2.0) ** power
    here = fit(GaussianMixture, X, covariance_type, init_params, labels=labels_of(X))
    there = fit(
        GaussianMixture,
        X * scale,
        covariance_type,
        init_params,
        labels=labels_of(X),
        reg_covar=1e-6 * 4.0**power,
    )
    tolerance = 1e-8 if dtype == np.float64 else 1e-4
    bounds = np.array(there.lower_bounds_) + 2 * power * np.log(2)
    np.testing.assert_allclose(bounds, here.lower_bounds_, rtol=tolerance)
    np.testing.assert_allclose(
        there.means_ / scale, here.means_, rtol=tolerance, atol=10 * tolerance
    )
    np.testing.assert_allclose(
        there.covariances_ / scale**2, here.covariances_, rtol=10 * tolerance, atol=1e-8
    )


@all_types
def test_float32_precisions_that_overflow(rows, covariance_type):
    """Deviations of 1e-20, and a component on three rows: a fit's factors have no square."""
    X = rows(2.0**-7)
    X[-3:] = [40.0, -30.0] + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) * 2.0**-3
    X = np.delete(X, 17, axis=0).astype(np.float32)
    scale = np.float32(2.0**-65)
    here, there = (
        fit(GaussianMixture, Y, covariance_type, "kmeans", reg_covar=0.0) for Y in (X, X * scale)
    )
    assert there.precisions_cholesky_.max() > 2.0**64
    bounds = np.array(there.lower_bounds_) - 2 * 65 * np.log(2)
    np.testing.assert_allclose(bounds, here.lower_bounds_, rtol=1e-3)
    np.testing.assert_allclose(there.predict_proba(X * scale), here.predict_proba(X), atol=1e-3)


@all_types
@pytest.mark.parametrize("origin", [0.0, 5e6])
def test_marks_that_were_surveyed(rng, covariance_type, origin):
    """0.01 m of noise at 5e6 m of northing."""
    X = np.r_[rng.normal(0, 0.01, 60), rng.normal(0.1, 0.01, 60)][:, np.newaxis]
    X = np.round(X * 2**24) / 2**24
    mixture = GaussianMixture(2, covariance_type=covariance_type, reg_covar=1e-9, random_state=0)
    variances = np.ravel(mixture.fit(X + origin).covariances_)
    expected = [np.var(X[:60]), np.var(X[60:])]
    if covariance_type == "tied":
        expected = [np.mean(expected)]
    np.testing.assert_allclose(np.sort(variances), np.sort(expected), rtol=0.02)


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_row_far_from_all_others(rng, covariance_type, dtype, sign):
    """200 rows of N(0, 1), and a row at 1e8."""
    X = np.append(rng.normal(size=200), 1e8)[:, np.newaxis].astype(dtype) * dtype(sign)
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    order = np.argsort(np.abs(mixture.means_[:, 0]))
    np.testing.assert_allclose(mixture.means_[order, 0], [X[:-1].mean(), sign * 1e8], atol=1e-5)
    variances = np.ravel(mixture.covariances_)
    variance = np.var(X[:-1].astype(float))
    if covariance_type == "tied":
        np.testing.assert_allclose(variances, variance * 200 / 201 + 1e-6, rtol=1e-4)
    else:
        np.testing.assert_allclose(variances[order], [variance + 1e-6, 1e-6], rtol=1e-4)
    np.testing.assert_allclose(mixture.weights_[order], [200 / 201, 1 / 201], rtol=1e-5)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
@pytest.mark.parametrize("sign", [1, -1])
def test_two_orders_of_magnitude_in_float32(rng, covariance_type, sign):
    """300 values of 500 +- 150 and 300 of 2e9 +- 3e8."""
    small, large = rng.normal(500, 150, 300), rng.normal(2e9, 3e8, 300)
    X = sign * np.concatenate([small, large])[:, np.newaxis].astype(np.float32)
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    deviations = np.sqrt(np.ravel(mixture.covariances_))
    np.testing.assert_allclose(
        np.sort(deviations), [X[:300].std(dtype=float), X[300:].std(dtype=float)], rtol=1e-3
    )


@all_types
@estimators
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_beyond_all_squares(rng, estimator, covariance_type, dtype):
    """They have responsibilities that sum to one, and an evidence of ``-inf``."""
    X = (rng.normal(size=(100, 2)) + 4.0 * rng.integers(2, size=(100, 1))).astype(dtype)
    mixture = estimator(2, covariance_type=covariance_type, random_state=0).fit(X)
    size = 1e20 if dtype == np.float32 else 1e155
    far = np.array([[size, 0.0], [-size, size], [0.0, 0.0]], dtype)
    proba = mixture.predict_proba(far)
    assert proba.dtype == dtype
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(mixture.predict(far), proba.argmax(axis=1))
    score = mixture.score_samples(far)
    assert score.dtype == dtype
    np.testing.assert_array_equal(score[:2], -np.inf)
    assert np.isfinite(score[2])
    assert mixture.score(far[:2]) == -np.inf or dtype == np.float32


@all_types
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("size", "deviation", "message"),
    [
        (1e200, 1.0, "has log-density -inf under all components"),
        (1e160, 1e10, "is so far from others that its squared distance overflows float64"),
    ],
)
def test_a_fit_names_the_row_that_is_too_far(
    rng, covariance_type, weighted, size, deviation, message
):
    X = rng.normal(size=(100, 2)) + 4.0 * rng.integers(2, size=(100, 1))
    X[[41, 77]] = size
    weights = np.ones(100)
    weights[41] = 0.0 if weighted else 1.0
    mixture = GaussianMixture(
        2,
        covariance_type=covariance_type,
        weights_init=[0.5, 0.5],
        means_init=[[0.0, 0.0], [4.0, 4.0]],
        precisions_init={
            "full": np.tile(np.eye(2), (2, 1, 1)),
            "tied": np.eye(2),
            "diag": np.ones((2, 2)),
            "spherical": np.ones(2),
        }[covariance_type]
        / deviation**2,
    )
    with pytest.raises(ValueError, match=f"row {77 if weighted else 41} {message}"):
        mixture.fit(X, sample_weight=weights)
    assert not hasattr(mixture, "means_")


@all_types
@estimators
@pytest.mark.parametrize("init_params", ["kmeans", "random_from_data", "random"])
@pytest.mark.parametrize(
    ("dtype", "far", "backend"),
    [(np.float64, 1e200, None), (np.float32, 1e30, "native")],  # the others' sums are float64
)
def test_a_start_names_the_row_that_is_too_far(
    rng, estimator, covariance_type, init_params, dtype, far, backend
):
    X = rng.normal(size=(100, 2)).astype(dtype)
    X[41] = far
    prior = {
        "full": np.eye(2),
        "tied": np.eye(2),
        "diag": np.ones(2),
        "spherical": 1.0,
    }[covariance_type]
    arguments = {}
    if estimator is BayesianGaussianMixture:
        arguments = {"covariance_prior": prior, "mean_prior": np.zeros(2)}
    mixture = estimator(
        2,
        covariance_type=covariance_type,
        init_params=init_params,
        random_state=0,
        backend=backend,
        **arguments,
    )
    with pytest.raises(ValueError, match=r"row 41 (is so far from others|has log-density -inf)"):
        mixture.fit(X)


@all_types
@pytest.mark.parametrize(("dtype", "far"), [(np.float64, 1e160), (np.float32, 1e30)])
def test_the_default_prior_names_the_row_that_is_too_far(rng, covariance_type, dtype, far):
    X = rng.normal(size=(100, 2)).astype(dtype)
    X[41] = far
    mixture = BayesianGaussianMixture(2, covariance_type=covariance_type, random_state=0)
    with pytest.raises(ValueError, match=f"overflows {np.dtype(dtype)}: row 41 is farthest out"):
        mixture.fit(X)
    with pytest.raises(ValueError, match="row 41 is farthest out"):
        vbfast.select(X, [1, 2], covariance_type=covariance_type)
