from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.mixture._gaussian_mixture import (
    _compute_log_det_cholesky,
    _compute_precision_cholesky,
    _compute_precision_cholesky_from_precisions,
    _estimate_gaussian_parameters,
    _estimate_log_gaussian_prob,
)

from vbfast.contract import (
    COVARIANCE_TYPES,
    NotPositiveDefiniteError,
    PassResult,
    Statistics,
    covariance_shape,
)
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.gaussian import Gaussian
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.gaussian_step import maximize, moments

EPS = np.finfo(np.float64).eps
N_SAMPLES, N_FEATURES, N_COMPONENTS = 300, 4, 3


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(N_FEATURES, N_FEATURES))
    return rng.normal(size=(N_SAMPLES, N_FEATURES)) @ mixing + 2.0


@pytest.fixture
def resp():
    return np.random.default_rng(2).dirichlet(np.full(N_COMPONENTS, 0.3), size=N_SAMPLES)


def statistics_of(rows, resp, kind, centres):
    """Sufficient statistics straight from their definition."""
    differences = rows[:, np.newaxis, :] - centres
    outer = np.einsum("nk,nki,nkj->kij", resp, differences, differences)
    diagonal = np.einsum("kii->ki", outer)
    return Statistics(
        moments=MOMENTS_OF[kind],
        centres=centres,
        weight=resp.sum(axis=0),
        first=np.einsum("nk,nki->ki", resp, differences),
        second={
            "full": outer,
            "tied": outer.sum(axis=0),
            "diag": diagonal,
            "spherical": diagonal.mean(axis=1),
        }[kind],
    )


@pytest.mark.kernels
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("distance", [0.0, 1.0, 30.0])
def test_maximize_is_scikit_learns_wherever_the_centres_are(rows, resp, kind, distance):
    count, means, covariances = _estimate_gaussian_parameters(rows, resp, 1e-3, kind)
    centres = means + distance * np.random.default_rng(3).normal(size=means.shape)
    statistics = statistics_of(rows, resp, kind, centres)
    ours = maximize(statistics, reg_covar=1e-3, eps=EPS)
    np.testing.assert_allclose(ours.weights, count / count.sum(), rtol=1e-13)
    np.testing.assert_allclose(ours.means, means, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(ours.covariances, covariances, rtol=1e-10, atol=1e-10)
    factors = _compute_precision_cholesky(covariances, kind)
    np.testing.assert_allclose(ours.precision_cholesky, factors, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("origin", [0.0, 1e6])
def test_a_component_that_holds_next_to_nothing_is_where_its_rows_are(rows, resp, kind, origin):
    """scikit-learn's is drawn to the origin, by what is added to ``N_k``; its ``N_k`` is ours."""
    resp = resp.copy()
    resp[:, 0] *= 1e-10
    rows = np.round(rows * 2**20) / 2**20 + origin
    centres = np.full((N_COMPONENTS, N_FEATURES), origin)
    count, means, covariances = moments(
        statistics_of(rows, resp, kind, centres), reg_covar=1e-6, eps=EPS
    )
    np.testing.assert_allclose(count, resp.sum(axis=0) + 10 * EPS, rtol=1e-12)
    near = rows - origin
    expected = (resp.T @ near) / resp.sum(axis=0)[:, np.newaxis]
    np.testing.assert_allclose(means - origin, expected, rtol=1e-9, atol=1e-9)
    deviation = near[:, np.newaxis] - expected
    full = np.einsum("nk,nki,nkj->kij", resp, deviation, deviation)
    diagonal = np.einsum("kii->ki", full) / count[:, np.newaxis]
    ridge = 1e-6 * np.eye(N_FEATURES)
    wanted = {
        "full": full / count[:, np.newaxis, np.newaxis] + ridge,
        "tied": full.sum(axis=0) / count.sum() + ridge,
        "diag": diagonal + 1e-6,
        "spherical": diagonal.mean(axis=1) + 1e-6,
    }[kind]
    np.testing.assert_allclose(covariances, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.kernels
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("eps", [EPS, float(np.finfo(np.float32).eps)], ids=["64", "32"])
def test_a_single_row_has_the_variance_that_is_added(kind, eps):
    row = np.array([[1e4, -3e6]])
    for shift in (0.0, 0.5):
        statistics = statistics_of(row, np.ones((1, 1)), kind, row + shift)
        ours = maximize(statistics, reg_covar=1e-6, eps=eps)
        np.testing.assert_array_equal(ours.means, row)
        variances = ours.covariances
        if kind in ("full", "tied"):
            variances = np.diagonal(variances, axis1=-2, axis2=-1)
        np.testing.assert_allclose(variances, 1e-6, rtol=1e-9)
        with pytest.raises(NotPositiveDefiniteError):
            maximize(statistics, reg_covar=0.0, eps=eps)


def test_full_covariances_are_symmetric_to_the_bit(rows, resp):
    statistics = statistics_of(rows, resp, "full", np.full((N_COMPONENTS, N_FEATURES), 0.3))
    second = 0.5 * (statistics.second + statistics.second.swapaxes(1, 2))
    statistics = Statistics("full", statistics.centres, statistics.weight, statistics.first, second)
    _, _, covariances = moments(statistics, reg_covar=0.1, eps=EPS)
    np.testing.assert_array_equal(covariances, covariances.swapaxes(1, 2))


@pytest.mark.kernels
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_an_empty_component_stays_where_it_was(rows, resp, kind):
    statistics = statistics_of(rows, resp, kind, np.zeros((N_COMPONENTS, N_FEATURES)))
    previous = maximize(statistics, reg_covar=1e-3, eps=EPS)
    resp = resp.copy()
    resp[:, 1] = 0.0
    resp /= resp.sum(axis=1, keepdims=True)
    ours = maximize(
        statistics_of(rows, resp, kind, previous.means),
        reg_covar=1e-3,
        eps=EPS,
        previous=previous,
    )
    assert ours.weights[1] == 0.0
    np.testing.assert_allclose(ours.weights.sum(), 1.0)
    np.testing.assert_array_equal(ours.means[1], previous.means[1])
    if kind != "tied":
        np.testing.assert_array_equal(ours.covariances[1], previous.covariances[1])
    assert ours.log_joint().offset[1] == -np.inf
    others = [0, 2]
    without = maximize(
        statistics_of(rows, resp[:, others], kind, previous.means[others]),
        reg_covar=1e-3,
        eps=EPS,
    )
    np.testing.assert_allclose(ours.means[others], without.means, rtol=1e-12)
    if kind == "tied":
        np.testing.assert_allclose(ours.covariances, without.covariances, rtol=1e-12)


def test_an_empty_component_of_a_start_stays_at_its_centre(rows, resp):
    resp = resp.copy()
    resp[:, 2] = 0.0
    centres = np.full((N_COMPONENTS, N_FEATURES), 7.0)
    ours = maximize(statistics_of(rows, resp, "diag", centres), reg_covar=0.5, eps=EPS)
    np.testing.assert_array_equal(ours.means[2], centres[2])
    np.testing.assert_allclose(ours.covariances[2], 0.5, rtol=1e-9)


@pytest.mark.kernels
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_log_joint_is_scikit_learns(rows, resp, kind):
    statistics = statistics_of(rows, resp, kind, np.zeros((N_COMPONENTS, N_FEATURES)))
    parameters = maximize(statistics, reg_covar=0.0, eps=EPS)
    params = parameters.log_joint()
    factor = params.form.precision_cholesky
    differences = rows[:, np.newaxis, :] - params.form.centres
    if kind == "full":
        whitened = np.einsum("nki,kij->nkj", differences, factor)
    elif kind == "tied":
        whitened = differences @ factor
    else:
        whitened = differences * factor.reshape(N_COMPONENTS, -1)
    log_joint = params.offset - 0.5 * np.square(whitened).sum(axis=2)
    expected = np.log(parameters.weights) + _estimate_log_gaussian_prob(
        rows, parameters.means, parameters.precision_cholesky, kind
    )
    np.testing.assert_allclose(log_joint, expected, rtol=1e-9)
    log_det = _compute_log_det_cholesky(factor, kind, N_FEATURES)
    constant = -0.5 * N_FEATURES * np.log(2 * np.pi)
    np.testing.assert_allclose(
        params.offset, np.log(parameters.weights) + constant + log_det, rtol=1e-12
    )


@pytest.mark.kernels
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_from_precisions(rows, resp, kind):
    statistics = statistics_of(rows, resp, kind, np.zeros((N_COMPONENTS, N_FEATURES)))
    fitted = maximize(statistics, reg_covar=0.0, eps=EPS)
    precisions = fitted.precisions
    assert precisions.shape == covariance_shape(kind, N_COMPONENTS, N_FEATURES)
    given = GaussianParameters.from_precisions(kind, fitted.weights, fitted.means, precisions)
    theirs = _compute_precision_cholesky_from_precisions
    namespace = {"xp": np} if "xp" in inspect.signature(theirs).parameters else {}
    expected = theirs(precisions, kind, **namespace)
    np.testing.assert_allclose(given.precision_cholesky, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(given.covariances, fitted.covariances, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(given.precisions, precisions, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_collapsed_component_is_an_error_that_names_it(kind):
    rows = np.vstack([np.random.default_rng(0).normal(size=(10, 2)), np.ones((5, 2))])
    resp = np.zeros((15, 2))
    resp[:10, 0] = resp[10:, 1] = 1.0
    if kind == "tied":
        rows[:10] = 0.0
    with pytest.raises(NotPositiveDefiniteError) as caught:
        maximize(statistics_of(rows, resp, kind, np.ones((2, 2))), reg_covar=0.0, eps=0.0)
    assert caught.value.component == (0 if kind == "tied" else 1)


def test_float32_eps_does_not_swamp_the_variance_of_far_rows():
    rows = 1e4 + np.random.default_rng(0).normal(size=(50, 1))
    statistics = statistics_of(rows, np.ones((50, 1)), "diag", np.array([[1e4]]))
    eps = float(np.finfo(np.float32).eps)
    ours = maximize(statistics, reg_covar=0.0, eps=eps)
    np.testing.assert_allclose(ours.covariances[0], rows.var(axis=0), rtol=1e-3)


def test_second_moments_are_needed():
    statistics = Statistics("means", np.zeros((1, 1)), np.ones(1), np.ones((1, 1)), None)
    with pytest.raises(ValueError, match="second moments"):
        maximize(statistics, reg_covar=0.0, eps=EPS)


def test_the_bound_is_the_evidence_per_unit_of_weight(rows, resp):
    objective = Gaussian("diag", 1e-6)
    centres = np.zeros((N_COMPONENTS, N_FEATURES))
    parameters = maximize(statistics_of(rows, resp, "diag", centres), reg_covar=0.0, eps=EPS)
    sums = PassResult(4.0, -10.0, np.nan, np.nan, np.nan, None)
    assert objective.lower_bound(sums, parameters, parameters) == -2.5
    assert objective.moments == "diag"


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_merit_is_the_bound_of_rows_with_noise(rows, resp, kind):
    """The noise's mean over 2 D points with its mean and covariance is exact for quadratics."""
    reg_covar = 0.7
    centres = rows[:N_COMPONENTS]
    previous = maximize(statistics_of(rows, resp, kind, centres), reg_covar=0.1, eps=EPS)
    covariances = {
        "full": lambda: previous.covariances,
        "tied": lambda: np.tile(previous.covariances, (N_COMPONENTS, 1, 1)),
        "diag": lambda: np.array([np.diag(variances) for variances in previous.covariances]),
        "spherical": lambda: np.array([v * np.eye(N_FEATURES) for v in previous.covariances]),
    }[kind]()

    def log_joint(x):
        densities = [
            multivariate_normal(mean, covariance).logpdf(x)
            for mean, covariance in zip(previous.means, covariances, strict=True)
        ]
        return np.log(previous.weights) + np.transpose(densities)

    q = softmax(log_joint(rows), axis=1)
    points = np.sqrt(reg_covar * N_FEATURES) * np.eye(N_FEATURES)
    noisy = np.mean([log_joint(rows + e) for e in (*points, *-points)], axis=0)
    expected = (q * (noisy - np.log(q))).sum() / N_SAMPLES

    evidence = (q * (log_joint(rows) - np.log(q))).sum()
    sums = PassResult(
        N_SAMPLES, evidence, np.nan, np.nan, np.nan, statistics_of(rows, q, kind, centres)
    )
    objective = Gaussian(kind, reg_covar)
    bound = objective.lower_bound(sums, previous, previous)
    merit = objective.merit(bound, sums, previous, previous)
    np.testing.assert_allclose(merit, expected, rtol=1e-12)
    assert merit < bound - 0.1
    assert Gaussian(kind, 0.0).merit(bound, sums, previous, previous) == bound


@pytest.mark.parametrize("kind", ["diag", "spherical"])
@pytest.mark.parametrize("origin", [0.0, 2.0**20])
def test_a_single_row_beside_others_fits_on_without_reg_covar(kind, origin):
    """As scikit-learn's with rows about their mean, wherever the origin is."""
    rows = np.array([[-1.0, 3.0], [-1.5, 1.0], [-0.5, 2.0], [3.0, -6.0]]) + origin
    resp = np.eye(2)[[0, 0, 0, 1]]
    centred = rows - rows.mean(axis=0)
    ours = maximize(statistics_of(rows, resp, kind, rows[[0, 3]]), reg_covar=0.0, eps=EPS)
    theirs = _estimate_gaussian_parameters(centred, resp, 0.0, kind)
    np.testing.assert_allclose(ours.covariances[1], theirs[2][1], rtol=0.1)  # a difference of its
    lift = 10 * EPS * np.square(centred[3])
    np.testing.assert_allclose(
        ours.covariances[1], lift if kind == "diag" else lift.mean(), rtol=1e-9
    )
    variances = rows[:3].var(axis=0)
    expected = variances if kind == "diag" else variances.mean()
    np.testing.assert_allclose(ours.covariances[0], expected, rtol=1e-9)
