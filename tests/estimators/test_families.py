"""Mixtures of any family: those of Gaussians are GaussianMixtures, to the bit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import vbfast
from vbfast import GaussianMixture, Mixture
from vbfast.contract import COVARIANCE_TYPES
from vbfast.families import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


@parametrize_with_checks([Mixture(Gaussian("diag"), max_iter=5)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_conventions(estimator, check):
    check(estimator)


def pair(covariance_type, reg_covar=1e-3, **arguments):
    arguments = {"random_state": 3, "max_iter": 12, "tol": 1e-4, **arguments}
    return (
        Mixture(Gaussian(covariance_type, reg_covar), 3, **arguments),
        GaussianMixture(3, covariance_type=covariance_type, reg_covar=reg_covar, **arguments),
    )


def assert_same(one, other):
    for name in (*ATTRIBUTES, "lower_bounds_"):
        value, expected = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(value, expected)
        assert np.asarray(value).dtype == np.asarray(expected).dtype
    assert one.n_iter_ == other.n_iter_
    assert one.n_passes_ == other.n_passes_
    assert one.converged_ == other.converged_


@every_type
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_mixture_of_gaussians_is_a_gaussian_mixture(
    clustered, covariance_type, init_params, dtype
):
    ours, theirs = pair(covariance_type, init_params=init_params, n_init=2)
    X = clustered.astype(dtype)
    assert_same(ours.fit(X), theirs.fit(X))


@every_type
def test_so_with_weights_next_to_nothing(clustered, rng, covariance_type):
    weight = 1e-12 * rng.uniform(size=len(clustered))
    ours, theirs = pair(covariance_type)
    ours.fit(clustered, sample_weight=weight)
    assert_same(ours, theirs.fit(clustered, sample_weight=weight))


@every_type
def test_so_with_accelerated_iterations(clustered, covariance_type):
    ours, theirs = pair(covariance_type, accelerate="squarem", max_iter=200, tol=1e-7)
    assert_same(ours.fit(clustered), theirs.fit(clustered))


@every_type
def test_so_are_its_methods(clustered, covariance_type):
    ours, theirs = (mixture.fit(clustered) for mixture in pair(covariance_type))
    for method in ("predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl"):
        value, expected = (getattr(mixture, method)(clustered) for mixture in (ours, theirs))
        np.testing.assert_array_equal(value, expected)
    for value, expected in zip(ours.sample(200, 0), theirs.sample(200, 0), strict=True):
        np.testing.assert_array_equal(value, expected)
    assert ours.elbo(clustered) == theirs.elbo(clustered)


def test_so_are_its_steps(clustered):
    ours, theirs = pair("full")
    for mixture in (ours.initialize(clustered), theirs.initialize(clustered)):
        for _ in range(3):
            mixture.maximize(mixture.summarize(clustered))
    for name in ATTRIBUTES:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_fit_goes_on(clustered):
    whole = Mixture(Gaussian("tied"), 3, random_state=0, tol=0.0, max_iter=8).fit(clustered)
    parts = Mixture(Gaussian("tied"), 3, random_state=0, tol=0.0, max_iter=4, warm_start=True).fit(
        clustered
    )
    np.testing.assert_array_equal(parts.fit(clustered).means_, whole.means_)
    parts.set_params(family=Gaussian("diag"))
    with pytest.raises(ValueError, match=r"warm_start=True goes on from .* covariance_type='diag'"):
        parts.fit(clustered)


def test_another_family_than_the_fitted_one(clustered):
    mixture = Mixture(Gaussian("diag"), 2, random_state=0).fit(clustered)
    again = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(again.predict_proba(clustered), mixture.predict_proba(clustered))
    assert clone(mixture).family == Gaussian("diag")

    class Exponential(vbfast.families.ComponentFamily):
        pass

    mixture.set_params(family=Exponential())
    with pytest.raises(AttributeError, match="no fitted attribute 'parameters_': fit it again"):
        mixture.predict(clustered)
    with pytest.raises(NotFittedError):
        clone(again).predict(clustered)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("round",), "covariance_type must be one of 'full', 'tied', 'diag', 'spherical'; got"),
        (("full", -1.0), "reg_covar must be at least 0 and finite; got -1.0"),
        (("full", np.nan), "reg_covar must be at least 0 and finite; got nan"),
        (("full", [1.0]), "reg_covar must be at least 0 and finite; got"),
    ],
)
def test_what_is_no_family_of_gaussians(arguments, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(*arguments)


def test_attributes_may_be_set_by_hand(clustered):
    """As with scikit-learn's: what is needed, and no more."""
    fitted = GaussianMixture(2, random_state=0).fit(clustered)
    mixture = GaussianMixture(2)
    mixture.weights_, mixture.means_ = fitted.weights_, fitted.means_
    mixture.precisions_cholesky_ = fitted.precisions_cholesky_
    np.testing.assert_array_equal(mixture.predict_proba(clustered), fitted.predict_proba(clustered))
    rows, _ = mixture.sample(500, random_state=0)
    np.testing.assert_allclose(rows, fitted.sample(500, random_state=0)[0], rtol=1e-9)
    del mixture.precisions_cholesky_
    mixture.covariances_ = fitted.covariances_
    np.testing.assert_array_equal(mixture.sample(9, 0)[0], fitted.sample(9, 0)[0])
    np.testing.assert_allclose(mixture.score(clustered), fitted.score(clustered), rtol=1e-12)
