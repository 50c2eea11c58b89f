"""Loops that a backend runs by itself have the bits of those that Python does."""

from __future__ import annotations

import itertools
import signal
import threading

import numpy as np
import pytest

import vbfast
from vbfast.contract import COVARIANCE_TYPES, NonFiniteRowError
from vbfast.inference.kmeans import kmeans, lloyd, seed_rows
from vbfast.inference.monitor import Monitor
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

MIXTURES = [
    pytest.param({}, id="likelihood"),
    pytest.param({"weight_concentration_prior_type": "dirichlet_process"}, id="sticks"),
    pytest.param({"weight_concentration_prior_type": "dirichlet_distribution"}, id="dirichlet"),
]


def make_mixture(options, *args, **kwargs):
    kind = vbfast.BayesianGaussianMixture if options else vbfast.GaussianMixture
    return kind(*args, **options, **kwargs)


def make_rows(seed, n_samples=200, n_features=2, n_groups=3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    means = 2.0 * rng.normal(size=(n_groups, n_features))
    rows = means[rng.integers(n_groups, size=n_samples)] + rng.normal(size=(n_samples, n_features))
    return rows.astype(dtype)


class Listening(Monitor):
    """A monitor that is told of every step, so that Python makes all of them."""

    def iteration_done(self, report):
        """Hear it."""


@pytest.fixture
def passes(monkeypatch):
    """Counts of the passes that Python has made: of iterations, and of others."""
    counts = {"iterations": 0, "others": 0}
    iterate, run = BaseRunner.iterate, LocalRunner.run

    def counted_iterate(self, *args, **kwargs):
        counts["iterations"] += 1
        return iterate(self, *args, **kwargs)

    def counted_run(self, *args, **kwargs):
        counts["others"] += 1
        return run(self, *args, **kwargs)

    monkeypatch.setattr(BaseRunner, "iterate", counted_iterate)
    monkeypatch.setattr(LocalRunner, "run", counted_run)
    return counts


def fitted_state(mixture):
    return {
        name: value
        for name, value in vars(mixture).items()
        if name.endswith("_") and not name.startswith("_")
    }


def assert_same_bits(one, other):
    state, expected = fitted_state(one), fitted_state(other)
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(np.asarray(state[name]), np.asarray(value), err_msg=name)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestFits:
    @pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
    @pytest.mark.parametrize("options", MIXTURES)
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_bits_are_those_of_a_watched_fit(self, options, covariance_type, dtype):
        for seed, (n, d, k) in enumerate([(200, 2, 3), (60, 1, 2), (333, 5, 9), (97, 12, 1)]):
            X = make_rows(seed, n, d, dtype=dtype)
            weight = np.random.default_rng(seed).integers(0, 4, n).astype(float)
            for sample_weight, tol in itertools.product([None, weight], [1e-3, 1e-9]):
                made = [
                    make_mixture(
                        options, k, covariance_type=covariance_type, random_state=seed, tol=tol
                    ).fit(X, sample_weight=sample_weight, callback=callback)
                    for callback in (None, lambda _: False)
                ]
                assert_same_bits(*made)

    @pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
    @pytest.mark.parametrize("options", MIXTURES)
    def test_python_makes_no_pass_of_an_ordinary_iteration(self, options, covariance_type, passes):
        make_mixture(options, 3, covariance_type=covariance_type, random_state=0).fit(make_rows(0))
        assert passes["iterations"] == 0
        # Of the start: moments of the columns, and the statistics of the clusters.
        assert passes["others"] <= 4

    def test_python_makes_those_of_a_watched_fit(self, passes):
        fitted = vbfast.GaussianMixture(3, random_state=0).fit(make_rows(0), callback=lambda _: 0)
        assert passes["iterations"] == fitted.n_iter_

    @pytest.mark.parametrize("options", MIXTURES)
    @pytest.mark.parametrize("max_iter", [0, 1, 2, 7])
    def test_no_more_iterations_than_asked_for(self, options, max_iter):
        X = make_rows(1)
        made = [
            make_mixture(options, 4, tol=0.0, max_iter=max_iter, random_state=1).fit(
                X, callback=callback
            )
            for callback in (None, lambda _: False)
        ]
        assert made[0].n_iter_ == max_iter
        assert_same_bits(*made)

    @pytest.mark.parametrize("options", MIXTURES)
    def test_goes_on_from_an_earlier_fit(self, options):
        X = make_rows(2)
        made = [
            make_mixture(options, 4, max_iter=3, warm_start=True, random_state=1) for _ in range(2)
        ]
        for _ in range(4):
            made[0].fit(X)
            made[1].fit(X, callback=lambda _: False)
            assert_same_bits(*made)

    @pytest.mark.parametrize("options", MIXTURES)
    @pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
    def test_what_is_out_of_the_ordinary_is_left_to_python(self, options, covariance_type):
        """Rows far out, repeated rows, and components that none of them notices."""
        rng = np.random.default_rng(5)
        X = np.concatenate(
            [make_rows(3), np.full((4, 2), 1e5), np.repeat(rng.normal(size=(3, 2)), 20, 0)]
        )
        made = [
            make_mixture(
                options, 12, covariance_type=covariance_type, random_state=0, tol=1e-6, n_init=2
            ).fit(X, callback=callback)
            for callback in (None, lambda _: False)
        ]
        assert_same_bits(*made)

    @pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
    def test_cancelled_moments_are_left_to_python(self, covariance_type, passes):
        X = make_rows(4) + 1e9
        means = 1e9 + np.array([[1e6], [0.0], [-1e6]]) * np.ones(2)
        made = [
            vbfast.GaussianMixture(
                3, covariance_type=covariance_type, random_state=0, means_init=means
            ).fit(X, callback=callback)
            for callback in (None, lambda _: False)
        ]
        assert_same_bits(*made)
        assert passes["iterations"] > made[1].n_iter_

    def test_without_reg_covar_python_looks_at_the_spreads(self, passes):
        fitted = vbfast.GaussianMixture(3, reg_covar=0.0, random_state=0).fit(make_rows(0))
        assert passes["iterations"] == fitted.n_iter_

    @pytest.mark.parametrize("options", MIXTURES)
    def test_any_number_of_threads(self, options):
        X = make_rows(7, 5000, 8)
        made = []
        for n in (1, 2, 3):
            with vbfast.config_context(num_threads=n):
                made.append(make_mixture(options, 9, random_state=0, max_iter=30).fit(X))
        assert_same_bits(made[1], made[0])
        assert_same_bits(made[2], made[0])

    @pytest.mark.parametrize("options", MIXTURES)
    def test_an_interruption_keeps_what_earlier_calls_have_reached(self, options, monkeypatch):
        X = make_rows(8)
        # Of some iterations a call.
        monkeypatch.setattr("vbfast.passes.looping.CALL_OPERATIONS", 3 * 200 * (120 + 4 * 16))
        iterate, calls = LocalRunner.iterate_gaussians, []

        def interrupting(self, *args, **kwargs):
            calls.append(iterate(self, *args, **kwargs))
            if len(calls) > 3:
                raise KeyboardInterrupt
            return calls[-1]

        mixture = make_mixture(options, 4, tol=0.0, max_iter=50, random_state=0)
        with monkeypatch.context() as patch:
            patch.setattr(LocalRunner, "iterate_gaussians", interrupting)
            with pytest.raises(KeyboardInterrupt) as caught:
                mixture.fit(X)
        partial = caught.value.partial
        assert partial.n_iter_ == len(calls[2].bounds) == 9
        assert not partial.converged_
        assert not hasattr(mixture, "converged_")
        assert_same_bits(partial, mixture.set_params(max_iter=9).fit(X))

    def test_a_signal_interrupts_a_call(self):
        X = make_rows(8, 2000, 8)
        mixture = vbfast.BayesianGaussianMixture(8, tol=0.0, max_iter=10**7, random_state=0)
        timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt) as caught:
            mixture.fit(X)
        timer.join()
        assert caught.value.partial.n_iter_ > 100

    @pytest.mark.parametrize("options", MIXTURES[1:])
    def test_the_posterior_of_another_prior(self, options, passes):
        """A warm start has the prior of the last fit, and the fit another one."""
        made = []
        for callback in (None, lambda _: False):
            mixture = make_mixture(options, 3, random_state=0, warm_start=True).fit(make_rows(0))
            mixture.set_params(weight_concentration_prior=7.0, mean_precision_prior=0.25)
            passes["iterations"] = 0
            made.append(mixture.fit(make_rows(0), callback=callback))
            assert passes["iterations"] == (1 if callback is None else mixture.n_iter_)
        assert_same_bits(*made)

    def test_errors_are_those_of_python(self):
        X = make_rows(0)
        X[17, 1] = 1e200
        with pytest.raises(ValueError, match="row 17"):
            vbfast.GaussianMixture(2, random_state=0, init_params="random").fit(X)

    def test_large_passes_are_python_s(self, passes, monkeypatch):
        monkeypatch.setattr("vbfast.passes.looping.CALL_OPERATIONS", 1)
        fitted = vbfast.GaussianMixture(3, random_state=0).fit(make_rows(0))
        assert passes["iterations"] == fitted.n_iter_


class TestCentres:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize(("n", "d", "k"), [(200, 2, 3), (500, 3, 40), (4000, 16, 60)])
    def test_bits_are_those_of_watched_iterations(self, n, d, k, weighted, dtype):
        X = make_rows(0, n, d, dtype=dtype)
        weight = np.random.default_rng(1).integers(0, 3, n).astype(float) if weighted else None
        runner = LocalRunner(as_row_source(X), weight)
        made = [
            kmeans(runner, k, np.random.RandomState(3), monitor=monitor)
            for monitor in (Monitor(), Listening())
        ]
        np.testing.assert_array_equal(*made)

    def test_a_centre_without_rows_is_left_to_python(self, passes):
        X = make_rows(0)
        runner = LocalRunner(as_row_source(X))
        centres = np.concatenate([X[:3], [[1e3, 1e3]]])
        made = [
            lloyd(runner, centres, tolerance=1e-12, unit=4.0, monitor=monitor)
            for monitor in (Monitor(), Listening())
        ]
        np.testing.assert_array_equal(*made)
        assert np.abs(made[0]).max() < 100.0

    @pytest.mark.parametrize("max_iterations", [1, 2, 5])
    def test_no_more_iterations_than_asked_for(self, max_iterations):
        runner = LocalRunner(as_row_source(make_rows(0, 500)))
        centres = make_rows(9, 8)
        made = [
            lloyd(
                runner,
                centres,
                tolerance=-1.0,
                unit=4.0,
                max_iterations=max_iterations,
                monitor=monitor,
            )
            for monitor in (Monitor(), Listening())
        ]
        np.testing.assert_array_equal(*made)


class TestSeeds:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize(("n", "d", "k"), [(200, 2, 3), (50, 1, 1), (333, 5, 40), (60, 2, 60)])
    def test_rows_are_those_of_a_watched_start(self, n, d, k, weighted, dtype):
        X = make_rows(0, n, d, dtype=dtype)[:, ::-1]
        weight = np.random.default_rng(1).integers(1, 3, n).astype(float) if weighted else None
        runner = LocalRunner(as_row_source(X), weight)
        states = np.random.RandomState(4), np.random.RandomState(4)
        made = [
            seed_rows(runner, k, state, monitor=monitor)
            for state, monitor in zip(states, (Monitor(), Listening()), strict=True)
        ]
        np.testing.assert_array_equal(*made)
        assert len(set(made[0])) == k
        assert states[0].uniform() == states[1].uniform()

    def test_rows_that_coincide(self):
        runner = LocalRunner(as_row_source(np.repeat([[1.0], [2.0]], 5, axis=0)))
        made = [
            seed_rows(runner, 6, np.random.RandomState(0), monitor=monitor)
            for monitor in (Monitor(), Listening())
        ]
        np.testing.assert_array_equal(*made)
        assert len(set(made[0])) == 6

    def test_squared_distances_that_overflow(self):
        X = make_rows(0, 30) * 1e200
        runner = LocalRunner(as_row_source(X))
        made = [
            seed_rows(runner, 4, np.random.RandomState(0), monitor=monitor)
            for monitor in (Monitor(), Listening())
        ]
        np.testing.assert_array_equal(*made)

    def test_the_first_row_that_is_not_finite_is_named(self):
        X = make_rows(0)
        X[[31, 77], 1] = np.nan
        with pytest.raises(NonFiniteRowError) as error:
            seed_rows(LocalRunner(as_row_source(X)), 3, np.random.RandomState(0))
        assert error.value.row == 31
