"""The numbers of ``BayesianGaussianMixture``: against scikit-learn's, its bound, its densities."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma, gammaln, multigammaln, xlogy
from sklearn.datasets import load_iris, load_wine, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture as ScikitLearnMixture
from sklearn.mixture._bayesian_mixture import _log_wishart_norm

from vbfast.config.settings import config_context
from vbfast.contract import COVARIANCE_TYPES
from vbfast.estimators import BayesianGaussianMixture

pytestmark = pytest.mark.kernels

PRIOR_TYPES = ("dirichlet_process", "dirichlet_distribution")
PARAMETERS = (
    "weight_concentration_",
    "mean_precision_",
    "means_",
    "degrees_of_freedom_",
    "covariances_",
    "weights_",
    "precisions_",
    "precisions_cholesky_",
)
PRIORS = (
    "weight_concentration_prior_",
    "mean_precision_prior_",
    "mean_prior_",
    "degrees_of_freedom_prior_",
    "covariance_prior_",
)
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_priors = pytest.mark.parametrize("prior_type", PRIOR_TYPES)


def fit_quietly(mixture, rows, **fit_params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(rows, **fit_params)


def dropped_constants(mixture, n_samples):
    """What scikit-learn leaves out of the bound at ``reg_covar=0``, from its fitted attributes."""
    K, D = mixture.means_.shape
    covariance = np.asarray(mixture.covariance_prior_)
    if covariance.ndim < 2:
        covariance = np.diag(np.broadcast_to(covariance, D))
    log_det_factor = -0.5 * np.linalg.slogdet(covariance)[1]
    degrees = np.array([mixture.degrees_of_freedom_prior_], dtype=float)
    log_wishart = _log_wishart_norm(degrees, log_det_factor, D).item()
    gamma = mixture.weight_concentration_prior_
    if mixture.weight_concentration_prior_type == "dirichlet_process":
        weights = K * np.log(gamma)
    else:
        weights = gammaln(K * gamma) - K * gammaln(gamma)
    components = log_wishart + 0.5 * D * np.log(mixture.mean_precision_prior_)
    return -0.5 * n_samples * D * np.log(2 * np.pi) + K * components + weights


def assert_same_parameters(ours, theirs, tolerance=1e-8):
    for name in PARAMETERS:
        mine, expected = getattr(ours, name), getattr(theirs, name)
        assert type(mine) is type(expected)
        assert np.shape(mine) == np.shape(expected)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(mine, expected, rtol=0, atol=tolerance * scale, err_msg=name)


@all_types
@both_priors
@pytest.mark.parametrize("n_iter", [1, 2, 7, 20])
def test_iterations_are_scikit_learns(clustered, covariance_type, prior_type, n_iter):
    arguments = {
        "n_components": 5,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": prior_type,
        "init_params": "random",
        "random_state": 3,
        "max_iter": n_iter,
        "tol": 0.0,
        "reg_covar": 0.0,
    }
    ours = fit_quietly(BayesianGaussianMixture(**arguments), clustered)
    theirs = fit_quietly(ScikitLearnMixture(**arguments), clustered)
    assert_same_parameters(ours, theirs)
    for name in PRIORS:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-12)
    # Before scikit-learn 1.7, that of the last iteration alone.
    bounds = np.ravel(getattr(theirs, "lower_bounds_", theirs.lower_bound_))
    expected = bounds + dropped_constants(theirs, len(clustered))
    np.testing.assert_allclose(ours.lower_bounds_[-len(bounds) :], expected, rtol=1e-8)
    np.testing.assert_array_equal(ours.predict(clustered), theirs.predict(clustered))
    np.testing.assert_allclose(
        ours.predict_proba(clustered), theirs.predict_proba(clustered), atol=1e-8
    )
    np.testing.assert_allclose(
        ours.score_samples(clustered), theirs.score_samples(clustered), atol=1e-8
    )
    np.testing.assert_allclose(ours.score(clustered), theirs.score(clustered), rtol=1e-8)
    for mine, expected in zip(ours.sample(20, random_state=0), theirs.sample(20), strict=True):
        assert mine.shape == expected.shape


@all_types
@both_priors
@pytest.mark.parametrize("init_params", ["random", "random_from_data"])
def test_given_priors_and_regularisation_are_scikit_learns(
    clustered, covariance_type, prior_type, init_params
):
    arguments = {
        "n_components": 3,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": prior_type,
        "weight_concentration_prior": 2.5,
        "mean_precision_prior": 0.1,
        "mean_prior": [0.5, 0.0, -1.0, 2.0],
        "degrees_of_freedom_prior": 3.75,
        "covariance_prior": {
            "full": np.eye(4) + 0.5,
            "tied": np.eye(4) + 0.5,
            "diag": [1.0, 2.0, 3.0, 0.5],
            "spherical": 0.7,
        }[covariance_type],
        "init_params": init_params,
        "random_state": 1,
        "max_iter": 10,
        "tol": 0.0,
        "reg_covar": 0.01,
    }
    ours = fit_quietly(BayesianGaussianMixture(**arguments), clustered)
    theirs = fit_quietly(ScikitLearnMixture(**arguments), clustered)
    assert_same_parameters(ours, theirs)


@all_types
def test_a_start_alone_is_scikit_learns(clustered, covariance_type):
    arguments = {
        "n_components": 3,
        "covariance_type": covariance_type,
        "init_params": "random_from_data",
        "random_state": 1,
        "max_iter": 0,
    }
    ours = BayesianGaussianMixture(**arguments).fit(clustered)
    theirs = ScikitLearnMixture(**arguments).fit(clustered)
    assert_same_parameters(ours, theirs)
    assert ours.n_iter_ == 0
    assert ours.elbo_ == ours.lower_bound_ == -np.inf
    assert ours.lower_bounds_ == []
    assert not ours.converged_


DATA = {
    "iris": lambda: load_iris().data,
    "wine": lambda: (lambda X: (X - X.mean(axis=0)) / X.std(axis=0))(load_wine().data),
    "blobs": lambda: make_blobs(1500, 3, centers=6, cluster_std=2.0, random_state=0)[0],
    "heavy_tails": lambda: np.random.default_rng(1).standard_t(2.5, size=(1500, 2)),
}


def bound_of_scikit_learns(arguments, rows):
    """The bound of scikit-learn's fit, evaluated as ours."""
    theirs = fit_quietly(ScikitLearnMixture(**arguments), rows)
    as_ours = BayesianGaussianMixture(**arguments)
    for name, value in vars(theirs).items():
        setattr(as_ours, name, value)
    return as_ours.elbo(rows).total


@pytest.mark.parametrize("data", DATA)
@all_types
@both_priors
def test_default_fits_end_where_scikit_learns_do(data, covariance_type, prior_type):
    rows = DATA[data]()
    arguments = {
        "n_components": 6,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": prior_type,
        "init_params": "random",
        "random_state": 0,
        "max_iter": 200,
    }
    ours = fit_quietly(BayesianGaussianMixture(**arguments), rows)
    theirs = bound_of_scikit_learns(arguments, rows)
    assert ours.elbo(rows).total > theirs - 1e-3 * len(rows)


@all_types
@both_priors
def test_default_fits_of_many_rows_end_where_scikit_learns_do(covariance_type, prior_type):
    """Where a change may be several times what scikit-learn stops at."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(6000, 2)) + 2.5 * rng.integers(3, size=(6000, 1))
    arguments = {
        "n_components": 4,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": prior_type,
        "init_params": "random_from_data",
        "random_state": 0,
        "max_iter": 80,
    }
    ours = fit_quietly(BayesianGaussianMixture(**arguments), rows)
    theirs = bound_of_scikit_learns(arguments, rows)
    assert ours.elbo(rows).total > theirs - 1e-3 * len(rows)


@pytest.mark.parametrize(
    ("rows", "n_components", "covariance_type"),
    [
        (np.random.default_rng(0).normal(size=(2, 6000)).T, 6, "diag"),  # changes grow at once
        (np.random.default_rng(0).uniform(size=(5000, 2)), 3, "spherical"),  # they shrink first
    ],
)
def test_a_plateau_is_left_as_scikit_learn_leaves_it(rows, n_components, covariance_type):
    """Random responsibilities are next to alike, and the first changes small."""
    arguments = {
        "n_components": n_components,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": "dirichlet_distribution",
        "init_params": "random",
        "random_state": 0,
        "max_iter": 300,
    }
    ours = fit_quietly(BayesianGaussianMixture(**arguments), rows)
    theirs = bound_of_scikit_learns(arguments, rows)
    changes = np.diff(ours.lower_bounds_)
    assert changes[:3].min() < 1e-6 * len(rows) < changes.max()
    assert ours.elbo(rows).total > theirs - 1e-3 * len(rows)


@all_types
@both_priors
def test_terms_of_the_bound(clustered, covariance_type, prior_type):
    mixture = BayesianGaussianMixture(
        4,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        init_params="random",
        random_state=0,
        tol=1e-9,
        max_iter=3000,
    ).fit(clustered)
    terms = mixture.elbo(clustered)
    scale = abs(terms.expected_log_joint) + terms.kl_weights + terms.kl_components.sum()
    assert terms.kl == 0.0
    assert terms.kl_components.shape == (4,)
    assert terms.kl_weights >= 0.0
    assert np.all(terms.kl_components >= 0.0)
    np.testing.assert_allclose(terms.log_evidence, terms.elbo, rtol=1e-12)
    assert abs(terms.total - mixture.elbo_) < 1e-6
    assert abs(terms.loss + mixture.elbo_) < 1e-6
    assert mixture.elbo_ == mixture.lower_bound_ == mixture.lower_bounds_[-1]

    resp = np.random.default_rng(0).dirichlet(np.ones(4), size=len(clustered))
    other = mixture.elbo(clustered, resp=resp)
    assert other.kl > 0.0
    np.testing.assert_allclose(other.log_evidence, other.elbo + other.kl, atol=1e-12 * scale)
    np.testing.assert_array_equal(other.kl_components, terms.kl_components)
    assert other.total < terms.total


def log_wishart(degrees, log_det_scale, D):
    """``log B(W, nu)`` with its power of pi (Bishop 2006, eq. B.79)."""
    return -0.5 * degrees * (log_det_scale + D * math.log(2.0)) - multigammaln(0.5 * degrees, D)


def bishops_terms(mixture, rows, resp):
    """The seven terms of the bound (Bishop 2006, eq. 10.71-10.77) from the fitted attributes."""
    D, nu = rows.shape[1], mixture.degrees_of_freedom_
    m, beta, N = mixture.means_, mixture.mean_precision_, resp.sum(axis=0)
    W = np.linalg.inv(mixture.covariances_) / nu[:, np.newaxis, np.newaxis]
    nu0, beta0 = mixture.degrees_of_freedom_prior_, mixture.mean_precision_prior_
    W0_inverse, m0 = mixture.covariance_prior_, mixture.mean_prior_
    if mixture.weight_concentration_prior_type == "dirichlet_distribution":
        alpha, alpha0 = mixture.weight_concentration_, mixture.weight_concentration_prior_
        e_log_pi = digamma(alpha) - digamma(alpha.sum())
        log_p_pi = gammaln(len(N) * alpha0) - len(N) * gammaln(alpha0)
        log_p_pi += (alpha0 - 1.0) * e_log_pi.sum()
        entropy_of_pi = stats.dirichlet.entropy(alpha)
    else:
        a, b = mixture.weight_concentration_
        gamma = mixture.weight_concentration_prior_
        e_log_v, e_log_rest = digamma(a) - digamma(a + b), digamma(b) - digamma(a + b)
        e_log_pi = e_log_v + np.append(0.0, np.cumsum(e_log_rest)[:-1])
        log_p_pi = (math.log(gamma) + (gamma - 1.0) * e_log_rest).sum()
        entropy_of_pi = stats.beta.entropy(a, b).sum()
    log_det = np.linalg.slogdet(W)[1]
    e_log_det = digamma(0.5 * (nu[:, np.newaxis] - np.arange(D))).sum(axis=1)
    e_log_det += D * math.log(2.0) + log_det
    d = rows[:, np.newaxis] - m
    spread = nu * np.einsum("nki,kij,nkj->nk", d, W, d) + D / beta
    log_x = 0.5 * (resp * (e_log_det - spread - D * math.log(2 * math.pi))).sum()
    log_z = (resp * e_log_pi).sum()
    shift = m - m0
    quadratic = beta0 * nu * np.einsum("ki,kij,kj->k", shift, W, shift)
    log_p = 0.5 * (
        D * math.log(beta0 / (2 * math.pi)) + e_log_det - D * beta0 / beta - quadratic
    ) + (log_wishart(nu0, -np.linalg.slogdet(W0_inverse)[1], D) + 0.5 * (nu0 - D - 1) * e_log_det)
    log_p -= 0.5 * nu * np.einsum("ij,kji->k", W0_inverse, W)
    wishart_entropy = -log_wishart(nu, log_det, D) - 0.5 * (nu - D - 1) * e_log_det + 0.5 * nu * D
    log_q = 0.5 * e_log_det + 0.5 * D * np.log(beta / (2 * math.pi)) - 0.5 * D - wishart_entropy
    kl_weights = -log_p_pi - entropy_of_pi
    entropy_of_z = -xlogy(resp, resp).sum()
    return log_x + log_z, entropy_of_z, kl_weights, log_q - log_p


@both_priors
def test_terms_are_those_of_bishop(clustered, prior_type):
    mixture = BayesianGaussianMixture(
        3,
        weight_concentration_prior_type=prior_type,
        degrees_of_freedom_prior=5.5,
        mean_precision_prior=0.3,
        random_state=0,
        max_iter=500,
    ).fit(clustered)
    for resp in (None, np.random.default_rng(0).dirichlet(np.ones(3), size=len(clustered))):
        terms = mixture.elbo(clustered, resp=resp)
        q = mixture.predict_proba(clustered) if resp is None else resp
        joint, entropy, kl_weights, kl_components = bishops_terms(mixture, clustered, q)
        np.testing.assert_allclose(terms.expected_log_joint, joint, rtol=1e-11)
        np.testing.assert_allclose(terms.entropy, entropy, rtol=1e-9)
        np.testing.assert_allclose(terms.kl_weights, kl_weights, rtol=1e-10)
        np.testing.assert_allclose(terms.kl_components, kl_components, rtol=1e-9)
        total = joint + entropy - kl_weights - kl_components.sum()
        np.testing.assert_allclose([terms.total, terms.loss], [total, -total], rtol=1e-11)


@both_priors
def test_the_loss_falls_along_the_natural_gradient(clustered, prior_type):
    """What ``elbo_and_grad`` hands a minimizer goes with its gradient: by the whole bound."""
    mixture = BayesianGaussianMixture(
        3,
        weight_concentration_prior_type=prior_type,
        reg_covar=0.0,
        init_params="random",
        random_state=1,
        max_iter=3,
        tol=0.0,
    )
    terms, gradient = fit_quietly(mixture, clustered).elbo_and_grad(clustered)
    step = 1e-5
    ends = [
        mixture.with_natural_parameters(gradient.coordinates + sign * step * gradient.natural)
        .elbo(clustered)
        .loss
        for sign in (1.0, -1.0)
    ]
    assert ends[0] < terms.loss < ends[1]
    slope = sum(
        (getattr(gradient.euclidean, name) * getattr(gradient.natural, name)).sum()
        for name in vars(gradient.natural)
    )
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), -slope, rtol=1e-5)


@all_types
@both_priors
@pytest.mark.parametrize("concentration", [1e12, 1e16, 1e20, 1e300])
def test_bounds_of_large_concentrations(clustered, covariance_type, prior_type, concentration):
    """Monotone, and at the limit: weights that are known to be equal, or next to no sticks."""
    arguments = {
        "n_components": 4,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": prior_type,
        "reg_covar": 0.0,
        "init_params": "random_from_data",
        "random_state": 0,
        "tol": 1e-9,
        "max_iter": 300,
    }
    mixture = BayesianGaussianMixture(weight_concentration_prior=concentration, **arguments)
    fit_quietly(mixture, clustered)
    terms = mixture.elbo(clustered)
    scale = abs(terms.expected_log_joint) + terms.kl_weights + terms.kl_components.sum()
    assert np.diff(mixture.lower_bounds_).min() >= -1e-12 * scale
    limit = BayesianGaussianMixture(weight_concentration_prior=1e10, **arguments)
    fit_quietly(limit, clustered)
    if prior_type == "dirichlet_distribution":
        np.testing.assert_allclose(mixture.lower_bounds_, limit.lower_bounds_, rtol=1e-8)
        assert terms.kl_weights < 1e-6
        assert mixture.n_active_components_ == limit.n_active_components_
        np.testing.assert_allclose(
            mixture.elbo(clustered).total, limit.elbo(clustered).total, rtol=1e-8
        )
        # Rows that the concentrations have swallowed are still known.
        pruned = mixture.prune()
        assert len(pruned.weights_) == mixture.n_active_components_
    assert np.isfinite(mixture.log_marginal_likelihood(clustered, 25).value)


@all_types
@pytest.mark.parametrize("degrees_of_freedom", [1e12, 1e15, 1e18, 1e100])
def test_bounds_of_large_degrees_of_freedom(clustered, covariance_type, degrees_of_freedom):
    """Where the prior is sure of the covariance, the mixture is one of known covariances."""
    shape = {"full": np.eye(4), "tied": np.eye(4), "diag": np.ones(4), "spherical": 1.0}
    mixture = BayesianGaussianMixture(
        3,
        covariance_type=covariance_type,
        degrees_of_freedom_prior=degrees_of_freedom,
        covariance_prior=0.5 * degrees_of_freedom * shape[covariance_type],
        mean_precision_prior=0.1,
        mean_prior=np.zeros(4),
        weight_concentration_prior_type="dirichlet_distribution",
        weight_concentration_prior=1.0,
        reg_covar=0.0,
        random_state=0,
        tol=1e-9,
        max_iter=500,
    )
    fit_quietly(mixture, clustered)
    assert mixture.converged_
    terms = mixture.elbo(clustered)
    scale = abs(terms.expected_log_joint) + terms.kl_weights + terms.kl_components.sum()
    assert np.diff(mixture.lower_bounds_).min() >= -1e-12 * scale
    np.testing.assert_allclose(terms.total, mixture.elbo_, rtol=1e-9)
    # The bound of known covariances: of means alone, and weights.
    q, m = mixture.predict_proba(clustered), mixture.means_
    N = q.sum(axis=0)
    beta, alpha = 0.1 + N, 1.0 + N
    e_log_pi = digamma(alpha) - digamma(alpha.sum())
    square = np.square(clustered[:, np.newaxis] - m).sum(axis=2)
    joint = e_log_pi - 2.0 * np.log(2 * np.pi * 0.5) - square - 2.0 / beta
    kl = 2.0 * (0.1 / beta - 1.0 - np.log(0.1 / beta)) + 0.1 * np.square(m).sum(axis=1)
    kl_weights = gammaln(alpha.sum()) - gammaln(alpha).sum() - gammaln(3.0) + N @ e_log_pi
    bound = (q * (joint - np.log(np.maximum(q, 1e-300)))).sum() - kl.sum() - kl_weights
    np.testing.assert_allclose(terms.total, bound, rtol=1e-8)
    estimate = mixture.log_marginal_likelihood(clustered, 25, random_state=0)
    assert 0.0 <= estimate.kl_gap + 5 * estimate.standard_error < 5.0


@all_types
def test_the_evaluated_bound_is_never_below_the_fits(clustered, covariance_type):
    for n_iter in (1, 2, 5, 10):
        mixture = BayesianGaussianMixture(
            4,
            covariance_type=covariance_type,
            init_params="random",
            random_state=0,
            max_iter=n_iter,
            tol=0.0,
        )
        fit_quietly(mixture, clustered)
        assert mixture.elbo(clustered).total >= mixture.elbo_


@all_types
@both_priors
def test_integer_weights_are_repeated_rows(clustered, covariance_type, prior_type):
    rows = clustered[:150]
    weights = np.random.default_rng(2).integers(0, 4, size=len(rows))
    resp = np.random.default_rng(3).dirichlet(np.ones(3), size=len(rows))
    arguments = {
        "n_components": 3,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": prior_type,
        "max_iter": 8,
        "tol": 0.0,
    }
    weighted = BayesianGaussianMixture(init_params=resp, **arguments)
    fit_quietly(weighted, rows, sample_weight=weights)
    repeated = BayesianGaussianMixture(init_params=np.repeat(resp, weights, axis=0), **arguments)
    fit_quietly(repeated, np.repeat(rows, weights, axis=0))
    assert_same_parameters(weighted, repeated, tolerance=1e-10)
    np.testing.assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-11)
    np.testing.assert_allclose(
        weighted.elbo(rows, sample_weight=weights).total,
        repeated.elbo(np.repeat(rows, weights, axis=0)).total,
        rtol=1e-11,
    )


def test_too_little_weight_for_a_covariance(clustered):
    weights = np.full(len(clustered), 0.5 / len(clustered))
    with pytest.raises(ValueError, match="covariance_prior=None takes the covariance of X"):
        BayesianGaussianMixture(2).fit(clustered, sample_weight=weights)
    mixture = BayesianGaussianMixture(2, covariance_prior=np.eye(4), max_iter=1000)
    mixture.fit(clustered, sample_weight=weights)
    # Half a row in all: the prior is hardly moved.
    np.testing.assert_allclose(mixture.covariances_[0], np.eye(4) / 4, atol=0.1)


@all_types
@pytest.mark.parametrize("distance", [0.0, 1e4])
def test_float32_follows_float64(clustered, covariance_type, distance):
    rows = (clustered + distance).astype(np.float32)
    resp = np.random.default_rng(0).dirichlet(np.ones(3), size=len(rows))
    arguments = {
        "n_components": 3,
        "covariance_type": covariance_type,
        "init_params": resp,
        "max_iter": 15,
        "tol": 0.0,
    }
    single = fit_quietly(BayesianGaussianMixture(**arguments), rows)
    double = fit_quietly(BayesianGaussianMixture(**arguments), rows.astype(np.float64))
    for name in PARAMETERS:
        values = getattr(single, name)
        if not isinstance(values, tuple):
            assert values.dtype == np.float32
    assert abs(single.lower_bound_ - double.lower_bound_) < 1e-3 * len(rows)
    scale = np.abs(double.covariances_).max()
    np.testing.assert_allclose(single.covariances_, double.covariances_, atol=1e-3 * scale)
    assert single.score_samples(rows).dtype == np.float32
    assert single.log_predictive_density(rows).dtype == np.float32


def test_warm_start_goes_on(clustered):
    arguments = {"n_components": 4, "init_params": "random", "random_state": 0, "tol": 1e-5}
    whole = BayesianGaussianMixture(max_iter=500, **arguments).fit(clustered)
    parts = BayesianGaussianMixture(max_iter=7, warm_start=True, **arguments)
    bounds = []
    while not getattr(parts, "converged_", False):
        fit_quietly(parts, clustered)
        bounds += parts.lower_bounds_
    np.testing.assert_allclose(bounds, whole.lower_bounds_, rtol=1e-12)
    np.testing.assert_allclose(parts.means_, whole.means_, atol=1e-9)
    parts.set_params(n_components=3)
    with pytest.raises(ValueError, match="warm_start=True goes on from the last fit"):
        parts.fit(clustered)


def test_convergence_does_not_get_harder_with_the_rows():
    """Four times the rows, each bound four times as large: as many iterations, if not fewer."""
    rows = make_blobs(2000, 2, centers=4, random_state=0)[0]
    arguments = {"n_components": 6, "init_params": "random", "random_state": 0, "max_iter": 2000}
    few = BayesianGaussianMixture(**arguments).fit(rows)
    many = BayesianGaussianMixture(**arguments).fit(np.tile(rows, (4, 1)))
    changes = np.abs(np.diff(few.lower_bounds_))
    assert changes[-1] < 2e-3 <= changes[:-1].min()
    changes = np.abs(np.diff(many.lower_bounds_))
    assert changes[-1] < 8e-3 <= changes[:-1].min()


@all_types
def test_threads_storage_and_backend_do_not_matter(clustered, covariance_type, tmp_path):
    arguments = {
        "n_components": 4,
        "covariance_type": covariance_type,
        "init_params": "random",
        "random_state": 0,
        "max_iter": 5,
    }
    fits = {}
    for threads in (1, 2, 5):
        with config_context(num_threads=threads):
            fits[threads] = fit_quietly(BayesianGaussianMixture(**arguments), clustered)
    np.save(tmp_path / "rows.npy", clustered)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    fits["mapped"] = fit_quietly(BayesianGaussianMixture(**arguments), mapped)
    fits["strided"] = fit_quietly(
        BayesianGaussianMixture(**arguments), np.asfortranarray(clustered)
    )
    for fit in fits.values():
        assert fit.lower_bounds_ == fits[1].lower_bounds_
        np.testing.assert_array_equal(fit.covariances_, fits[1].covariances_)
    with config_context(backend="reference"):
        reference = fit_quietly(BayesianGaussianMixture(**arguments), clustered)
    assert_same_parameters(fits[1], reference, tolerance=1e-11)
    np.testing.assert_allclose(fits[1].lower_bounds_, reference.lower_bounds_, rtol=1e-12)


def test_n_init_keeps_the_best(clustered):
    arguments = {"n_components": 5, "init_params": "random_from_data", "max_iter": 30}
    many = BayesianGaussianMixture(n_init=4, random_state=0, **arguments)
    fit_quietly(many, clustered)
    random_state = np.random.RandomState(0)
    single = [
        fit_quietly(BayesianGaussianMixture(random_state=random_state, **arguments), clustered)
        for _ in range(4)
    ]
    assert many.lower_bound_ == max(mixture.lower_bound_ for mixture in single)


def two_far_groups():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(-50, 1, (120, 2)), rng.normal(50, 1, (80, 2))])


@both_priors
@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_pruning(covariance_type, prior_type):
    rows = two_far_groups()
    resp = np.zeros((200, 6))
    resp[:120, 0] = resp[120:, 1] = 1.0
    mixture = BayesianGaussianMixture(
        6,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        weight_concentration_prior=1e-3,
        covariance_prior={"full": np.eye(2), "diag": np.ones(2), "spherical": 1.0}[covariance_type],
        init_params=resp,
    ).fit(rows)
    assert mixture.n_active_components_ == 2
    pruned = mixture.prune()
    assert mixture.means_.shape == (6, 2)
    assert pruned.means_.shape == (2, 2)
    assert pruned.n_components == pruned.n_active_components_ == 2
    np.testing.assert_array_equal(pruned.predict(rows), mixture.predict(rows))
    np.testing.assert_allclose(pruned.weights_.sum(), 1.0)
    if prior_type == "dirichlet_process":
        np.testing.assert_allclose(pruned.elbo(rows).total, mixture.elbo(rows).total, rtol=1e-12)
        np.testing.assert_allclose(
            pruned.score_samples(rows), mixture.score_samples(rows), rtol=1e-12
        )
    assert pruned.set_params(warm_start=True).fit(rows).converged_
    assert pruned.weight_concentration_prior_ == 1e-3


def test_pruning_a_tied_mixture():
    rows = two_far_groups()
    mixture = BayesianGaussianMixture(
        4, covariance_type="tied", weight_concentration_prior=1e-3, random_state=0
    ).fit(rows)
    pruned = mixture.prune()
    assert pruned.covariances_.shape == (2, 2)
    assert len(pruned.means_) == mixture.n_active_components_ < 4
    np.testing.assert_allclose(pruned.predict_proba(rows).sum(axis=1), 1.0)


@all_types
@both_priors
def test_predictive_density_integrates_to_one_in_one_dimension(covariance_type, prior_type):
    rows = np.random.default_rng(0).normal(size=(30, 1)) + np.repeat([[-4.0], [3.0]], 15, axis=0)
    mixture = BayesianGaussianMixture(
        4,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        random_state=0,
        max_iter=1000,
    ).fit(rows)
    # x = sinh(u): the tails of a Student density are long.
    u = np.linspace(-20.0, 20.0, 40_001)
    density = np.exp(mixture.log_predictive_density(np.sinh(u)[:, np.newaxis]))
    assert abs(np.trapezoid(density * np.cosh(u), u) - 1.0) < 1e-5
    # scikit-learn's score is no density.
    score = np.exp(mixture.score_samples(np.sinh(u)[:, np.newaxis]))
    assert np.trapezoid(score * np.cosh(u), u) < 0.99


@all_types
def test_predictive_density_integrates_to_one_in_two_dimensions(covariance_type):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 2)) @ [[1.0, 0.6], [0.0, 0.5]]
    mixture = BayesianGaussianMixture(
        2, covariance_type=covariance_type, degrees_of_freedom_prior=4.0, random_state=0
    ).fit(rows)
    u = np.linspace(-9.0, 9.0, 701)
    x, y = np.meshgrid(np.sinh(u), np.sinh(u))
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    density = np.exp(mixture.log_predictive_density(grid)).reshape(x.shape)
    measure = np.cosh(u)[:, np.newaxis] * np.cosh(u)
    total = np.trapezoid(np.trapezoid(density * measure, u), u)
    assert abs(total - 1.0) < 1e-3


def test_predictive_density_of_few_rows_at_a_time(clustered, monkeypatch):
    mixture = BayesianGaussianMixture(3, random_state=0, max_iter=500).fit(clustered)
    expected = mixture.log_predictive_density(clustered)
    monkeypatch.setattr("vbfast.inference.predictive.BLOCK_BYTES", 8 * 3 * 37)
    np.testing.assert_array_equal(mixture.log_predictive_density(clustered), expected)
    broken = clustered.copy()
    broken[100, 2] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        mixture.log_predictive_density(broken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"degrees_of_freedom_prior": 3.0}, "should be greater than 3, but got 3.000"),
        ({"mean_prior": [0.0, 1.0]}, r"'means' should have the shape of \(4,\), but got \(2,\)"),
        ({"covariance_prior": np.eye(3)}, "'full covariance_prior' should have the shape of"),
        ({"covariance_prior": -np.eye(4)}, "'full precision' should be symmetric, positive-def"),
        (
            {"covariance_type": "diag", "covariance_prior": [1.0, 1.0, 0.0, 1.0]},
            "'diag precision' should be positive",
        ),
        (
            {"covariance_type": "spherical", "covariance_prior": [1.0, 2.0]},
            r"'spherical covariance_prior' should have the shape of \(\), but got \(2,\)",
        ),
        ({"weight_concentration_prior": 0.0}, "'weight_concentration_prior' parameter"),
        ({"mean_precision_prior": -1.0}, "'mean_precision_prior' parameter"),
        ({"weight_concentration_prior_type": "pitman_yor"}, "'weight_concentration_prior_type'"),
    ],
)
def test_errors(clustered, arguments, message):
    mixture = BayesianGaussianMixture(2, **arguments)
    with pytest.raises(ValueError, match=message):
        mixture.fit(clustered)
    assert not hasattr(mixture, "means_")


@all_types
def test_a_constant_feature_makes_the_prior_improper(clustered, covariance_type):
    rows = np.column_stack([clustered, np.full(len(clustered), 3.0)])
    if covariance_type == "spherical":
        rows = rows[:, 4:]
    # Some components end without rows, where their covariance is reg_covar's alone.
    mixture = BayesianGaussianMixture(
        5,
        covariance_type=covariance_type,
        weight_concentration_prior=1e-3,
        init_params=np.repeat([0, 1], 300),
        max_iter=1000,
    )
    with pytest.warns(UserWarning, match="covariance_prior is singular") as caught:
        mixture.fit(rows)
    assert caught[0].filename == __file__
    assert np.isfinite(mixture.lower_bounds_).all()


def test_a_fit_that_fails_leaves_everything_as_it_was(clustered):
    mixture = BayesianGaussianMixture(2, random_state=0, max_iter=1000).fit(clustered)
    before = pickle.dumps(mixture)
    broken = clustered.copy()
    broken[3, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        mixture.fit(broken)
    assert pickle.dumps(mixture) == before


def test_verbose_names_the_whole_bound(clustered, capsys):
    BayesianGaussianMixture(2, random_state=0, verbose=1, verbose_interval=1, tol=1.0).fit(
        clustered
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if "  Iteration" in line]
    assert len(lines) > 1
    assert " nats  " in lines[0]
    assert " nats (" in lines[1]


def test_no_component_may_be_left():
    rows = np.linspace(0.0, 1.0, 100)[:, np.newaxis]
    mixture = BayesianGaussianMixture(4, max_iter=0, init_params=np.arange(100) % 4)
    mixture.fit(rows, sample_weight=np.full(100, 0.015))
    assert mixture.n_active_components_ == 0
    with pytest.raises(ValueError, match="none left"):
        mixture.prune()


def test_the_gradient_of_a_singular_posterior_is_refused():
    rows = np.column_stack([np.linspace(-1.0, 1.0, 50), np.ones(50)])
    with pytest.warns(UserWarning, match="singular"):
        mixture = BayesianGaussianMixture(1).fit(rows)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        mixture.elbo_and_grad(rows)


@all_types
@pytest.mark.parametrize("mean_precision_prior", [5e-324, 1e-310])
def test_means_whose_prior_is_as_flat_as_numbers_allow(
    clustered, covariance_type, mean_precision_prior
):
    """Below the smallest normal number; where the rows are, posteriors are those of 1e-300."""
    arguments = {"covariance_type": covariance_type, "random_state": 0}
    flat = BayesianGaussianMixture(4, mean_precision_prior=mean_precision_prior, **arguments)
    usual = BayesianGaussianMixture(4, mean_precision_prior=1e-300, **arguments)
    flat.fit(clustered)
    usual.fit(clustered)
    np.testing.assert_allclose(flat.means_, usual.means_, rtol=1e-10)
    held = usual.n_active_components_
    D = clustered.shape[1]
    lost = 0.5 * D * held * (math.log(1e-300) - math.log(mean_precision_prior))
    assert flat.elbo_ == pytest.approx(usual.elbo_ - lost, rel=1e-10)
    assert np.isfinite(flat.elbo(clustered).total)
    assert np.isfinite(flat.log_predictive_density(clustered)).all()
    assert np.isfinite(flat.log_marginal_likelihood(clustered, n_draws=30).value)
