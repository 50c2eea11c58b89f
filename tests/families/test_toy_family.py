"""A family of somebody else's: one class, and nothing of the package is touched.

Bernoulli features, independent within a component, beside a plain EM in NumPy.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import vbfast
from vbfast.families import ComponentFamily, Family, Linear, LogJoint

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LEAST = 1e-6  # so far from zero and one a probability stays


class Bernoulli(ComponentFamily):
    """Binary features: ``log p(x | k) = sum_d x_d log p_kd + (1 - x_d) log(1 - p_kd)``."""

    attribute = "probabilities_"

    def log_densities(self, theta, n_features):
        return LogJoint(np.log1p(-theta).sum(axis=1), Linear(np.log(theta) - np.log1p(-theta)))

    def maximize(self, statistics, weight):
        return np.clip(statistics / weight[:, np.newaxis], LEAST, 1.0 - LEAST)

    def sample(self, theta, n_samples, random_state):
        return random_state.uniform(size=(n_samples, len(theta))) < theta

    def n_free_parameters(self, n_components, n_features):
        return n_components * (n_features + 1) - 1


WEIGHTS = np.array([0.5, 0.3, 0.2])
PROBABILITIES = np.array(
    [
        [0.9, 0.9, 0.1, 0.1, 0.5, 0.8],
        [0.1, 0.8, 0.9, 0.2, 0.9, 0.1],
        [0.2, 0.1, 0.2, 0.9, 0.1, 0.6],
    ]
)


@pytest.fixture
def X(rng):  # noqa: N802 (named as in the literature)
    component = rng.choice(3, size=2000, p=WEIGHTS)
    return (rng.uniform(size=(2000, 6)) < PROBABILITIES[component]).astype(float)


@pytest.fixture
def resp(rng):
    return rng.dirichlet(np.full(3, 0.3), size=2000)


def plain_em(X, resp, sample_weight, n_iter):
    """Bounds, weights and probabilities, by the definitions."""
    bounds = []
    for _ in range(n_iter + 1):
        r = sample_weight[:, np.newaxis] * resp
        weights = r.sum(axis=0) / r.sum()
        p = np.clip(r.T @ X / r.sum(axis=0)[:, np.newaxis], LEAST, 1.0 - LEAST)
        joint = weights * np.prod(np.where(X[:, np.newaxis] == 1.0, p, 1.0 - p), axis=2)
        evidence = joint.sum(axis=1)
        bounds.append(np.average(np.log(evidence), weights=sample_weight))
        resp = joint / evidence[:, np.newaxis]
    return bounds[:-1], weights, p, np.log(evidence), resp


@pytest.mark.parametrize("backend", ["native", "numba", "reference"])
@pytest.mark.parametrize("weighted", [False, True])
def test_iterations_are_those_of_a_plain_algorithm(X, resp, rng, weighted, backend):
    if backend == "numba":
        pytest.importorskip("numba")
    weight = rng.integers(1, 4, size=len(X)).astype(float) if weighted else np.ones(len(X))
    mixture = vbfast.Mixture(
        Bernoulli(), 3, init_params=resp, tol=0.0, max_iter=20, backend=backend
    )
    mixture.fit(X, sample_weight=weight if weighted else None)
    bounds, weights, probabilities, log_evidence, posterior = plain_em(X, resp, weight, 20)
    np.testing.assert_allclose(mixture.lower_bounds_, bounds, rtol=1e-11)
    np.testing.assert_allclose(mixture.weights_, weights, rtol=1e-9)
    np.testing.assert_allclose(mixture.probabilities_, probabilities, rtol=1e-9)
    np.testing.assert_allclose(mixture.score_samples(X), log_evidence, rtol=1e-9)
    np.testing.assert_allclose(mixture.predict_proba(X), posterior, rtol=1e-7, atol=1e-12)
    terms = mixture.elbo(X, resp=resp, sample_weight=weight)
    np.testing.assert_allclose(terms.elbo + terms.kl, terms.log_evidence, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("init_params", ["kmeans", "random"])
def test_what_rows_were_drawn_from_is_found(X, init_params, dtype):
    mixture = vbfast.Mixture(
        Bernoulli(), 3, init_params=init_params, random_state=1, tol=1e-8, max_iter=500, n_init=3
    )
    mixture.fit(X.astype(dtype))
    order = [int(np.argmin(np.abs(mixture.probabilities_ - p).sum(axis=1))) for p in PROBABILITIES]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(mixture.weights_[order], WEIGHTS, atol=0.05)
    np.testing.assert_allclose(mixture.probabilities_[order], PROBABILITIES, atol=0.1)
    assert mixture.converged_


@pytest.fixture
def fitted(X):
    return vbfast.Mixture(Bernoulli(), 3, random_state=0, tol=1e-6, max_iter=300).fit(X)


def test_draws_have_the_fitted_probabilities(fitted):
    rows, labels = fitted.sample(30_000, random_state=0)
    assert set(np.unique(rows)) == {0.0, 1.0}
    np.testing.assert_allclose(np.bincount(labels) / len(rows), fitted.weights_, atol=0.01)
    for k, probabilities in enumerate(fitted.probabilities_):
        np.testing.assert_allclose(rows[labels == k].mean(axis=0), probabilities, atol=0.03)


def test_information_criteria_count_the_free_parameters(X, fitted):
    evidence = fitted.score(X) * len(X)
    assert fitted.bic(X) == pytest.approx(-2.0 * evidence + 20 * np.log(len(X)), rel=1e-12)
    assert fitted.aic(X) == pytest.approx(-2.0 * evidence + 2 * 20, rel=1e-12)
    entropy = fitted.elbo(X).entropy
    assert fitted.icl(X) == pytest.approx(fitted.bic(X) + 2.0 * entropy, rel=1e-12)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("n_components", [6, 70])
def test_rows_may_keep_a_few_components(X, n_components, backend):
    """The bound rises, and is below that of the same parameters and all components."""
    scores = []
    mixture = vbfast.Mixture(
        Bernoulli(),
        n_components,
        init_params="random",
        random_state=0,
        tol=0.0,
        max_iter=15,
        truncation=3,
        backend=backend,
    )
    mixture.fit(X, callback=lambda now: scores.append(now.fitted_estimator().score(X)))
    bounds = np.array(mixture.lower_bounds_)
    tolerance = 1e-12 * np.abs(bounds).max()
    assert (np.diff(bounds) >= -tolerance).all()
    assert (bounds[1:] <= np.array(scores)[:-1] + tolerance).all()
    assert scores[-1] > vbfast.Mixture(Bernoulli(), 1).fit(X).score(X)


@pytest.mark.parametrize("n_kept", [3, 8])
def test_rows_that_keep_all_components(X, resp, n_kept):
    arguments = {"init_params": resp, "tol": 0.0, "max_iter": 15}
    whole = vbfast.Mixture(Bernoulli(), 3, **arguments).fit(X)
    kept = vbfast.Mixture(Bernoulli(), 3, truncation=n_kept, **arguments).fit(X)
    np.testing.assert_allclose(kept.lower_bounds_, whole.lower_bounds_, rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(kept.probabilities_, whole.probabilities_, rtol=1e-8)


def test_steps_by_hand_lead_where_a_fit_does(X):
    arguments = {"random_state": 0, "tol": 0.0, "max_iter": 6}
    whole = vbfast.Mixture(Bernoulli(), 3, **arguments).fit(X)
    mixture = vbfast.Mixture(Bernoulli(), 3, **arguments).initialize(X)
    for _ in range(6):
        parts = [mixture.summarize(part) for part in np.array_split(X, 3)]
        mixture.maximize(vbfast.merge(parts))
    np.testing.assert_allclose(mixture.probabilities_, whole.probabilities_, rtol=1e-10)
    np.testing.assert_allclose(mixture.lower_bounds_, whole.lower_bounds_, rtol=1e-12)


def test_a_fit_goes_on(X):
    whole = vbfast.Mixture(Bernoulli(), 3, random_state=0, tol=0.0, max_iter=8).fit(X)
    parts = vbfast.Mixture(Bernoulli(), 3, random_state=0, tol=0.0, max_iter=4, warm_start=True)
    parts.fit(X).fit(X)
    np.testing.assert_array_equal(parts.probabilities_, whole.probabilities_)
    with pytest.raises(ValueError, match="of 3 components of 6 features; this fit needs 2 of 6"):
        parts.set_params(n_components=2).fit(X)


def test_it_is_cloned_and_pickled(X, fitted):
    again = clone(fitted).fit(X)
    np.testing.assert_array_equal(again.probabilities_, fitted.probabilities_)
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (None, TypeError, "log_densities must return a LogJoint; got None"),
        (
            LogJoint(np.zeros(3), Linear(np.zeros((3, 2)))),
            ValueError,
            "LogJoint of 2 components and 6 features; got 3 and 2",
        ),
        (
            LogJoint(np.array([0.0, np.inf]), Linear(np.zeros((2, 6)))),
            ValueError,
            "offsets that log_densities returns must be finite or -inf",
        ),
    ],
)
def test_densities_that_are_none(X, returned, error, message):
    class Broken(Bernoulli):
        def log_densities(self, theta, n_features):
            return returned

    with pytest.raises(error, match=message):
        vbfast.Mixture(Broken(), 2, random_state=0).fit(X)


def test_what_the_family_does_not_have_is_an_error(X):
    assert isinstance(Bernoulli(), Family)
    with pytest.raises(ValueError, match="accelerate='squarem' needs coordinates"):
        vbfast.Mixture(Bernoulli(), 3, accelerate="squarem").fit(X)
    with pytest.raises(ValueError, match=r"'kmeans', 'random', an array of .*; got 'k-means\+\+'"):
        vbfast.Mixture(Bernoulli(), 3, init_params="k-means++").fit(X)

    class WithoutDraws(Bernoulli):
        sample = None

        def n_free_parameters(self, n_components, n_features):
            return None

    mixture = vbfast.Mixture(WithoutDraws(), 3)
    for method in ("sample", "aic", "bic", "icl"):
        assert not hasattr(mixture, method)
        assert hasattr(vbfast.Mixture(Bernoulli(), 3), method)
