"""Steps in natural parameters through the estimator: coordinate ascent, fractions, few rows."""

from __future__ import annotations

import dataclasses
import pickle
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import BayesianGaussianMixture as ScikitLearnMixture

import vbfast
from vbfast.config.settings import config_context, current_linalg
from vbfast.contract import COVARIANCE_TYPES
from vbfast.estimators import BayesianGaussianMixture

PARAMETERS = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
    "weight_concentration_",
    "mean_precision_",
    "degrees_of_freedom_",
)
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_priors = pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def arguments_of(covariance_type, prior, n_iter):
    return {
        "n_components": 4,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": prior,
        "init_params": "random",
        "random_state": 0,
        "tol": 0.0,
        "reg_covar": 0.0,
        "max_iter": n_iter,
    }


def fitted(rows, covariance_type, prior, n_iter, mixture=BayesianGaussianMixture):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture(**arguments_of(covariance_type, prior, n_iter)).fit(rows)


def assert_same_posterior(ours, theirs, tolerance):
    for name in PARAMETERS:
        mine, expected = getattr(ours, name), getattr(theirs, name)
        assert type(mine) is type(expected)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(mine, expected, rtol=0, atol=tolerance * scale, err_msg=name)


@all_types
@both_priors
@pytest.mark.parametrize("n_iter", [0, 3])
def test_a_step_of_length_one_is_an_iteration(clustered, covariance_type, prior, n_iter):
    start = fitted(clustered, covariance_type, prior, n_iter)
    _, gradient = start.elbo_and_grad(clustered)
    stepped = start.with_natural_parameters(gradient.coordinates + gradient.natural)
    one_more = (clustered, covariance_type, prior, n_iter + 1)
    assert_same_posterior(stepped, fitted(*one_more), 1e-10)
    assert_same_posterior(stepped, fitted(*one_more, ScikitLearnMixture), 1e-8)


@all_types
@both_priors
def test_a_step_of_length_one_in_float32(clustered, covariance_type, prior):
    rows = clustered.astype(np.float32)
    start = fitted(rows, covariance_type, prior, 2)
    _, gradient = start.elbo_and_grad(rows)
    assert gradient.natural.second_moments.dtype == np.float64
    stepped = start.with_natural_parameters(gradient.coordinates + gradient.natural)
    assert stepped.means_.dtype == stepped.covariances_.dtype == np.float32
    assert_same_posterior(stepped, fitted(rows, covariance_type, prior, 3), 1e-5)


@all_types
@both_priors
@both_dtypes
def test_there_and_back(clustered, covariance_type, prior, dtype):
    mixture = fitted(clustered.astype(dtype), covariance_type, prior, 5)
    before = pickle.dumps(mixture)
    back = mixture.with_natural_parameters(mixture.natural_parameters_)
    assert pickle.dumps(mixture) == before
    tolerance = 100 * float(np.finfo(dtype).eps)
    assert_same_posterior(back, mixture, tolerance)
    for name in ("weight_concentration_prior_", "mean_precision_prior_", "mean_prior_"):
        np.testing.assert_array_equal(getattr(back, name), getattr(mixture, name))
    assert back.get_params() == mixture.get_params()
    assert back.n_active_components_ == mixture.n_active_components_
    assert back.elbo(clustered).total == pytest.approx(
        mixture.elbo(clustered).total, abs=tolerance * len(clustered)
    )


@all_types
@both_priors
def test_a_fraction_of_a_step_never_lowers_the_bound(clustered, covariance_type, prior):
    start = fitted(clustered, covariance_type, prior, 1)
    terms, gradient = start.elbo_and_grad(clustered)
    bounds = [terms.total] + [
        start.with_natural_parameters(gradient.coordinates + length * gradient.natural)
        .elbo(clustered)
        .total
        for length in (0.01, 0.1, 0.5, 0.9, 1.0)
    ]
    assert np.all(np.diff(bounds) > 0.0)


@all_types
@both_priors
def test_short_euclidean_steps_raise_the_bound(clustered, covariance_type, prior):
    """The other gradient leads off the path of coordinate ascent: any posterior can be held."""
    start = fitted(clustered, covariance_type, prior, 1)
    terms, gradient = start.elbo_and_grad(clustered)
    names = [field.name for field in dataclasses.fields(gradient.euclidean)]
    slope = sum(np.square(getattr(gradient.euclidean, name)).sum() for name in names)
    length = 1e-7 * min(1.0, 1.0 / slope)
    moved = start.with_natural_parameters(gradient.coordinates + length * gradient.euclidean)
    gained = moved.elbo(clustered).total - terms.total
    assert gained == pytest.approx(length * slope, rel=0.05, abs=1e-9)


@all_types
@both_priors
def test_steps_from_few_rows_reach_the_fit(covariance_type, prior):
    """Robbins and Monro's conditions, as in Hoffman et al. (2013), eq. 26."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 2)) + 7.0 * rng.integers(3, size=(2000, 1))
    mixture = BayesianGaussianMixture(
        3,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior,
        mean_prior=rows.mean(axis=0),
        random_state=0,
        reg_covar=0.0,
    )
    batch_fit = vbfast.BayesianGaussianMixture(**mixture.get_params()).fit(rows)
    mixture.set_params(max_iter=0).fit(rows[:200], sample_weight=len(rows) / 200)
    first = mixture.elbo(rows).total
    for t in range(150):
        batch = rows[rng.integers(len(rows), size=50)]
        _, gradient = mixture.elbo_and_grad(batch, sample_weight=len(rows) / len(batch))
        mixture = mixture.with_natural_parameters(
            gradient.coordinates + (t + 10) ** -0.7 * gradient.natural
        )
    gap = (batch_fit.elbo(rows).total - mixture.elbo(rows).total) / len(rows)
    assert -1e-3 < gap < 0.02
    assert mixture.elbo(rows).total > first


def test_no_iteration_has_led_there_and_a_fit_can_go_on(clustered):
    mixture = fitted(clustered, "full", "dirichlet_process", 3)
    moved = mixture.with_natural_parameters(mixture.natural_parameters_)
    assert (moved.n_iter_, moved.n_passes_, moved.lower_bounds_) == (0, 0, [])
    assert moved.elbo_ == -np.inf
    assert not moved.converged_
    assert mixture.n_iter_ == 3
    moved.set_params(warm_start=True, max_iter=1)
    with pytest.warns(ConvergenceWarning):
        moved.fit(clustered)
    one_more = fitted(clustered, "full", "dirichlet_process", 4)
    assert_same_posterior(moved, one_more, 1e-10)
    assert moved.elbo_ == pytest.approx(one_more.elbo_, rel=1e-12)


def test_accelerated_fits_go_on_from_anywhere(clustered):
    """Also from concentrations below the prior's, which no counts lead to."""
    mixture = fitted(clustered, "diag", "dirichlet_distribution", 3)
    eta = mixture.natural_parameters_
    low = np.full(4, 0.5 * mixture.weight_concentration_prior_)
    moved = mixture.with_natural_parameters(dataclasses.replace(eta, weight_concentration=low))
    moved.set_params(warm_start=True, max_iter=500, accelerate="squarem", tol=1e-3)
    moved.fit(clustered)
    assert moved.converged_
    assert np.isfinite(moved.lower_bounds_).all()


def test_on_the_backend_of_the_mixture(clustered):
    """A step on the reference backend has its factors, to the bit."""
    arguments = arguments_of("full", "dirichlet_process", 2) | {"backend": "reference"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = BayesianGaussianMixture(**arguments).fit(clustered)
    moved = mixture.with_natural_parameters(mixture.natural_parameters_)
    with config_context(backend="reference"):
        expected = current_linalg().precision_cholesky(moved.covariances_)
    np.testing.assert_array_equal(moved.precisions_cholesky_, expected)


def test_one_row_one_component(clustered):
    mixture = BayesianGaussianMixture(1, reg_covar=0.0).fit(clustered[:, :1])
    terms, gradient = mixture.elbo_and_grad(clustered[:1, :1], sample_weight=len(clustered))
    moved = mixture.with_natural_parameters(gradient.coordinates + 0.5 * gradient.natural)
    assert moved.elbo(clustered[:1, :1], sample_weight=len(clustered)).total > terms.total
    assert moved.weights_ == [1.0]


def test_what_is_not_natural_parameters(clustered):
    mixture = BayesianGaussianMixture(2, random_state=0)
    with pytest.raises(NotFittedError):
        mixture.with_natural_parameters(None)
    mixture.fit(clustered)
    _, gradient = mixture.elbo_and_grad(clustered)
    with pytest.raises(TypeError, match="got VariationalGradient"):
        mixture.with_natural_parameters(gradient)
    with pytest.raises(ValueError, match="weight_concentration must be finite and greater than 0"):
        mixture.with_natural_parameters(-1.0 * gradient.coordinates)
    other = BayesianGaussianMixture(3, random_state=0).fit(clustered)
    with pytest.raises(ValueError, match=r"second_moments must have shape \(2, 4, 4\); got \(3, 4"):
        mixture.with_natural_parameters(other.natural_parameters_)
