"""Mixtures of some features, given others, and as scikit-learn's estimators."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import vbfast
from vbfast.contract import COVARIANCE_TYPES

MIXTURES = [vbfast.GaussianMixture, vbfast.BayesianGaussianMixture]
both_mixtures = pytest.mark.parametrize("mixture_class", MIXTURES)
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


@pytest.fixture(scope="module", name="X")
def rows():
    rng = np.random.default_rng(0)
    turns = rng.normal(size=(3, 4, 4))
    centres = 3.0 * rng.normal(size=(3, 4))
    labels = rng.integers(3, size=600)
    return centres[labels] + np.einsum("nd,nde->ne", rng.normal(size=(600, 4)), turns[labels])


def fit(mixture_class, X, covariance_type="full", **others):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture_class(
            n_components=3, covariance_type=covariance_type, random_state=0, **others
        ).fit(X)


@both_mixtures
@all_types
def test_density_is_a_product(X, mixture_class, covariance_type):
    """log p(x) = log p(x_given) + log p(x_others | x_given)."""
    mixture = fit(mixture_class, X, covariance_type)
    given, others = [3, 1], [0, 2]
    marginal, whole = mixture.marginal(given), mixture.marginal(range(4))
    assert type(marginal) is vbfast.GaussianMixture
    for row in X[::100]:
        conditional = mixture.condition(given, row[given])
        density = marginal.score_samples(row[np.newaxis, given])
        density += conditional.score_samples(row[np.newaxis, others])
        np.testing.assert_allclose(
            density, whole.score_samples(row[np.newaxis]), rtol=1e-9, atol=1e-9
        )


@all_types
def test_marginal_of_all_features_is_the_mixture(X, covariance_type):
    mixture = fit(vbfast.GaussianMixture, X, covariance_type)
    whole = mixture.marginal(range(4))
    np.testing.assert_allclose(whole.score_samples(X), mixture.score_samples(X), rtol=1e-10)
    np.testing.assert_allclose(whole.covariances_, mixture.covariances_, rtol=1e-9, atol=1e-12)


def test_marginal_of_a_far_value(X):
    """The weights are the limit of the responsibilities where every density is zero."""
    mixture = fit(vbfast.GaussianMixture, X)
    given = mixture.condition(0, 1e200)
    assert np.isclose(given.weights_.sum(), 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_that_of_the_fit(X, dtype):
    mixture = fit(vbfast.GaussianMixture, X.astype(dtype))
    assert mixture.marginal([0, 1]).means_.dtype == dtype
    assert mixture.condition([0], [0.0]).covariances_.dtype == dtype


def test_it_is_fitted(X, tmp_path):
    mixture = fit(vbfast.GaussianMixture, X).marginal([0, 2])
    assert mixture.n_features_in_ == 2
    assert mixture.n_iter_ == 0
    assert mixture.sample(5)[0].shape == (5, 2)
    mixture.save(tmp_path / "marginal.npz")
    loaded = vbfast.load(tmp_path / "marginal.npz")
    np.testing.assert_array_equal(loaded.score_samples(X[:, :2]), mixture.score_samples(X[:, :2]))
    assert mixture.set_params(warm_start=True, max_iter=5).fit(X[:, [0, 2]]).n_iter_ >= 1


def test_names(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    mixture = fit(vbfast.GaussianMixture, frame)
    marginal = mixture.marginal(["d", "b"])
    assert marginal.feature_names_in_.tolist() == ["d", "b"]
    np.testing.assert_array_equal(marginal.means_, mixture.means_[:, [3, 1]])
    conditional = mixture.condition("c", 1.0)
    assert conditional.feature_names_in_.tolist() == ["a", "b", "d"]
    assert np.isfinite(conditional.score(frame[["a", "b", "d"]]))
    with pytest.raises(ValueError, match="'e' is none of the features a, b, c, d"):
        mixture.marginal("e")


def test_truth_values_and_negative_columns(X):
    mixture = fit(vbfast.GaussianMixture, X)
    chosen = mixture.marginal([False, True, False, True])
    np.testing.assert_array_equal(chosen.means_, mixture.means_[:, [1, 3]])
    np.testing.assert_array_equal(mixture.marginal(-1).means_, mixture.means_[:, [3]])


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ([], ValueError, "features must have at least one"),
        (np.array([], dtype=int), ValueError, "features must have at least one"),
        ([0, 0], ValueError, "features must be distinct"),
        ([0, -4], ValueError, "features must be distinct"),
        ([4], ValueError, "features must be in -4..3; got 4"),
        ([0.0], TypeError, "features must be columns or their names"),
        ([[0, 1]], TypeError, "features must be columns or their names"),
        ([True], ValueError, "features has 1 truth values for 4 features"),
        ("a", ValueError, "features .* without feature names; got 'a'"),
        ([[1], [0, 1]], TypeError, "features must be columns or their names"),
        ([None], TypeError, "features must be columns or their names; got None"),
    ],
)
def test_wrong_features(X, features, error, message):
    mixture = fit(vbfast.GaussianMixture, X)
    for call in (mixture.marginal, lambda chosen: mixture.condition(chosen, 0.0)):
        with pytest.raises(error, match=message):
            call(features)


@pytest.mark.parametrize(
    ("features", "values", "error", "message"),
    [
        ([0, 1, 2, 3], np.zeros(4), ValueError, "features must leave at least one"),
        ([0, 1], [0.0], ValueError, r"values must have shape \(2,\); got \(1,\)"),
        ([0], [np.nan], ValueError, "values must be finite"),
        ([0], ["a"], TypeError, "values"),
        ([0], [1j], TypeError, "values"),
    ],
)
def test_wrong_values(X, features, values, error, message):
    with pytest.raises(error, match=message):
        fit(vbfast.GaussianMixture, X).condition(features, values)


@both_mixtures
def test_not_fitted(mixture_class):
    for call in (
        lambda mixture: mixture.marginal([0]),
        lambda mixture: mixture.condition([0], [0.0]),
        lambda mixture: mixture.to_sklearn(),
    ):
        with pytest.raises(NotFittedError):
            call(mixture_class())


@both_mixtures
@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scikit_learn_says_the_same(X, mixture_class, covariance_type, dtype):
    X = X.astype(dtype)
    mixture = fit(mixture_class, X, covariance_type)
    theirs = mixture.to_sklearn()
    assert type(theirs) is getattr(sklearn.mixture, mixture_class.__name__)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(
        theirs.score_samples(X), mixture.score_samples(X), rtol=tolerance, atol=tolerance
    )
    np.testing.assert_array_equal(theirs.predict(X), mixture.predict(X))
    assert theirs.get_params()["n_components"] == 3
    pickle.loads(pickle.dumps(theirs))


@both_mixtures
@all_types
def test_from_scikit_learn(X, mixture_class, covariance_type):
    theirs = fit(getattr(sklearn.mixture, mixture_class.__name__), X, covariance_type)
    mixture = mixture_class.from_sklearn(theirs)
    np.testing.assert_allclose(mixture.score_samples(X), theirs.score_samples(X), rtol=1e-8)
    np.testing.assert_array_equal(mixture.means_, theirs.means_)
    assert mixture.means_ is not theirs.means_
    assert (mixture.converged_, mixture.n_iter_) == (theirs.converged_, theirs.n_iter_)
    there_and_back = mixture_class.from_sklearn(mixture.to_sklearn())
    np.testing.assert_array_equal(there_and_back.score_samples(X), mixture.score_samples(X))


@both_mixtures
def test_a_fit_goes_on_from_scikit_learn_s(X, mixture_class):
    theirs = fit(getattr(sklearn.mixture, mixture_class.__name__), X, max_iter=3)
    mixture = mixture_class.from_sklearn(theirs).set_params(warm_start=True, max_iter=200)
    before = mixture.score(X)
    assert mixture.fit(X).score(X) > before


def test_names_come_along(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    theirs = fit(vbfast.GaussianMixture, frame).to_sklearn()
    assert theirs.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert vbfast.GaussianMixture.from_sklearn(theirs).feature_names_in_.tolist()[0] == "a"


def test_parameters_that_scikit_learn_does_not_know(X):
    labels = np.arange(len(X)) % 3
    mixture = fit(
        vbfast.GaussianMixture, X, init_params=labels, accelerate="squarem", init_size="all"
    )
    theirs = mixture.to_sklearn()
    assert theirs.init_params == "kmeans"
    theirs.fit(X)


def test_classes_are_not_mixed(X):
    theirs = fit(sklearn.mixture.GaussianMixture, X)
    with pytest.raises(TypeError, match="must be scikit-learn's BayesianGaussianMixture; got"):
        vbfast.BayesianGaussianMixture.from_sklearn(theirs)
    with pytest.raises(
        TypeError, match="must be scikit-learn's GaussianMixture; got <class 'int'>"
    ):
        vbfast.GaussianMixture.from_sklearn(3)
    with pytest.raises(NotFittedError):
        vbfast.GaussianMixture.from_sklearn(sklearn.mixture.GaussianMixture())


def test_attributes_are_checked(X):
    theirs = fit(sklearn.mixture.GaussianMixture, X)
    theirs.weights_ = -theirs.weights_
    with pytest.raises(ValueError, match="weights"):
        vbfast.GaussianMixture.from_sklearn(theirs)
    theirs.weights_ = np.ones(2) / 2
    with pytest.raises(ValueError, match="weights has shape"):
        vbfast.GaussianMixture.from_sklearn(theirs)


def test_a_mixture_that_was_set_by_hand(X):
    theirs = fit(sklearn.mixture.GaussianMixture, X)
    for name in ("lower_bound_", "lower_bounds_", "n_iter_", "converged_", "n_features_in_"):
        vars(theirs).pop(name, None)  # some are not there before scikit-learn 1.7
    mixture = vbfast.GaussianMixture.from_sklearn(theirs)
    assert (mixture.n_iter_, mixture.converged_, mixture.n_features_in_) == (0, False, 4)
    del theirs.covariances_
    with pytest.raises(ValueError, match="mixture has no covariances_"):
        vbfast.GaussianMixture.from_sklearn(theirs)


def test_parameters_are_copied(X):
    start = np.ones(3) / 3
    mixture = fit(vbfast.GaussianMixture, X, weights_init=start)
    assert mixture.to_sklearn().weights_init is not start
