"""A function of the caller's hears of every iteration of a fit, and may end it."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import sklearn
from sklearn.exceptions import ConvergenceWarning

from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture
from vbfast.config.settings import current_backend
from vbfast.families import Gaussian

ARGUMENTS = {"random_state": 0, "tol": 0.0, "max_iter": 8}


def gaussian_family(n_components, **arguments):
    return Mixture(Gaussian(), n_components, **arguments)


every_mixture = pytest.mark.parametrize(
    "make", [GaussianMixture, BayesianGaussianMixture, gaussian_family]
)
unconverged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(name="X")
def rows(rng):
    centres = 3.0 * rng.normal(size=(3, 4))
    return centres[rng.integers(3, size=400)] + rng.normal(size=(400, 4))


def fitted_attributes(mixture):
    return {name: id(value) for name, value in vars(mixture).items() if name.endswith("_")}


def assert_same_fit(one, other):
    np.testing.assert_array_equal(one.means_, other.means_)
    assert one.lower_bounds_ == other.lower_bounds_


@unconverged
@every_mixture
@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_it_hears_of_every_iteration(X, make, accelerate):
    heard = []
    mixture = make(3, **ARGUMENTS, n_init=2, accelerate=accelerate)
    mixture.fit(X, callback=heard.append)
    assert_same_fit(mixture, make(3, **ARGUMENTS, n_init=2, accelerate=accelerate).fit(X))
    assert {one.initialization for one in heard} == {0, 1}
    best = []
    for index in (0, 1):
        of_start = [one for one in heard if one.initialization == index]
        assert [one.iteration for one in of_start] == list(range(1, len(of_start) + 1))
        bounds = [one.lower_bound for one in of_start]
        assert of_start[0].change == np.inf
        assert [one.change for one in of_start[1:]] == np.diff(bounds).tolist()
        best.append(bounds)
    assert mixture.lower_bounds_ in best


@every_mixture
def test_it_ends_the_fit_without_a_warning(X, make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture = make(3, **ARGUMENTS, n_init=5).fit(X, callback=lambda one: one.iteration == 3)
    assert mixture.n_iter_ == 3
    assert not mixture.converged_
    with pytest.warns(ConvergenceWarning):
        expected = make(3, **{**ARGUMENTS, "max_iter": 3}).fit(X)
    assert_same_fit(mixture, expected)


@unconverged
def test_the_best_start_so_far_is_kept(X):
    whole = GaussianMixture(3, **ARGUMENTS).fit(X)
    stopped = GaussianMixture(3, **ARGUMENTS, n_init=3).fit(
        X, callback=lambda one: one.initialization == 1
    )
    assert_same_fit(stopped, whole)


@unconverged
@every_mixture
def test_a_fitted_copy_is_made_when_it_is_asked_for(X, make):
    copies = []
    mixture = make(3, **ARGUMENTS)

    def keep(one):
        assert fitted_attributes(mixture).keys() <= {"n_features_in_"}
        if one.iteration in (2, 5):
            copies.append(one.fitted_estimator())

    mixture.fit(X, callback=keep)
    for n_iter, copied in zip((2, 5), copies, strict=True):
        assert_same_fit(copied, make(3, **{**ARGUMENTS, "max_iter": n_iter}).fit(X))
        assert copied.n_iter_ == n_iter
        assert np.isfinite(copied.score(X))
    assert mixture.n_iter_ == 8


@unconverged
def test_what_it_raises_leaves_the_estimator_as_it_was(X):
    mixture = GaussianMixture(3, **ARGUMENTS).fit(X)
    before = fitted_attributes(mixture)

    def fail(one):
        raise LookupError(one.iteration)

    for method in (mixture.fit, mixture.fit_predict):
        with pytest.raises(LookupError, match="1"):
            method(X[:200], callback=fail)
        assert fitted_attributes(mixture) == before


@unconverged
def test_an_interruption_in_it_keeps_the_iteration(X):
    def interrupt(one):
        if one.iteration == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        GaussianMixture(3, **ARGUMENTS).fit(X, callback=interrupt)
    expected = GaussianMixture(3, **{**ARGUMENTS, "max_iter": 4}).fit(X)
    assert_same_fit(caught.value.partial, expected)


@unconverged
def test_progress_is_shown_all_the_same(X, capsys):
    GaussianMixture(3, **ARGUMENTS, verbose=1, verbose_interval=1).fit(X)
    shown = capsys.readouterr().out
    heard = []
    GaussianMixture(3, **ARGUMENTS, verbose=1, verbose_interval=1).fit(X, callback=heard.append)
    assert len(capsys.readouterr().out.splitlines()) == len(shown.splitlines())
    assert len(heard) == 8


@unconverged
def test_labels_are_those_of_the_last_iteration(X):
    mixture = GaussianMixture(3, **ARGUMENTS)
    labels = mixture.fit_predict(X, callback=lambda one: one.iteration == 2)
    assert mixture.n_iter_ == 2
    np.testing.assert_array_equal(labels, mixture.predict(X))


@unconverged
def test_copies_may_be_made_later(X):
    heard = []
    GaussianMixture(3, **ARGUMENTS).fit(X, callback=heard.append)
    assert [one.fitted_estimator().n_iter_ for one in heard] == list(range(1, 9))


@unconverged
def test_draws_of_a_copy_do_not_change_the_fit(X):
    arguments = {**ARGUMENTS, "n_init": 2, "init_params": "random"}

    def draw(one):
        one.fitted_estimator().sample(5)

    watched, alone = (
        GaussianMixture(3, **{**arguments, "random_state": np.random.RandomState(0)}).fit(
            X, callback=callback
        )
        for callback in (draw, None)
    )
    assert_same_fit(watched, alone)


@unconverged
def test_it_runs_in_the_callers_context(X):
    def check(one):
        assert current_backend() == "native"
        with pytest.raises(ValueError, match="tol"):
            GaussianMixture(2, tol=-1.0).fit(X)

    GaussianMixture(3, **ARGUMENTS, backend="reference").fit(X, callback=check)


@unconverged
def test_an_interruption_of_a_fit_within_a_start_keeps_nothing(X):
    def interrupt(one):
        raise KeyboardInterrupt

    def start(rows, n_components, random_state):
        GaussianMixture(5, **ARGUMENTS).fit(rows, callback=interrupt)

    with pytest.raises(KeyboardInterrupt) as caught:
        GaussianMixture(2, init_params=start).fit(X)
    assert caught.value.partial is None


def test_what_cannot_be_called_is_refused(X):
    with pytest.raises(TypeError, match="callback must be callable; got list"):
        GaussianMixture(3).fit(X, callback=[])


@pytest.mark.skipif(find_spec("sklearn.callback") is not None, reason="scikit-learn has callbacks")
def test_scikit_learn_has_no_callbacks_before_1_9():
    with pytest.raises(NotImplementedError, match=r"needs scikit-learn 1\.9 or newer"):
        GaussianMixture(3).set_callbacks()


def test_no_meta_estimator_hands_it_on():
    with sklearn.config_context(enable_metadata_routing=True):
        routing = GaussianMixture(3).get_metadata_routing()
    assert "callback" not in str(routing.fit)
    assert "sample_weight" in str(routing.fit)
