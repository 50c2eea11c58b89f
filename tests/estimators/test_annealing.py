"""Fits whose first iterations have softer responsibilities: their bounds and their ends."""

from __future__ import annotations

import contextlib
import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture, config_context
from vbfast.families import ComponentFamily, Gaussian, Linear, LogJoint

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TYPES = ["full", "tied", "diag", "spherical"]
SCHEDULE = [0.25, 0.25, 0.5, 1.0, 0.75]


def gaussian_family(n_components, *, covariance_type="full", reg_covar=1e-6, **arguments):
    return Mixture(Gaussian(covariance_type, reg_covar), n_components, **arguments)


class Bernoulli(ComponentFamily):
    """Binary features, whose log-density is linear in the rows."""

    attribute = "probabilities_"

    def log_densities(self, theta, n_features):
        return LogJoint(np.log1p(-theta).sum(axis=1), Linear(np.log(theta) - np.log1p(-theta)))

    def maximize(self, statistics, weight):
        return np.clip(statistics / weight[:, np.newaxis], 1e-6, 1.0 - 1e-6)


def bernoulli(n_components, **arguments):
    return Mixture(Bernoulli(), n_components, **arguments)


both_mixtures = pytest.mark.parametrize("make", [GaussianMixture, BayesianGaussianMixture])
every_mixture = pytest.mark.parametrize(
    "make", [GaussianMixture, BayesianGaussianMixture, gaussian_family]
)
truncated_or_not = pytest.mark.parametrize("truncation", [None, 2])


@pytest.fixture(name="X")
def rows(rng):
    """Rows of groups that overlap."""
    centres = 3.0 * rng.normal(size=(6, 3))
    return centres[rng.integers(6, size=700)] + rng.normal(size=(700, 3))


def fitted_in_turn(make, X, sample_weight=None, **arguments):
    """Return a fit, and the mixtures that its iterations began with, and that of its end."""
    turns = [make(**(arguments | {"max_iter": 0, "annealing": None})).fit(X, None, sample_weight)]
    mixture = make(**arguments).fit(
        X, None, sample_weight, callback=lambda now: turns.append(now.fitted_estimator())
    )
    assert len(turns) == mixture.n_iter_ + 1
    return mixture, turns


def bounds_by_definition(turns, X, sample_weight, annealing):
    """Return E_q[l] + H[q] of every iteration, less the divergences of a Bayesian mixture."""
    bounds = []
    for t, (before, after) in enumerate(pairwise(turns)):
        inverse = annealing[t] if t < len(annealing) else 1.0
        log_joint = before.log_joint(X).astype(np.float64)
        q = vbfast.softmax(inverse * log_joint, axis=1)
        if isinstance(after, BayesianGaussianMixture):
            bounds.append(after.elbo(X, resp=q, sample_weight=sample_weight).total)
        else:
            terms = vbfast.elbo(log_joint, q=q, sample_weight=sample_weight)
            assert terms.kl >= 0.0
            total = len(X) if sample_weight is None else sample_weight.sum()
            bounds.append(terms.elbo / total)
    return np.array(bounds)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
@every_mixture
def test_bounds_are_those_of_the_softer_responsibilities(X, rng, make, covariance_type, weighted):
    sample_weight = rng.integers(0, 3, size=len(X)).astype(float) if weighted else None
    mixture, turns = fitted_in_turn(
        make,
        X,
        sample_weight,
        n_components=5,
        covariance_type=covariance_type,
        reg_covar=0.0,
        annealing=SCHEDULE,
        max_iter=8,
        random_state=0,
    )
    expected = bounds_by_definition(turns, X, sample_weight, SCHEDULE)
    np.testing.assert_allclose(mixture.lower_bounds_, expected, rtol=1e-10)
    if make is not BayesianGaussianMixture:
        exact = [before.score(X, sample_weight=sample_weight) for before in turns[:-1]]
        below = np.array(exact[: len(SCHEDULE)]) - mixture.lower_bounds_[: len(SCHEDULE)]
        np.testing.assert_array_equal(below > 1e-6, np.array(SCHEDULE) < 1.0)


def test_bounds_of_linear_components(rng):
    X = (rng.uniform(size=(500, 6)) < rng.uniform(size=(4, 6))[rng.integers(4, size=500)]) * 1.0
    arguments = {"n_components": 4, "annealing": SCHEDULE, "max_iter": 7, "random_state": 0}
    mixture, turns = fitted_in_turn(bernoulli, X, **arguments)
    expected = bounds_by_definition(turns, X, None, SCHEDULE)
    np.testing.assert_allclose(mixture.lower_bounds_, expected, rtol=1e-12)
    truncated = bernoulli(truncation=4, **arguments).fit(X)
    np.testing.assert_allclose(truncated.lower_bounds_, mixture.lower_bounds_, rtol=1e-10)


@pytest.mark.parametrize("covariance_type", TYPES)
@both_mixtures
def test_truncated_bounds_stay_below_exact_ones(X, make, covariance_type):
    """Below those of whole posteriors and the same parameters, and equal with all kept."""
    arguments = {
        "n_components": 12,
        "covariance_type": covariance_type,
        "reg_covar": 0.0,
        "annealing": SCHEDULE,
        "max_iter": 8,
        "random_state": 0,
    }
    mixture, turns = fitted_in_turn(make, X, truncation=2, **arguments)
    if make is GaussianMixture:
        exact = [before.score(X, exact=True) for before in turns[:-1]]
    else:
        exact = [after.elbo(X).total for after in turns[1:]]
    assert (mixture.lower_bounds_ <= np.array(exact) + 1e-9 * np.abs(exact)).all()
    start = mixture_start(X, 12)
    whole = make(init_params=start, **arguments).fit(X)
    keeping_all = make(init_params=start, truncation=12, **arguments).fit(X)
    np.testing.assert_allclose(keeping_all.lower_bounds_, whole.lower_bounds_, rtol=1e-8)


def mixture_start(X, n_components):
    """Return responsibilities of the nearest of some rows."""
    distances = ((X[:, np.newaxis] - X[:n_components]) ** 2).sum(axis=2)
    return np.eye(n_components)[distances.argmin(axis=1)]


@truncated_or_not
@both_mixtures
def test_float32_goes_where_float64_does(X, make, truncation):
    X = X.astype(np.float32)
    arguments = {"n_components": 6, "annealing": SCHEDULE, "max_iter": 10, "tol": 0.0}
    arguments |= {"init_params": mixture_start(X, 6), "truncation": truncation, "random_state": 0}
    single, double = make(**arguments).fit(X), make(**arguments).fit(X.astype(np.float64))
    assert single.means_.dtype == np.float32
    scale = len(X) if make is BayesianGaussianMixture else 1.0
    np.testing.assert_allclose(single.lower_bounds_, double.lower_bounds_, atol=1e-3 * scale)


@truncated_or_not
@every_mixture
@pytest.mark.parametrize("backend", ["native", "numba", "reference"])
def test_every_backend(X, make, truncation, backend):
    if backend == "numba":
        pytest.importorskip("numba")
        if truncation is not None:
            pytest.skip("numba has no truncated passes")
    arguments = {"n_components": 6, "annealing": SCHEDULE, "max_iter": 7, "random_state": 0}
    arguments["truncation"] = truncation
    expected = make(**arguments).fit(X)
    found = make(backend=backend, **arguments).fit(X)
    np.testing.assert_allclose(found.lower_bounds_, expected.lower_bounds_, rtol=1e-8)


@both_mixtures
def test_it_leads_from_poor_starts_to_better_ends(make):
    gains = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = 5.0 * rng.integers(3, size=(1800, 2)) + rng.normal(size=(1800, 2))
        arguments = {"covariance_type": "spherical", "max_iter": 600, "tol": 1e-5}
        arguments |= {"init_params": mixture_start(X, 9), "random_state": 0}
        plain = make(9, **arguments).fit(X)
        annealed = make(9, annealing=[0.3, 0.5, 0.7, 0.9], **arguments).fit(X)
        gains.append(annealed.score(X) - plain.score(X))
    assert np.mean(gains) > 0.03
    assert (np.array(gains) > 0.05).sum() >= 5
    assert min(gains) > -0.05


@both_mixtures
def test_it_leads_truncated_fits_to_better_ends(make):
    """At low temperatures too, where whole posteriors lead all components to one place."""
    gains = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        centres = 12.0 * rng.uniform(size=(40, 3))
        X = centres[rng.integers(40, size=4000)] + 0.7 * rng.normal(size=(4000, 3))
        arguments = {"covariance_type": "spherical", "truncation": 3, "tol": 1e-4}
        arguments |= {"init_params": "random_from_data", "max_iter": 300, "random_state": seed}
        plain = make(40, **arguments).fit(X)
        annealed = make(40, annealing=np.geomspace(0.1, 0.9, 20), **arguments).fit(X)
        gains.append(annealed.score(X, exact=True) - plain.score(X, exact=True))
    assert np.mean(gains) > 0.03
    assert min(gains) > -0.02


@both_mixtures
def test_a_fit_does_not_converge_while_it_lasts(X, make):
    mixture = make(2, annealing=[0.5] * 30, tol=1e3, random_state=0).fit(X)
    assert (mixture.n_iter_, mixture.converged_) == (32, True)
    mixture.set_params(max_iter=30).fit(X)
    assert (mixture.n_iter_, mixture.converged_) == (30, False)
    mixture.set_params(annealing=[], max_iter=100).fit(X)
    assert mixture.n_iter_ < 30


def test_a_bound_that_falls_is_no_warning(X):
    start = GaussianMixture(6, random_state=0, max_iter=50).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = clone(start).set_params(
            weights_init=start.weights_,
            means_init=start.means_,
            precisions_init=start.precisions_,
            annealing=[0.5],
        )
        again.fit(X)
    assert again.lower_bounds_[0] < start.lower_bound_ - 1e-3
    assert again.converged_


@both_mixtures
def test_temperatures_of_one_are_no_annealing(X, make):
    arguments = {"n_components": 4, "tol": 0.0, "max_iter": 5, "random_state": 0}
    plain, ones = make(**arguments).fit(X), make(annealing=[1.0, 1.0], **arguments).fit(X)
    assert plain.lower_bounds_ == ones.lower_bounds_
    np.testing.assert_array_equal(plain.means_, ones.means_)


@truncated_or_not
@every_mixture
def test_the_number_of_threads_does_not_matter(X, make, truncation):
    fits = []
    for num_threads in (1, 3):
        with config_context(num_threads=num_threads):
            mixture = make(6, truncation=truncation, annealing=SCHEDULE, max_iter=8, random_state=0)
            fits.append(mixture.fit(X))
    one, other = fits
    assert one.lower_bounds_ == other.lower_bounds_
    np.testing.assert_array_equal(one.means_, other.means_)


class StoppedError(Exception):
    """What ends a fit in the middle."""


@truncated_or_not
@both_mixtures
@pytest.mark.parametrize("at", [1, 3, 5, 7])
def test_a_checkpoint_goes_on_to_the_same_bits(X, make, truncation, at, tmp_path):
    arguments = {"n_components": 6, "truncation": truncation, "annealing": SCHEDULE}
    arguments |= {"max_iter": 12, "tol": 0.0, "random_state": 0}
    expected = make(**arguments).fit(X)
    path = tmp_path / "checkpoint.npz"
    kept = make(checkpoint=path, checkpoint_interval=0.0, **arguments)

    def callback(iteration):
        if iteration.iteration == at + 1:
            raise StoppedError

    with contextlib.suppress(StoppedError):
        kept.fit(X, callback=callback)
    assert path.exists()
    went_on = kept.fit(X)
    assert went_on.lower_bounds_ == expected.lower_bounds_
    for name in expected._stored.attributes:
        np.testing.assert_array_equal(getattr(went_on, name), getattr(expected, name))
    path.unlink()
    with contextlib.suppress(StoppedError):
        kept.fit(X, callback=callback)
    with pytest.raises(ValueError, match="annealing"):
        kept.set_params(annealing=SCHEDULE[:-1]).fit(X)


def test_rows_from_a_function(X):
    def chunks():
        yield X[:300]
        yield X[300:]

    arguments = {"annealing": SCHEDULE, "max_iter": 8, "random_state": 0, "init_params": "random"}
    whole, chunked = GaussianMixture(4, **arguments).fit(X), GaussianMixture(4, **arguments)
    np.testing.assert_allclose(chunked.fit(chunks).lower_bounds_, whole.lower_bounds_, rtol=1e-9)


@both_mixtures
def test_warm_starts_and_several_starts(X, make):
    mixture = make(4, annealing=SCHEDULE, n_init=2, random_state=0).fit(X)
    assert mixture.n_iter_ > len(SCHEDULE)
    mixture.set_params(warm_start=True).fit(X)
    assert mixture.n_iter_ >= len(SCHEDULE) + 2


@every_mixture
@pytest.mark.parametrize("given", [SCHEDULE, tuple(SCHEDULE), np.array(SCHEDULE, np.float32)])
def test_what_a_sequence_is(X, make, given, tmp_path):
    mixture = make(3, annealing=given, max_iter=6, random_state=0)
    assert clone(mixture).get_params()["annealing"] is not None
    mixture.fit(X)
    assert mixture.annealing is given
    again = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(again.annealing, given)
    if make is not gaussian_family:
        mixture.save(tmp_path / "mixture.npz")
        loaded = vbfast.load(tmp_path / "mixture.npz")
        np.testing.assert_array_equal(loaded.annealing, given)
        assert clone(loaded).fit(X).lower_bounds_ == mixture.lower_bounds_


@every_mixture
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([0.0, 0.5], ValueError, "annealing must have inverse temperatures above 0 .* got 0.0"),
        ([0.5, 1.5], ValueError, "got 1.5"),
        ([np.nan], ValueError, "got nan"),
        ([[0.5]], ValueError, r"annealing must be a sequence of numbers; got shape \(1, 1\)"),
        (0.5, ValueError, "'annealing' parameter"),
        (["a"], TypeError, "annealing must be numeric"),
        ([0.5j], TypeError, "annealing must be real"),
        ("abc", TypeError, "annealing"),
    ],
)
def test_what_is_none(X, make, given, error, message):
    mixture = make(3, annealing=given)
    with pytest.raises(error, match=message):
        mixture.fit(X)
    assert not hasattr(mixture, "n_iter_")


@every_mixture
@pytest.mark.parametrize("conflict", [{"batch_size": 100}, {"accelerate": "squarem"}])
def test_what_does_not_go_together(X, make, conflict):
    name = next(iter(conflict))
    with pytest.raises(ValueError, match=f"annealing=.* and {name}=.* do not go together: "):
        make(3, annealing=SCHEDULE, **conflict).fit(X)


def test_custom_components_have_none(X, diagonal_gaussian):
    with pytest.raises(NotImplementedError, match=r"annealing=.* needs Gaussian"):
        Mixture(diagonal_gaussian, 3, annealing=SCHEDULE).fit(X)


def test_other_links_have_none(X):
    class Student(ComponentFamily):
        """Students of known widths."""

        def log_densities(self, theta, n_features):
            spheres = vbfast.families.LogJoint.quadratic(
                "spherical", np.zeros(len(theta)), theta, np.ones(len(theta))
            )
            link = vbfast.contract.StudentT(np.full(len(theta), 4.0))
            return LogJoint(spheres.offset, spheres.form, link)

        def maximize(self, statistics, weight):
            return statistics / weight[:, np.newaxis]

    with pytest.raises(NotImplementedError, match="Quadratic under StudentT: use annealing=None"):
        Mixture(Student(), 3, annealing=SCHEDULE, random_state=0).fit(X)
