"""What is kept between calls on small mixtures, and that nobody notices."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone

import vbfast
from vbfast.estimators.validation import as_random_state

ESTIMATORS = (vbfast.GaussianMixture, vbfast.BayesianGaussianMixture)
both = pytest.mark.parametrize("estimator", ESTIMATORS)


@pytest.fixture(name="X")
def rows():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(-3.0, 1.0, (60, 2)), rng.normal(3.0, 1.0, (60, 2))])


@both
def test_attributes_that_are_set_or_written_to_are_noticed(estimator, X):
    mixture = estimator(n_components=2, random_state=0).fit(X)
    before = mixture.score_samples(X)
    other = copy.deepcopy(mixture)
    np.testing.assert_array_equal(other.score_samples(X), before)
    mixture.means_ += 1.0
    moved = mixture.score_samples(X + 1.0)
    np.testing.assert_allclose(moved, before, rtol=1e-12)
    mixture.means_ = mixture.means_ - 1.0
    np.testing.assert_allclose(mixture.score_samples(X), before, rtol=1e-12)
    np.testing.assert_array_equal(other.score_samples(X), before)
    mixture.means_ = mixture.means_.tolist()
    np.testing.assert_allclose(mixture.score_samples(X), before, rtol=1e-12)


@both
def test_an_attribute_that_cannot_be_is_an_error_after_a_good_call_too(estimator, X):
    mixture = estimator(n_components=2, random_state=0).fit(X)
    mixture.predict(X)
    mixture.means_[0, 0] = np.nan
    with pytest.raises(ValueError, match="means_ must be finite"):
        mixture.predict(X)
    del mixture.means_
    with pytest.raises(AttributeError, match="means_"):
        mixture.predict(X)


@both
def test_another_covariance_type_is_noticed(estimator, X):
    mixture = estimator(n_components=2, random_state=0).fit(X)
    mixture.predict(X)
    mixture.set_params(covariance_type="diag")
    with pytest.raises(ValueError, match="covariance_type='diag'"):
        mixture.predict(X)


@both
def test_predictions_leave_the_estimator_as_it_is(estimator, X):
    mixture = estimator(n_components=2, random_state=0).fit(X)
    before = set(vars(mixture))
    mixture.predict(X)
    assert set(vars(mixture)) == before
    loaded = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(loaded.predict(X), mixture.predict(X))


@both
def test_parameters_are_checked_again_where_they_have_changed(estimator, X):
    mixture = estimator(n_components=1, random_state=0).fit(X)
    for wrong in (1.0, 0, None):
        with pytest.raises(ValueError, match="'n_components' parameter"):
            clone(mixture).set_params(n_components=wrong).fit(X)
    with pytest.raises(ValueError, match="'tol' parameter"):
        clone(mixture).set_params(tol=-1.0).fit(X)
    mixture.fit(X)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, np.int64(3), np.uint8(4)])
def test_seeds_make_the_generators_of_numpy(seed):
    ours, theirs = as_random_state(seed), np.random.RandomState(seed)
    np.testing.assert_array_equal(ours.uniform(size=5), theirs.uniform(size=5))
    np.testing.assert_array_equal(ours.standard_normal(3), theirs.standard_normal(3))
    assert ours is not as_random_state(seed)


@pytest.mark.parametrize("seed", [-1, 2**32, "0", 1.5])
def test_wrong_seeds_are_errors(seed):
    with pytest.raises(ValueError, match="random_state must be an integer"):
        as_random_state(seed)


def test_parameter_names_are_those_of_the_constructor():
    class Derived(vbfast.GaussianMixture):
        def __init__(self, n_components=1, *, extra=None):
            super().__init__(n_components)
            self.extra = extra

    assert "extra" not in vbfast.GaussianMixture().get_params()
    assert Derived().get_params() == {"extra": None, "n_components": 1}
