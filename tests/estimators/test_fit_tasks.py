"""scikit-learn's callbacks hear of a fit, its starts and iterations, and may end them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone

from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture
from vbfast.config.settings import current_backend
from vbfast.families import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

callback = pytest.importorskip("sklearn.callback", reason="from scikit-learn 1.9 on")

ARGUMENTS = {"random_state": 0, "tol": 0.0, "max_iter": 4}


def gaussian_family(n_components, **arguments):
    return Mixture(Gaussian(), n_components, **arguments)


every_mixture = pytest.mark.parametrize(
    "make", [GaussianMixture, BayesianGaussianMixture, gaussian_family]
)


@pytest.fixture(name="X")
def rows(rng):
    centres = 3.0 * rng.normal(size=(3, 4))
    return centres[rng.integers(3, size=400)] + rng.normal(size=(400, 4))


class Recorder:
    """Writes down what it hears, and ends what it is told to."""

    def __init__(self, ends=lambda context: False):
        self.heard = []
        self.ends = ends

    def setup(self, estimator, context):
        self.heard.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.heard.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(("begin", *path(context)))

    def on_fit_task_end(self, estimator, context):
        self.heard.append(("end", *path(context)))
        return self.ends(context)

    def tasks(self, which):
        return [heard[1:] for heard in self.heard if heard[0] == which]


class Keeper(Recorder):
    """Keeps what hooks may ask for, at the end of each task."""

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.heard.append((context.task_name, X, y, metadata, fitted_estimator))


def path(context):
    above = () if context.parent is None else path(context.parent)
    return (*above, (context.task_name, context.task_id))


def assert_same_fit(one, other):
    np.testing.assert_array_equal(one.means_, other.means_)
    assert one.lower_bounds_ == other.lower_bounds_


@every_mixture
@pytest.mark.parametrize("method", ["fit", "fit_predict"])
@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_tasks_nest(X, make, method, accelerate):
    recorder = Recorder()
    arguments = {**ARGUMENTS, "n_init": 2, "accelerate": accelerate}
    mixture = make(3, **arguments).set_callbacks(recorder)
    getattr(mixture, method)(X)
    assert_same_fit(mixture, make(3, **arguments).fit(X))
    assert recorder.heard[0] == ("setup", "fit")
    assert recorder.heard[1] == ("begin", ("fit", 0))
    assert recorder.heard[-2] == ("end", ("fit", 0))
    assert recorder.heard[-1] == ("teardown", "fit")
    iterations = [
        (("fit", 0), ("initialization", start), ("iteration", iteration))
        for start in range(2)
        for iteration in range(4)
    ]
    for which in ("begin", "end"):
        assert [task for task in recorder.tasks(which) if len(task) == 3] == iterations
        assert [task for task in recorder.tasks(which) if len(task) == 2] == [
            (("fit", 0), ("initialization", start)) for start in range(2)
        ]
    assert not [name for name in vars(mixture) if "callback_fit" in name or "teardown" in name]


@every_mixture
def test_hooks_get_what_they_ask_for(X, make):
    keeper = Keeper()
    y, weights = np.arange(400), np.ones(400)
    mixture = make(3, **ARGUMENTS).set_callbacks(keeper).fit(X, y, sample_weight=weights)
    ends = [heard for heard in keeper.heard if len(heard) == 5]
    assert [name for name, *_ in ends] == ["iteration"] * 4 + ["initialization", "fit"]
    for _, given, target, metadata, fitted in ends:
        assert given is X
        assert target is y
        assert metadata == {"sample_weight": weights}
        assert np.isfinite(fitted.score(X))
    for n_iter, (*_, fitted) in enumerate(ends[:4], 1):
        assert_same_fit(
            fitted, make(3, **{**ARGUMENTS, "max_iter": n_iter}).fit(X, sample_weight=weights)
        )
    for *_, fitted in ends[3:]:
        assert fitted is not mixture
        assert_same_fit(fitted, mixture)


def test_a_fitted_copy_is_made_only_if_it_is_asked_for(X, monkeypatch):
    monkeypatch.setattr(copy, "copy", pytest.fail)
    GaussianMixture(3, **ARGUMENTS).set_callbacks(Recorder()).fit(X)


@pytest.mark.filterwarnings("error")
def test_iterations_of_a_start_are_ended(X):
    recorder = Recorder(lambda context: context.task_name == "iteration" and context.task_id == 1)
    mixture = GaussianMixture(3, **ARGUMENTS, n_init=3).set_callbacks(recorder).fit(X)
    assert mixture.n_iter_ == 2
    assert not mixture.converged_
    ended = [task for task in recorder.tasks("end") if len(task) == 2]
    assert ended == [(("fit", 0), ("initialization", start)) for start in range(3)]
    iterations = {"n_init": 3, **ARGUMENTS, "max_iter": 2}
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        assert_same_fit(mixture, GaussianMixture(3, **iterations).fit(X))


def test_starts_are_ended(X):
    recorder = Recorder(lambda context: context.task_name == "initialization")
    mixture = GaussianMixture(3, **ARGUMENTS, n_init=3).set_callbacks(recorder).fit(X)
    assert len([task for task in recorder.tasks("begin") if len(task) == 2]) == 1
    assert_same_fit(mixture, GaussianMixture(3, **ARGUMENTS).fit(X))


@pytest.mark.parametrize("hook", ["setup", "on_fit_task_begin", "on_fit_task_end"])
def test_what_a_hook_raises_leaves_the_estimator_as_it_was(X, hook, monkeypatch):
    mixture = GaussianMixture(3, **ARGUMENTS).fit(X)
    recorder = Recorder()
    mixture.set_callbacks(recorder)
    before = dict(vars(mixture))

    def fail(estimator, context):
        raise LookupError

    monkeypatch.setattr(recorder, hook, fail)
    with pytest.raises(LookupError):
        mixture.fit(X[:300])
    assert vars(mixture) == before
    assert recorder.heard[-1] == ("teardown", "fit")


def test_an_interruption_tears_down_and_keeps_nothing_of_the_tasks(X):
    def interrupt(context):
        if context.task_name == "iteration" and context.task_id == 2:
            raise KeyboardInterrupt

    recorder = Recorder(interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        GaussianMixture(3, **ARGUMENTS).set_callbacks(recorder).fit(X)
    assert recorder.heard[-1] == ("teardown", "fit")
    partial = caught.value.partial
    assert_same_fit(partial, GaussianMixture(3, **{**ARGUMENTS, "max_iter": 3}).fit(X))
    assert "_callback_fit_ctx" not in vars(partial)


def test_an_interruption_after_the_last_iteration_keeps_the_fit(X):
    def interrupt(context):
        if context.task_name == "fit":
            raise KeyboardInterrupt

    mixture = GaussianMixture(3, **ARGUMENTS).set_callbacks(Recorder(interrupt))
    with pytest.raises(KeyboardInterrupt) as caught:
        mixture.fit(X)
    assert_same_fit(caught.value.partial, GaussianMixture(3, **ARGUMENTS).fit(X))
    assert "_callback_fit_ctx" not in vars(caught.value.partial)
    assert not hasattr(mixture, "means_")


@every_mixture
@pytest.mark.filterwarnings("ignore:total_samples is None")
def test_fitted_copies_have_nothing_of_former_batches(X, make):
    keeper = Keeper()
    mixture = make(3, **ARGUMENTS).partial_fit(X[:100])
    mixture.set_callbacks(keeper).fit(X)
    ends = [heard for heard in keeper.heard if len(heard) == 5]
    assert not [task for task, *_, fitted in ends if hasattr(fitted, "n_batch_iter_")]


def test_parameters_are_checked_all_the_same(X):
    recorder = Recorder()
    with pytest.raises(ValueError, match="n_init"):
        GaussianMixture(3, n_init="a").set_callbacks(recorder).fit(X)
    assert not recorder.heard


def test_hooks_run_in_the_callers_context(X):
    class Checker(Recorder):
        def on_fit_task_end(self, estimator, context):
            self.heard.append(current_backend())
            with pytest.raises(ValueError, match="tol"):
                GaussianMixture(2, tol=-1.0).fit(X)

    checker = Checker()
    GaussianMixture(3, **ARGUMENTS, backend="reference").set_callbacks(checker).fit(X)
    assert checker.heard.count("native") == 6


def test_a_function_hears_as_well(X):
    recorder, heard = Recorder(), []

    def end(iteration):
        heard.append(iteration.iteration)
        return iteration.iteration == 3

    mixture = GaussianMixture(3, **ARGUMENTS, n_init=2).set_callbacks(recorder)
    mixture.fit(X, callback=end)
    assert heard == [1, 2, 3]
    assert len([task for task in recorder.tasks("end") if len(task) == 3]) == 3
    assert mixture.n_iter_ == 3


def test_clones_and_pickles_have_the_callbacks(X):
    bar = callback.ProgressBar()
    for copied in (
        clone(GaussianMixture(3).set_callbacks(bar)),
        pickle.loads(pickle.dumps(GaussianMixture(3).set_callbacks(bar))),
    ):
        assert len(copied._skl_callbacks) == 1
    assert clone(GaussianMixture(3).set_callbacks(bar))._skl_callbacks == [bar]


def score(estimator, X, y=None):
    return estimator.score(X)


def test_scikit_learns_scoring_monitor(X):
    monitor = callback.ScoringMonitor(scoring={"score": score})
    mixture = GaussianMixture(3, **ARGUMENTS).set_callbacks(monitor)
    mixture.fit(X, np.zeros(len(X)))
    scores = [row["score"] for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    expected = [
        GaussianMixture(3, **{**ARGUMENTS, "max_iter": n_iter}).fit(X).score(X)
        for n_iter in range(1, 5)
    ]
    np.testing.assert_array_equal(scores, expected)


def test_tasks_of_a_meta_estimator(X):
    class Meta(callback.CallbackSupportMixin, BaseEstimator):
        def __init__(self, mixture):
            self.mixture = mixture

        @callback.with_callbacks
        def fit(self, X, y=None):
            root = self._init_callback_context(max_subtasks=1)
            root.call_on_fit_task_begin(estimator=self)
            inner = root.subcontext(task_name="inner")
            inner.call_on_fit_task_begin(estimator=self)
            with inner.propagate_callback_context(self.mixture):
                self.mixture.fit(X)
            inner.call_on_fit_task_end(estimator=self)
            root.call_on_fit_task_end(estimator=self)
            return self

    class Everywhere(Recorder):
        max_propagation_depth = None

    recorder = Everywhere()
    Meta(GaussianMixture(3, **ARGUMENTS)).set_callbacks(recorder).fit(X)
    assert [len(task) for task in recorder.tasks("end")] == [4] * 4 + [3, 2, 1]
    assert [heard[0] for heard in recorder.heard].count("setup") == 1


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match="FitCallback"):
        GaussianMixture(3).set_callbacks(lambda context: None)
