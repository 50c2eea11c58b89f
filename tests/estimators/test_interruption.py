"""What an interrupted fit leaves: the estimator as it was, and how far it had come."""

from __future__ import annotations

import contextlib
import io
import pickle
import signal
import threading
import time

import numpy as np
import pytest
import sklearn
from sklearn.base import clone

from vbfast.backends import DEFAULT_BACKEND
from vbfast.config.settings import config_context, current_backend
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture, Mixture, search
from vbfast.inference.monitor import ProgressMonitor
from vbfast.passes.runner import LocalRunner

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("loops_in_python"),
]


@pytest.fixture(params=["GaussianMixture", "BayesianGaussianMixture", "Mixture"])
def mixture(request):
    """An unfitted estimator whose fits take many iterations."""
    arguments = {"tol": 0.0, "max_iter": 30, "random_state": 0}
    if request.param == "Mixture":
        return Mixture(request.getfixturevalue("diagonal_gaussian"), 4, **arguments)
    return {
        "GaussianMixture": GaussianMixture,
        "BayesianGaussianMixture": BayesianGaussianMixture,
    }[request.param](4, covariance_type="diag", **arguments)


@pytest.fixture
def interrupted(monkeypatch):
    """A function that fits until a pass of an iteration is interrupted; returns the exception."""
    iterate = LocalRunner.iterate

    def fit(estimator, rows, *, passes, method="fit"):
        left = passes

        def interrupting(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return iterate(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(LocalRunner, "iterate", interrupting)
            with pytest.raises(KeyboardInterrupt) as caught:
                getattr(estimator, method)(rows)
        return caught.value

    return fit


def state_of(estimator):
    return {
        key: value if key == "family" else pickle.dumps(value)
        for key, value in vars(estimator).items()
    }


@pytest.mark.parametrize("method", ["fit", "fit_predict"])
def test_the_interruption_carries_what_the_fit_had_reached(clustered, mixture, interrupted, method):
    before = state_of(mixture)
    partial = interrupted(mixture, clustered, passes=7, method=method).partial
    assert state_of(mixture) == before
    assert type(partial) is type(mixture)
    assert not partial.converged_
    expected = clone(mixture).set_params(max_iter=7).fit(clustered)
    assert partial.n_iter_ == partial.n_passes_ == 7
    assert partial.lower_bounds_ == expected.lower_bounds_
    assert partial.lower_bound_ == expected.lower_bound_
    np.testing.assert_array_equal(
        partial.predict_proba(clustered), expected.predict_proba(clustered)
    )
    assert partial.n_features_in_ == 4
    assert partial.get_params() == mixture.get_params()


def test_before_the_first_iteration_there_is_nothing(clustered, mixture, interrupted):
    assert interrupted(mixture, clustered, passes=0).partial is None


def test_what_overflows_the_dtype_of_the_rows_is_nothing(clustered, interrupted):
    mixture = GaussianMixture(4, reg_covar=1e39, tol=0.0, random_state=0)
    assert interrupted(mixture, clustered.astype(np.float32), passes=3).partial is None
    assert interrupted(mixture, clustered, passes=3).partial.n_iter_ == 3


def test_during_the_start_there_is_nothing(clustered, monkeypatch):
    def interrupting(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("vbfast.passes.runner.run_seeding", interrupting)
    with pytest.raises(KeyboardInterrupt) as caught:
        GaussianMixture(3, random_state=0).fit(clustered)
    assert caught.value.partial is None


def test_other_failures_are_left_alone(clustered, monkeypatch):
    def failing(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(LocalRunner, "iterate", failing)
    with pytest.raises(MemoryError) as caught:
        GaussianMixture(3, random_state=0).fit(clustered)
    assert not hasattr(caught.value, "partial")


def test_the_fit_goes_on_from_there(clustered, mixture, interrupted):
    partial = interrupted(mixture, clustered, passes=7).partial
    whole = mixture.fit(clustered)
    rest = partial.set_params(warm_start=True, max_iter=23).fit(clustered)
    np.testing.assert_allclose(rest.lower_bounds_, whole.lower_bounds_[7:], rtol=1e-12)


def test_a_warm_start_that_is_interrupted(clustered, mixture, interrupted):
    mixture.set_params(warm_start=True).fit(clustered)
    before = state_of(mixture)
    partial = interrupted(mixture, clustered, passes=3).partial
    assert state_of(mixture) == before
    expected = mixture.set_params(max_iter=3).fit(clustered)
    assert partial.lower_bounds_ == expected.lower_bounds_


def test_the_best_start_so_far(clustered, interrupted):
    mixture = GaussianMixture(
        4, init_params="random_from_data", random_state=3, n_init=3, tol=0.0, max_iter=10
    )
    one = clone(mixture).set_params(n_init=1).fit(clustered)
    two = clone(mixture).set_params(n_init=2).fit(clustered)
    for passes, expected in ((10, one), (12, one), (20, two)):
        partial = interrupted(mixture, clustered, passes=passes).partial
        assert partial.lower_bound_ == expected.lower_bound_
        np.testing.assert_array_equal(partial.means_, expected.means_)
        assert not partial.converged_


def test_a_refused_step_is_not_what_was_reached(clustered, interrupted):
    """However many passes there were, the bounds are those of the whole fit."""
    mixture = GaussianMixture(4, random_state=0, tol=0.0, max_iter=30, accelerate="squarem")
    whole = clone(mixture).fit(clustered)
    assert whole.n_passes_ > whole.n_iter_
    for passes in range(10, whole.n_passes_):
        partial = interrupted(mixture, clustered, passes=passes).partial
        assert partial.lower_bounds_ == whole.lower_bounds_[: partial.n_iter_]
        after = mixture.set_params(max_iter=partial.n_iter_).fit(clustered)
        np.testing.assert_array_equal(partial.means_, after.means_)
        mixture = clone(mixture).set_params(max_iter=30)


def test_interrupted_while_it_predicts(clustered, monkeypatch):
    mixture = GaussianMixture(3, random_state=0)

    def interrupting(self, X):
        raise KeyboardInterrupt

    monkeypatch.setattr(GaussianMixture, "predict", interrupting)
    with pytest.raises(KeyboardInterrupt) as caught:
        mixture.fit_predict(clustered)
    assert not hasattr(mixture, "means_")
    expected = clone(mixture).fit(clustered)
    np.testing.assert_array_equal(caught.value.partial.means_, expected.means_)


def test_the_bar_is_cleaned_up(clustered, mixture, interrupted, monkeypatch):
    rich_console = pytest.importorskip("rich.console")
    console = rich_console.Console(file=io.StringIO(), force_terminal=True, width=140)
    monkeypatch.setattr(
        search, "make_monitor", lambda workload, **options: ProgressMonitor(workload, console)
    )
    mixture.set_params(verbose=1)
    assert interrupted(mixture, clustered, passes=7).partial.n_iter_ == 7
    assert console.file.getvalue().rstrip().endswith("\x1b[?25h")  # shows the cursor again


def test_no_backend_is_left_behind(clustered, interrupted, monkeypatch):
    """Where the interruption comes before the block that set it could clean up."""

    @contextlib.contextmanager
    def leaving_it_set(*, backend):
        config_context(backend=backend).__enter__()
        yield

    monkeypatch.setattr("vbfast.estimators.fitted.config_context", leaving_it_set)
    for method in ("fit", "fit_predict"):
        interrupted(GaussianMixture(2, backend="reference"), clustered, passes=1, method=method)
        assert current_backend() == DEFAULT_BACKEND


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX has timers")
@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("accelerate", [None, "squarem"])
@pytest.mark.parametrize("mixture_class", [GaussianMixture, BayesianGaussianMixture])
def test_at_any_time(clustered, mixture_class, accelerate, verbose):
    assert threading.current_thread() is threading.main_thread()
    rng = np.random.default_rng(5)
    mixture = mixture_class(
        6, random_state=0, tol=0.0, max_iter=25, n_init=2, accelerate=accelerate, verbose=verbose
    )
    whole = clone(mixture).fit(clustered)
    began = time.perf_counter()
    clone(mixture).fit(clustered)
    duration = time.perf_counter() - began
    before, settings = state_of(mixture), sklearn.get_config()
    reached, outside = [], 0

    def interrupt(number, frame):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(40):
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 1.5 * duration))
            try:
                mixture.fit(clustered)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt as error:
                if not hasattr(error, "partial"):  # on the way into the fit, or out of it
                    outside += 1
                else:
                    assert state_of(mixture) == before
                    reached.append(error.partial)
                # scikit-learn's context of a fit may have been about to put them back.
                sklearn.set_config(**settings)
            mixture = clone(mixture)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert len(reached) > 5
    assert outside <= 3
    for partial in reached:
        if partial is not None:
            assert not partial.converged_
            assert partial.n_iter_ == len(partial.lower_bounds_) <= 25
            assert np.isfinite(partial.score(clustered))
    # Nothing of the interrupted fits is left in the threads or their memory.
    again = clone(mixture).fit(clustered)
    assert again.lower_bounds_ == whole.lower_bounds_
    np.testing.assert_array_equal(again.means_, whole.means_)
