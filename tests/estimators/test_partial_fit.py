"""Mixtures that learn from rows which come in batches: the steps that they take."""

from __future__ import annotations

import copy
import gc
import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from streams import (
    MEANS,
    all_types,
    batches,
    both_mixtures,
    covariances_of,
    every_mixture,
    in_order,
    learned,
)
from vbfast import BayesianGaussianMixture, GaussianMixture, config_context
from vbfast.passes import runner

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:total_samples is None"),
]


@every_mixture
@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_finds_the_components(make, covariance_type, dtype):
    mixture = make(3, covariance_type=covariance_type, random_state=0)
    learned(mixture, batches(60, 200, dtype=dtype))
    weights, means = in_order(mixture)
    expected = np.argsort(MEANS[:, 0] * 10 - MEANS[:, 1])
    np.testing.assert_allclose(means, MEANS[expected], atol=0.25)
    np.testing.assert_allclose(weights, np.array([0.5, 0.3, 0.2])[expected], atol=0.03)
    assert mixture.n_batch_iter_ == mixture.n_iter_ == len(mixture.lower_bounds_) == 60
    assert mixture.n_samples_seen_ == 12_000
    assert mixture.lower_bound_ == mixture.lower_bounds_[-1]
    assert not mixture.converged_
    assert mixture.means_.dtype == dtype


@all_types
def test_the_steps_are_those_of_cappe_and_moulines(covariance_type):
    """Against averages that are computed row by row, about the origin."""
    rows = list(batches(4, 100))
    arguments = {"covariance_type": covariance_type, "random_state": 0, "reg_covar": 0.0}
    mixture = GaussianMixture(3, learning_decay=0.6, learning_offset=3.0, **arguments)
    mixture.partial_fit(rows[0])
    average = None
    for count, batch in enumerate(rows):
        if count == 0:
            before = GaussianMixture(3, **arguments).initialize(batch)
        q = before.predict_proba(batch)
        sums = [
            q.mean(axis=0),
            q.T @ batch / 100,
            np.einsum("nk,ni,nj->kij", q, batch, batch) / 100,
        ]
        step = 1.0 if count == 0 else (3.0 + count) ** -0.6
        average = [
            step * new + (0.0 if average is None else (1.0 - step) * old)
            for new, old in zip(sums, average or sums, strict=True)
        ]
        if count > 0:
            mixture.partial_fit(batch)
        weights, first, second = average
        means = first / weights[:, np.newaxis]
        scatter = second - np.einsum("k,ki,kj->kij", weights, means, means)
        covariances = covariances_of(covariance_type, weights, scatter)
        np.testing.assert_allclose(mixture.weights_, weights, rtol=1e-10)
        np.testing.assert_allclose(mixture.means_, means, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(mixture.covariances_, covariances, rtol=1e-8, atol=1e-9)
        before = copy.deepcopy(mixture)


@all_types
@pytest.mark.parametrize("prior_type", ["dirichlet_process", "dirichlet_distribution"])
def test_the_steps_are_along_the_natural_gradient(covariance_type, prior_type):
    """Natural parameters move towards those of the batch, as if it were all rows."""
    rows = list(batches(3, 400))
    mixture = BayesianGaussianMixture(
        4, covariance_type=covariance_type, weight_concentration_prior_type=prior_type,
        random_state=0, total_samples=5000.0, step_size=0.25, reg_covar=0.0,
    )  # fmt: skip
    mixture.partial_fit(rows[0])
    for batch in rows[1:]:
        _, gradient = mixture.elbo_and_grad(batch, sample_weight=np.full(400, 5000.0 / 400))
        expected = mixture.natural_parameters_ + 0.25 * gradient.natural
        moved = copy.deepcopy(mixture).with_natural_parameters(expected)
        mixture.partial_fit(batch)
        for name in ("means_", "covariances_", "mean_precision_", "degrees_of_freedom_"):
            np.testing.assert_allclose(
                getattr(mixture, name), getattr(moved, name), rtol=1e-7, atol=1e-8
            )
        np.testing.assert_allclose(
            np.asarray(mixture.weight_concentration_),
            np.asarray(moved.weight_concentration_),
            rtol=1e-9,
        )


@both_mixtures
@all_types
def test_one_batch_of_all_rows_is_an_iteration(make, covariance_type):
    (rows,) = batches(1, 600)
    arguments = {"covariance_type": covariance_type, "random_state": 0}
    streamed = make(3, **arguments).partial_fit(rows)
    fitted = make(3, **arguments, max_iter=1).fit(rows)
    np.testing.assert_allclose(streamed.means_, fitted.means_, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(streamed.covariances_, fitted.covariances_, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(streamed.weights_, fitted.weights_, rtol=1e-10)


@both_mixtures
def test_the_bound_is_that_of_the_parameters_that_a_batch_met(make):
    rows = list(batches(3, 300))
    mixture = make(3, random_state=0, step_size=0.5, total_samples=300.0)
    mixture.partial_fit(rows[0])
    met, evidence = copy.deepcopy(mixture), None
    start = make(3, random_state=0).initialize(rows[0])
    for count, batch in enumerate(rows):
        now = start if count == 0 else met
        score = now.score_samples(batch).mean()
        if make is BayesianGaussianMixture:
            score = now.elbo(batch).elbo / 300.0
        evidence = score if evidence is None else 0.5 * (evidence + score)
        expected = evidence
        if make is BayesianGaussianMixture:
            terms = now.elbo(batch)
            expected = 300.0 * evidence - terms.kl_weights - terms.kl_components.sum()
        if count > 0:
            met = copy.deepcopy(mixture.partial_fit(batch))
        assert mixture.lower_bounds_[count] == pytest.approx(expected, rel=1e-9)


def test_a_constant_step_follows_a_stream_that_drifts():
    rng = np.random.default_rng(0)
    drifting = [MEANS + 0.05 * t for t in range(400)]
    rows = [means[rng.integers(3, size=100)] + rng.normal(size=(100, 3)) for means in drifting]
    followed = learned(GaussianMixture(3, random_state=0, step_size=0.05), rows)
    left = learned(GaussianMixture(3, random_state=0, learning_decay=1.0), rows)
    here = rows[-1]
    assert followed.score(here) > left.score(here) + 1.0
    _, means = in_order(followed)
    expected = drifting[-1][np.argsort(MEANS[:, 0] * 10 - MEANS[:, 1])]
    # The average is some twenty batches old, in which the means move by one.
    np.testing.assert_allclose(means, expected - 1.0, atol=0.4)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_other_backends(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    rows = list(batches(3, 100))
    native = learned(GaussianMixture(3, random_state=0), rows)
    other = learned(GaussianMixture(3, random_state=0, backend=backend), rows)
    np.testing.assert_allclose(other.means_, native.means_, rtol=1e-8, atol=1e-8)


def test_bits_do_not_depend_on_threads():
    rows = list(batches(3, 5000))
    fits = []
    for threads in (1, 2, 7):
        with config_context(num_threads=threads):
            fits.append(learned(GaussianMixture(3, random_state=0), rows))
    for other in fits[1:]:
        np.testing.assert_array_equal(other.means_, fits[0].means_)
        np.testing.assert_array_equal(other.covariances_, fits[0].covariances_)


def test_rows_far_from_the_origin():
    """The average is about the means: fit(X + c) is fit(X) + c."""
    rows = list(batches(10, 200))
    near = learned(GaussianMixture(3, random_state=0), rows)
    far = learned(GaussianMixture(3, random_state=0), [batch + 2.0**30 for batch in rows])
    np.testing.assert_allclose(far.means_ - 2.0**30, near.means_, atol=1e-5)
    np.testing.assert_allclose(far.covariances_, near.covariances_, rtol=1e-5, atol=1e-5)


def test_convergence_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        learned(GaussianMixture(3, random_state=0), batches(3, 100))


@pytest.fixture(name="passes")
def passes_that_were_made(monkeypatch):
    made, run_pass = [], runner.run_pass

    def counted(*given, **named):
        made.append(1)
        return run_pass(*given, **named)

    monkeypatch.setattr(runner, "run_pass", counted)
    return made


@all_types
def test_a_batch_is_read_once(covariance_type, passes):
    """Though a component has a single row in it, about whose mean there is no scatter."""
    rows = np.random.default_rng(0).normal(size=(100, 3))
    rows += 1000.0 * np.repeat(MEANS, [33, 33, 34], axis=0)
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0)
    mixture.partial_fit(rows)
    passes.clear()
    learned(mixture, [rows[[0, 40, 80]], rows[[1, 2, 90]], rows[:9]])
    assert len(passes) == 3


@all_types
def test_moments_are_taken_again_where_the_average_has_no_scatter_like_it(covariance_type, passes):
    """A component jumps by a hundred thousand of its deviations."""
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(200, 1)), rng.normal(size=(200, 1))
    mixture.partial_fit(np.concatenate([near, far[:9] + 1e6]))
    passes.clear()
    mixture.partial_fit(np.concatenate([near, far + 9e5]))
    assert len(passes) > 1


@both_mixtures
def test_memory_does_not_grow(make):
    rows = list(batches(4, 200))
    mixture = learned(make(3, random_state=0), rows * 10)
    tracemalloc.start()
    try:
        learned(mixture, rows * 10)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        learned(mixture, rows * 100)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(mixture.lower_bounds_) == 480
    # Of 400 batches: a bound takes some 32 bytes, and NumPy 2.0 leaves as much behind.
    assert after - before < 50_000
