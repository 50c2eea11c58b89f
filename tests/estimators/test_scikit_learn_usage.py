"""The estimator among others: pickled, cloned, searched over, in workers, and when a fit fails."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle

import numpy as np
import pytest
import sklearn.mixture
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vbfast.contract import COVARIANCE_TYPES
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture
from vbfast.passes import runner

pytestmark = pytest.mark.kernels


both_mixtures = pytest.mark.parametrize("mixture_class", [GaussianMixture, BayesianGaussianMixture])


def scikit_learns(mixture_class):
    return getattr(sklearn.mixture, mixture_class.__name__)


@both_mixtures
def test_constructor_is_scikit_learns(mixture_class):
    theirs = scikit_learns(mixture_class)
    ours = {key: repr(value) for key, value in mixture_class().get_params().items()}
    expected = {key: repr(value) for key, value in theirs().get_params().items()}
    own = {"init_size", "accelerate", "backend"}
    own |= {"learning_decay", "learning_offset", "step_size", "total_samples"}
    own |= {"batch_size", "batch_method", "final_pass", "checkpoint", "checkpoint_interval"}
    own |= {"truncation", "n_neighbors", "n_random", "truncation_state"}
    own |= {"annealing", "compute_bound_gap", "reseeding"}
    assert own <= set(ours)
    ours = {name: value for name, value in ours.items() if name not in own}
    assert ours == expected
    assert list(ours) == list(expected)


@both_mixtures
def test_fitted_attributes_are_scikit_learns(clustered, mixture_class):
    theirs = scikit_learns(mixture_class)
    ours = mixture_class(n_components=2, random_state=0, max_iter=1000).fit(clustered)
    expected = theirs(n_components=2, random_state=0, max_iter=1000).fit(clustered)
    beyond = {"n_passes_", "lower_bounds_"}  # scikit-learn's has the latter from 1.7 on
    if mixture_class is BayesianGaussianMixture:
        beyond.add("n_active_components_")
    assert {name for name in vars(ours) if name.endswith("_")} == beyond | {
        name for name in vars(expected) if name.endswith("_")
    }
    public = {name for name in dir(theirs) if not name.startswith("_")}
    assert public <= set(dir(mixture_class))


@both_mixtures
def test_pickling_and_cloning(clustered, mixture_class):
    mixture = mixture_class(2, random_state=0, covariance_type="diag", max_iter=1000).fit(clustered)
    copy = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(copy.predict_proba(clustered), mixture.predict_proba(clustered))
    unfitted = clone(mixture)
    assert unfitted.get_params() == mixture.get_params()
    with pytest.raises(NotFittedError):
        unfitted.predict(clustered)
    np.testing.assert_array_equal(unfitted.fit(clustered).means_, mixture.means_)


def test_attributes_set_by_hand_are_enough(clustered):
    fitted = GaussianMixture(2, random_state=0).fit(clustered)
    by_hand = GaussianMixture(2)
    by_hand.weights_ = fitted.weights_.tolist()
    by_hand.means_ = fitted.means_.tolist()
    by_hand.precisions_cholesky_ = fitted.precisions_cholesky_
    np.testing.assert_array_equal(by_hand.predict(clustered), fitted.predict(clustered))
    assert by_hand.score(clustered) == fitted.score(clustered)


def test_grid_search_in_a_pipeline(clustered):
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(random_state=0))
    search = GridSearchCV(pipeline, {"gaussianmixture__n_components": [1, 4]}, cv=2)
    search.fit(clustered)
    assert search.best_params_ == {"gaussianmixture__n_components": 4}
    assert search.predict(clustered).shape == (600,)
    scaled = pipeline[:-1].set_output(transform="default").fit_transform(clustered)
    assert scaled.shape == clustered.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 0}, "The 'n_components' parameter of GaussianMixture must be an int"),
        ({"covariance_type": "round"}, "The 'covariance_type' parameter of GaussianMixture must"),
        ({"tol": -1.0}, "The 'tol' parameter of GaussianMixture must be a float"),
        ({"init_params": "magic"}, "The 'init_params' parameter of GaussianMixture must be a str"),
        ({"max_iter": -1}, "The 'max_iter' parameter of GaussianMixture must be an int"),
    ],
)
def test_bad_arguments(clustered, arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**arguments).fit(clustered)


class Interrupter:
    """Stands in for ``run_pass``; raises on its n-th call."""

    def __init__(self, error, after):
        self.error = error
        self.left = after
        self.run_pass = runner.run_pass

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.run_pass(*args, **kwargs)


def state_of(estimator):
    return {key: pickle.dumps(value) for key, value in vars(estimator).items()}


@pytest.mark.usefixtures("loops_in_python")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("method", ["fit", "fit_predict"])
@pytest.mark.parametrize("fitted_before", [False, True])
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(
    clustered, given_start, monkeypatch, error, method, fitted_before
):
    mixture = GaussianMixture(**given_start("diag"), warm_start=True, tol=1e-9, max_iter=20)
    if fitted_before:
        with pytest.warns(ConvergenceWarning):
            mixture.fit(clustered)
    before = state_of(mixture)
    monkeypatch.setattr("vbfast.passes.runner.run_pass", Interrupter(error, after=3))
    with pytest.raises(type(error)):
        getattr(mixture, method)(clustered + 1.0)
    assert state_of(mixture) == before


def test_bad_rows_leave_the_estimator_as_it_was(clustered):
    mixture = GaussianMixture(2, random_state=0).fit(clustered)
    before = state_of(mixture)
    rows = np.full((10, 3), np.nan)
    with pytest.raises(ValueError, match="NaN"):
        mixture.fit(rows)
    assert state_of(mixture) == before


def test_verbose_fit_prints(clustered, capsys):
    GaussianMixture(3, random_state=0, verbose=2, verbose_interval=1, n_init=2).fit(clustered)
    out = capsys.readouterr().out
    assert "Initialization 0\n" in out
    assert "Initialization 1\n" in out
    assert "  Iteration 1\t time lapse" in out
    assert "rows/s" in out
    assert "Initialization converged. time lapse" in out


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++"])
@both_mixtures
def test_verbose_fit_shows_the_start_and_a_number(clustered, capsys, mixture_class, init_params):
    mixture = mixture_class(3, random_state=0, verbose=1, tol=1.0, init_params=init_params)
    mixture.fit(clustered)
    assert mixture.n_iter_ < mixture.verbose_interval
    out = capsys.readouterr().out
    assert "  k-means++ centre 1 of 3\n" in out
    assert f"bound {mixture.lower_bound_:.6f}" in out
    assert "inf" not in out


def test_fits_in_forked_children_after_a_fit(clustered):
    mixture = GaussianMixture(3, random_state=0)
    expected = clone(mixture).fit(clustered)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        fitted = pool.map_async(mixture.fit, [clustered] * 4).get(timeout=60)
    for child in fitted:
        np.testing.assert_array_equal(child.means_, expected.means_)


def test_fits_in_joblib_workers(clustered):
    mixture = GaussianMixture(3, random_state=0)
    expected = clone(mixture).fit(clustered)
    for child in Parallel(n_jobs=2)(delayed(mixture.fit)(clustered) for _ in range(2)):
        np.testing.assert_array_equal(child.means_, expected.means_)


@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize(("fitted", "changed"), itertools.permutations(COVARIANCE_TYPES, 2))
def test_a_covariance_type_that_is_not_the_fits(clustered, mixture, fitted, changed):
    """Parameters of another shape must not reach the kernels, which would read beyond them."""
    model = mixture(2, covariance_type=fitted, random_state=0).fit(clustered)
    model.set_params(covariance_type=changed)
    with pytest.raises(ValueError, match="Fit again"):
        model.score(clustered)
    with pytest.raises(ValueError, match="Fit again"):
        model.elbo(clustered)
