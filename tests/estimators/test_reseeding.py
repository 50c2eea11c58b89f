"""Fits whose components begin anew where they have lost their rows."""

from __future__ import annotations

import contextlib
import pickle

import numpy as np
import pytest
from sklearn.base import clone

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture, config_context
from vbfast.families import ComponentFamily, Gaussian, Linear, LogJoint
from vbfast.inference import reseeding

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TYPES = ["full", "tied", "diag", "spherical"]
K = 20


def gaussian_family(n_components, *, covariance_type="full", reg_covar=1e-6, **arguments):
    return Mixture(Gaussian(covariance_type, reg_covar), n_components, **arguments)


both_mixtures = pytest.mark.parametrize("make", [GaussianMixture, BayesianGaussianMixture])
every_mixture = pytest.mark.parametrize(
    "make", [GaussianMixture, BayesianGaussianMixture, gaussian_family]
)
truncated_or_not = pytest.mark.parametrize("truncation", [None, 3])


def groups(rng, n_rows=2000, n_groups=K):
    """Rows of groups of one width."""
    centres = 10.0 * rng.uniform(size=(n_groups, 3))
    return centres[rng.integers(n_groups, size=n_rows)] + 0.7 * rng.normal(size=(n_rows, 3))


def start_with_lost(X, n_components=K):
    """Return responsibilities in which half of the components have a row each."""
    held = n_components // 2
    distances = ((X[:, np.newaxis] - X[:held]) ** 2).sum(axis=2)
    start = np.eye(n_components)[distances.argmin(axis=1)]
    start[-held:] = np.eye(n_components)[held : held + held]
    return start


@pytest.fixture(name="X")
def rows(rng):
    return groups(rng)


@pytest.fixture
def arguments(X):
    """Of a fit in which components lose their rows."""
    return {
        "n_components": K,
        "covariance_type": "diag",
        "init_params": start_with_lost(X),
        "max_iter": 40,
        "tol": 1e-3,
        "reg_covar": 1e-3,
        "random_state": 0,
    }


@pytest.mark.parametrize("covariance_type", TYPES)
@truncated_or_not
@both_mixtures
def test_lost_components_find_rows(make, truncation, covariance_type):
    gains, bounds, lost = [], [], []
    for seed in range(4):
        X = groups(np.random.default_rng(seed))
        plain = make(
            K, covariance_type=covariance_type, truncation=truncation, random_state=seed,
            init_params=start_with_lost(X), max_iter=300, reg_covar=1e-3,
        ).fit(X)  # fmt: skip
        moved = clone(plain).set_params(reseeding=0.2).fit(X)
        gains.append(moved.score(X, exact=True) - plain.score(X, exact=True))
        bounds.append(moved.lower_bound_ - plain.lower_bound_)
        lost.append([(fit.weights_ < 0.2 / K).sum() for fit in (plain, moved)])
    assert min(gains) > (-0.15 if covariance_type == "tied" else -0.02)
    assert np.mean(gains) > 0.05
    assert np.mean(bounds) > 0.0
    before, after = np.sum(lost, axis=0)
    assert after < before
    if make is GaussianMixture:  # the other's prior leaves components without rows
        assert after <= 2


@truncated_or_not
@every_mixture
def test_bounds_fall_at_reseedings_alone(X, arguments, make, truncation, monkeypatch):
    """And the fit does not end within two iterations from one."""
    moved_after = []
    original = reseeding.Reseeding.statistics

    def statistics(self, sums, log_joint, bounds, **rest):
        found = original(self, sums, log_joint, bounds, **rest)
        if found is not None:
            moved_after.append(len(bounds))
        return found

    monkeypatch.setattr(reseeding.Reseeding, "statistics", statistics)
    arguments |= {"reg_covar": 0.0, "max_iter": 200, "truncation": truncation}
    arguments["init_params"] = 0.98 * arguments["init_params"] + 0.02 / K
    mixture = make(reseeding=0.2, **arguments).fit(X)
    assert 1 <= len(moved_after) <= reseeding.MOST
    assert moved_after[0] == reseeding.APART
    assert mixture.converged_
    assert mixture.n_iter_ >= moved_after[-1] + 2
    falls = np.flatnonzero(np.diff(mixture.lower_bounds_) < -1e-10 * abs(mixture.lower_bound_)) + 1
    assert set(falls) <= set(moved_after)


@both_mixtures
def test_bounds_stay_below_exact_ones(X, arguments, make):
    turns = []
    mixture = make(reseeding=0.2, truncation=2, **arguments).fit(
        X, callback=lambda now: turns.append(now.fitted_estimator())
    )
    bounds = np.array(mixture.lower_bounds_)
    if make is BayesianGaussianMixture:
        exact = np.array([after.elbo(X).total for after in turns])
    else:  # of what an iteration begins with, which is another mixture after a reseeding
        bounds, exact = bounds[1:], np.array([before.score(X, exact=True) for before in turns[:-1]])
        moved = np.flatnonzero(np.diff(mixture.lower_bounds_) < 0.0)
        bounds, exact = np.delete(bounds, moved), np.delete(exact, moved)
    assert (bounds <= exact + 1e-9 * np.abs(exact)).all()


@truncated_or_not
@every_mixture
def test_the_number_of_threads_does_not_matter(X, arguments, make, truncation):
    fits = []
    for num_threads in (1, 3):
        with config_context(num_threads=num_threads):
            fits.append(make(reseeding=0.2, truncation=truncation, **arguments).fit(X))
    assert fits[0].lower_bounds_ == fits[1].lower_bounds_
    np.testing.assert_array_equal(fits[0].means_, fits[1].means_)
    plain = make(truncation=truncation, **arguments).fit(X)
    assert plain.lower_bounds_ != fits[0].lower_bounds_
    assert plain.lower_bounds_[: reseeding.APART] == fits[0].lower_bounds_[: reseeding.APART]


def test_draws_are_those_of_random_state(X, arguments):
    ends = {
        GaussianMixture(reseeding=0.2, **(arguments | {"random_state": seed})).fit(X).lower_bound_
        for seed in (0, 0, 1, 2)
    }
    assert len(ends) == 3


class StoppedError(Exception):
    """What ends a fit in the middle."""


@truncated_or_not
@both_mixtures
@pytest.mark.parametrize("at", [3, 5, 6, 17])
def test_a_checkpoint_goes_on_to_the_same_bits(X, arguments, make, truncation, at, tmp_path):
    arguments |= {"truncation": truncation, "reseeding": 0.2, "tol": 0.0, "max_iter": 25}
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
    assert went_on.n_passes_ == expected.n_passes_
    for name in expected._stored.attributes:
        np.testing.assert_array_equal(getattr(went_on, name), getattr(expected, name))


@truncated_or_not
@both_mixtures
def test_float32_and_weights(X, rng, arguments, make, truncation):
    weights = rng.integers(0, 3, size=len(X)).astype(float)
    arguments |= {"truncation": truncation, "max_iter": 300}
    plain = make(**arguments).fit(X.astype(np.float32), sample_weight=weights)
    moved = make(reseeding=0.2, **arguments).fit(X.astype(np.float32), sample_weight=weights)
    assert moved.means_.dtype == np.float32
    assert moved.score(X, exact=True) > plain.score(X, exact=True)
    scaled = make(reseeding=0.2, **arguments)
    if make is GaussianMixture:
        scaled.fit(X.astype(np.float32), sample_weight=2.0**-40 * weights)
        np.testing.assert_allclose(scaled.lower_bounds_, moved.lower_bounds_, rtol=1e-6)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_every_backend(X, arguments, backend):
    if backend == "numba":
        pytest.importorskip("numba")
    arguments |= {"max_iter": 11, "reseeding": 0.2}
    expected = GaussianMixture(**arguments).fit(X)
    found = GaussianMixture(backend=backend, **arguments).fit(X)
    np.testing.assert_allclose(found.lower_bounds_, expected.lower_bounds_, rtol=1e-6)


def test_rows_from_a_function(X, arguments):
    def chunks():
        yield X[:700]
        yield X[700:]

    arguments |= {"max_iter": 11, "reseeding": 0.2}
    whole, chunked = GaussianMixture(**arguments).fit(X), GaussianMixture(**arguments).fit(chunks)
    np.testing.assert_allclose(chunked.lower_bounds_, whole.lower_bounds_, rtol=1e-6)


class Bernoulli(ComponentFamily):
    """Binary features, whose log-density is linear in the rows."""

    attribute = "probabilities_"

    def log_densities(self, theta, n_features):
        return LogJoint(np.log1p(-theta).sum(axis=1), Linear(np.log(theta) - np.log1p(-theta)))

    def maximize(self, statistics, weight):
        return np.clip(statistics / weight[:, np.newaxis], 1e-6, 1.0 - 1e-6)


@truncated_or_not
def test_linear_components(rng, truncation):
    probabilities = rng.uniform(0.05, 0.95, size=(8, 12))
    X = (rng.uniform(size=(2000, 12)) < probabilities[rng.integers(8, size=2000)]) * 1.0
    start = np.eye(8)[rng.integers(2, size=2000)]
    start[:6] = np.eye(8)[2:]
    arguments = {"init_params": 0.99 * start + 0.01 / 8, "random_state": 0}
    arguments |= {"truncation": truncation, "tol": 1e-4, "max_iter": 200}
    plain = Mixture(Bernoulli(), 8, **arguments).fit(X)
    moved = Mixture(Bernoulli(), 8, reseeding=0.5, **arguments).fit(X)
    assert moved.lower_bounds_ != plain.lower_bounds_
    assert moved.lower_bound_ > plain.lower_bound_ - 1e-2


def test_linear_components_begin_half_way_to_their_host():
    """A mean of one row would be impossible where it has zeros."""
    statistics = vbfast.Statistics(
        "first", np.zeros((2, 2)), np.array([8.0, 0.0]), np.array([[4.0, 2.0], [0.0, 0.0]]), None
    )
    moved = reseeding.reseeded(
        statistics, np.array([1]), np.array([0]), np.array([[1.0, 0.0]]), part_of_mean=0.5
    )
    np.testing.assert_array_equal(moved.weight, [4.0, 4.0])
    sums = moved.first + moved.weight[:, np.newaxis] * moved.centres
    np.testing.assert_array_equal(sums, [[2.0, 1.0], [3.0, 0.5]])


def test_it_goes_with_annealing(X, arguments):
    arguments |= {"reseeding": 0.2, "annealing": [0.8] * 7, "max_iter": 200}
    mixture = GaussianMixture(**arguments).fit(X)
    plain = GaussianMixture(**(arguments | {"reseeding": None})).fit(X)
    assert mixture.lower_bounds_[:12] == plain.lower_bounds_[:12]
    assert mixture.lower_bound_ > plain.lower_bound_


@both_mixtures
def test_where_none_is_lost_nothing_changes(X, make):
    arguments = {"n_components": 4, "tol": 0.0, "max_iter": 12, "random_state": 0}
    plain, other = make(**arguments).fit(X), make(reseeding=1e-3, **arguments).fit(X)
    assert plain.lower_bounds_ == other.lower_bounds_
    assert plain.n_passes_ == other.n_passes_


def test_the_last_iterations_are_left_alone(X, arguments):
    arguments |= {"max_iter": 9, "tol": 0.0}
    plain = GaussianMixture(**arguments).fit(X)
    moved = GaussianMixture(reseeding=0.2, **arguments).fit(X)
    assert moved.lower_bounds_ == plain.lower_bounds_


@pytest.mark.parametrize("covariance_type", TYPES)
def test_statistics_of_a_component_that_begins_anew(rng, covariance_type):
    """Weights add up, means are the rows, and covariances the hosts'."""
    X, resp = rng.normal(size=(300, 2)) + 5.0, rng.dirichlet(np.ones(4), size=300)
    mixture = GaussianMixture(4, covariance_type=covariance_type, init_params=resp, max_iter=0)
    statistics = mixture.fit(X).summarize(X).statistics
    rows = np.array([[9.0, 1.0], [2.0, 3.0]])
    moved = reseeding.reseeded(statistics, np.array([0, 3]), np.array([1, 1]), rows)
    before = mixture._fitted_family()
    one, other = (
        before.attributes(
            before.global_step(
                vbfast.PassResult(300.0, 0.0, 0.0, 0.0, 0.0, sums), mixture._fitted_parameters(),
                vbfast.config.settings.current_linalg(),
            ),
            np.dtype(float),
        )
        for sums in (statistics, moved)
    )  # fmt: skip
    assert moved.weight.sum() == pytest.approx(300.0)
    assert other["weights_"][0] == pytest.approx(other["weights_"][3])
    np.testing.assert_allclose(other["means_"][[0, 3]], rows)
    np.testing.assert_allclose(other["means_"][[1, 2]], one["means_"][[1, 2]])
    if covariance_type == "tied":
        np.testing.assert_allclose(other["covariances_"], one["covariances_"])
    else:
        hosts = one["covariances_"][[1, 1, 2, 1]]
        np.testing.assert_allclose(other["covariances_"], hosts, rtol=1e-10)


def test_hosts_are_the_worst_of_the_heavy(rng):
    weight = np.array([0.0, 0.1, 40.0, 30.0, 30.0, 0.5, 0.1])
    bound = np.array([np.nan, -90.0, -2.0, -3.0, np.nan, -80.0, -1.0])
    counts = np.zeros(7)
    for seed in range(50):
        generator = np.random.RandomState(seed)
        moved, hosts = reseeding._drawn_hosts(weight, bound, weight < 1.0, generator)
        assert set(moved) <= {0, 1, 5, 6}
        np.add.at(counts, hosts, 1)
    # The best has nothing to lack, and the worst no more than its weight is for.
    np.testing.assert_array_equal(counts, [0, 0, 0, 100, 0, 0, 0])
    alone = reseeding._drawn_hosts(weight, np.full(7, np.nan), weight < 1.0, generator)
    assert len(alone.components) == 0


def test_outliers_do_not_draw_components(rng):
    """A row that is far from all has the lowest bound, and no component begins there."""
    X = groups(rng)
    X[3] = 500.0
    arguments = {"init_params": start_with_lost(X), "covariance_type": "spherical"}
    mixture = GaussianMixture(K, reseeding=0.2, random_state=0, max_iter=300, **arguments).fit(X)
    alone = (np.abs(mixture.means_ - X[3]) < 100.0).all(axis=1)
    assert alone.sum() <= 1
    assert (mixture.weights_ < 0.2 / K).sum() <= 2


@every_mixture
@pytest.mark.parametrize("given", [0.0, 1.0, -0.5, 1.5, np.nan, "a", [0.5], 0.5j])
def test_what_is_no_part(X, make, given):
    mixture = make(3, reseeding=given)
    with pytest.raises(ValueError, match="'reseeding' parameter"):
        mixture.fit(X)
    assert not hasattr(mixture, "n_iter_")


@every_mixture
@pytest.mark.parametrize("conflict", [{"batch_size": 100}, {"accelerate": "squarem"}])
def test_what_does_not_go_together(X, make, conflict):
    name = next(iter(conflict))
    with pytest.raises(ValueError, match=f"reseeding=0.1 and {name}=.* do not go together: "):
        make(3, reseeding=0.1, **conflict).fit(X)


def test_custom_components_do_not_begin_anew(X, diagonal_gaussian):
    with pytest.raises(NotImplementedError, match=r"reseeding=0\.1 needs Gaussian"):
        Mixture(diagonal_gaussian, 3, reseeding=0.1).fit(X)


@every_mixture
def test_clones_and_files(X, make, tmp_path):
    mixture = clone(make(3, reseeding=0.25, random_state=0)).fit(X)
    assert pickle.loads(pickle.dumps(mixture)).reseeding == 0.25
    if make is not gaussian_family:
        mixture.save(tmp_path / "mixture.npz")
        assert vbfast.load(tmp_path / "mixture.npz").reseeding == 0.25
