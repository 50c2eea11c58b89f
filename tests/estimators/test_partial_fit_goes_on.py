"""Where learning from batches goes on from: fits, copies, files, and what was set by hand."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from streams import all_types, batches, both_mixtures, every_mixture, in_order, learned
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture, load
from vbfast.families import Custom

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:total_samples is None"),
]


@both_mixtures
@all_types
def test_it_goes_on_from_a_fit(make, covariance_type):
    (rows,) = batches(1, 3000)
    mixture = make(3, covariance_type=covariance_type, random_state=0, max_iter=1000).fit(rows)
    before = copy.deepcopy(mixture)
    (batch,) = batches(1, 50, seed=5)
    mixture.partial_fit(batch)
    assert mixture.n_batch_iter_ == 1
    # A step of 11 ** -0.7 towards fifty rows, and no further.
    assert 0.0 < np.abs(mixture.means_ - before.means_).max() < 0.2
    np.testing.assert_allclose(mixture.covariances_, before.covariances_, atol=0.3)
    if make is BayesianGaussianMixture:
        assert mixture.n_samples_seen_ == pytest.approx(3050.0)
    # With the rows of the fit again nothing moves: it had converged.
    same = copy.deepcopy(before).set_params(step_size=0.5).partial_fit(rows)
    np.testing.assert_allclose(same.means_, before.means_, atol=0.02)


@every_mixture
def test_a_fit_begins_anew_or_goes_on(make):
    rows = np.concatenate(list(batches(4, 200)))
    streamed = learned(make(3, random_state=0), np.split(rows, 4))
    again = copy.deepcopy(streamed).fit(rows)
    alone = make(3, random_state=0).fit(rows)
    np.testing.assert_array_equal(again.means_, alone.means_)
    assert not hasattr(again, "n_batch_iter_")
    warm = copy.deepcopy(streamed).set_params(warm_start=True).fit(rows)
    assert warm.n_iter_ < alone.n_iter_ + 5
    np.testing.assert_allclose(in_order(warm)[1], in_order(alone)[1], atol=0.1)


def test_a_family_whose_statistics_are_not_known_begins_with_the_batch():
    pytest.importorskip("numba")

    def sufficient_statistics(x, out):
        out[0] = x[0]

    family = Custom(
        log_density=lambda x, theta: -0.5 * (x[0] - theta[0]) ** 2,
        sufficient_statistics=sufficient_statistics,
        maximize=lambda statistics, weight: statistics / weight[:, np.newaxis],
        n_statistics=1,
    )
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 1)) + 8.0 * rng.integers(2, size=(400, 1))
    mixture = learned(Mixture(family, 2, random_state=0), np.split(rows, 4))
    np.testing.assert_allclose(np.sort(mixture.parameters_.ravel()), [0.0, 8.0], atol=0.4)
    fitted = Mixture(family, 2, random_state=0).fit(rows)
    q = fitted.predict_proba(rows[:100])
    expected = q.T @ rows[:100] / q.sum(axis=0)[:, np.newaxis]
    np.testing.assert_allclose(fitted.partial_fit(rows[:100]).parameters_, expected)


@pytest.mark.parametrize("learning_decay", [0.0, 0.7])
def test_bounds_recover_from_a_row_that_was_impossible(learning_decay):
    pytest.importorskip("numba")

    def log_density(x, theta):
        return -np.log(theta[0]) - x[0] / theta[0] if x[0] >= 0.0 else -np.inf

    def sufficient_statistics(x, out):
        out[0] = x[0]

    family = Custom(
        log_density=log_density,
        sufficient_statistics=sufficient_statistics,
        maximize=lambda statistics, weight: statistics / weight[:, np.newaxis],
        n_statistics=1,
    )
    rng = np.random.default_rng(0)
    mixture = Mixture(family, 2, random_state=0, learning_decay=learning_decay)
    waits = [rng.exponential(np.repeat([0.1, 5.0], 100))[:, np.newaxis] for _ in range(4)]
    waits[1][0] = -1.0
    learned(mixture, waits)
    np.testing.assert_array_equal(np.isfinite(mixture.lower_bounds_), [True, False, True, True])


@every_mixture
def test_pickles_and_copies_go_on(make):
    rows = list(batches(6, 100))
    whole = learned(make(3, random_state=0), rows)
    half = learned(make(3, random_state=0), rows[:3])
    for other in (copy.deepcopy(half), pickle.loads(pickle.dumps(half))):
        learned(other, rows[3:])
        np.testing.assert_array_equal(other.means_, whole.means_)
        assert other.lower_bounds_ == whole.lower_bounds_
    assert not hasattr(clone(half), "n_batch_iter_")


@both_mixtures
@all_types
def test_model_files_go_on(make, covariance_type, tmp_path):
    rows = list(batches(6, 100))
    whole = learned(make(3, covariance_type=covariance_type, random_state=0), rows)
    half = learned(make(3, covariance_type=covariance_type, random_state=0), rows[:3])
    half.save(tmp_path / "model.npz")
    loaded = load(tmp_path / "model.npz")
    assert (loaded.n_batch_iter_, loaded.n_samples_seen_) == (3, 300.0)
    learned(loaded, rows[3:])
    np.testing.assert_array_equal(loaded.means_, whole.means_)
    np.testing.assert_array_equal(loaded.covariances_, whole.covariances_)
    assert loaded.lower_bounds_ == whole.lower_bounds_


@all_types
@pytest.mark.parametrize("prior_type", ["dirichlet_process", "dirichlet_distribution"])
def test_a_pruned_mixture_goes_on_with_what_is_left(covariance_type, prior_type, tmp_path):
    whole = BayesianGaussianMixture(
        8, covariance_type=covariance_type, weight_concentration_prior_type=prior_type,
        weight_concentration_prior=1e-3, max_iter=500, random_state=0,
    )  # fmt: skip
    whole.fit(np.concatenate(list(batches(8, 200))))
    learned(whole, batches(3, 200, seed=1))
    pruned = whole.prune()
    assert len(pruned.weights_) < 8
    assert (pruned.n_batch_iter_, pruned.n_samples_seen_) == (3, whole.n_samples_seen_)
    pruned.save(tmp_path / "pruned.npz")
    active = whole._fitted_parameters().active
    (batch,) = batches(1, 200, seed=2)
    for mixture in (pruned, load(tmp_path / "pruned.npz"), whole):
        mixture.partial_fit(batch)
    np.testing.assert_allclose(pruned.means_, whole.means_[active], atol=0.01)
    np.testing.assert_allclose(pruned.weights_, whole.weights_[active], atol=0.01)


def test_it_goes_on_from_a_posterior_that_is_the_prior():
    rows = list(batches(2, 200))
    mixture = BayesianGaussianMixture(3, random_state=0).initialize(rows[0])
    mixture.maximize(mixture.summarize(rows[0], sample_weight=1e-300))
    np.testing.assert_allclose(mixture.covariances_[0], mixture.covariance_prior_ / 3.0)
    mixture.partial_fit(rows[1])
    assert mixture.n_samples_seen_ == 200.0


def test_natural_parameters_that_are_given_leave_the_stream_behind():
    rows = list(batches(4, 200))
    streamed = learned(BayesianGaussianMixture(3, random_state=0), rows[:3])
    moved = streamed.with_natural_parameters(streamed.natural_parameters_)
    assert not hasattr(moved, "n_batch_iter_")
    alone = BayesianGaussianMixture(3, random_state=0, max_iter=0).fit(rows[0])
    given = alone.with_natural_parameters(streamed.natural_parameters_)
    for name in ("mean_prior_", "covariance_prior_"):
        np.testing.assert_array_equal(getattr(given, name), getattr(streamed, name))
    np.testing.assert_array_equal(
        moved.partial_fit(rows[3]).means_, given.partial_fit(rows[3]).means_
    )


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("first", None, "stream_first missing"),
        ("second", np.zeros((3, 3)), r"stream_second has shape \(3, 3\)"),
        ("weight", np.array([0.5, np.nan, 0.5]), "stream_weight is not finite"),
        ("weight", np.array([0.5, -0.5, 1.0]), "stream_weight must not be negative"),
        ("weight", np.array([0.5, 0.25, 0.25], np.float32), "stream_weight has .* float32"),
        ("n_batch_iter", np.array(2.0), "stream_n_batch_iter has .* float64"),
        ("n_samples_seen", np.array(-1.0), "stream_n_samples_seen must not be negative"),
    ],
)
def test_model_files_with_another_stream(name, wrong, message, tmp_path):
    path = tmp_path / "model.npz"
    learned(GaussianMixture(3, random_state=0), batches(3, 100)).save(path)
    with np.load(path) as arrays:
        held = dict(arrays)
    del held[f"stream_{name}"]
    if wrong is not None:
        held[f"stream_{name}"] = wrong
    np.savez(path, **held)
    with pytest.raises(ValueError, match=message):
        load(path)


ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_cholesky_")


@every_mixture
def test_attributes_that_were_set_are_gone_on_from(make):
    """As after a fit: the old average does not overrule them."""
    rows = list(batches(6, 200))
    streamed = learned(make(3, random_state=0, step_size=0.05), rows[:5])
    moved = copy.deepcopy(streamed)
    moved.means_ = moved.means_ + 0.5
    in_place = copy.deepcopy(streamed)
    in_place.means_[:] += 0.5
    fitted = make(3, random_state=0, step_size=0.05, max_iter=1)
    fitted = fitted.fit(np.concatenate(rows[:5]))
    for name in vars(streamed):
        if name.endswith("_") and name not in ("n_batch_iter_", "n_samples_seen_"):
            setattr(fitted, name, copy.deepcopy(getattr(moved, name)))
    for mixture in (moved, in_place, fitted):
        mixture.partial_fit(rows[5])
        assert mixture.n_batch_iter_ == 1
        assert len(mixture.lower_bounds_) == 1
    for other in (in_place, fitted):
        for name in ATTRIBUTES:
            np.testing.assert_array_equal(getattr(moved, name), getattr(other, name))
        assert moved.n_samples_seen_ == other.n_samples_seen_
    # A step of 0.05 away from what was set, and not back to the average.
    np.testing.assert_allclose(moved.means_, streamed.means_ + 0.5, atol=0.1)
    # From there on it is a stream.
    moved.partial_fit(rows[0])
    assert moved.n_batch_iter_ == 2


def test_attributes_that_are_set_to_what_they_are_change_nothing():
    rows = list(batches(4, 100))
    alone = learned(GaussianMixture(3, random_state=0), rows)
    touched = learned(GaussianMixture(3, random_state=0), rows[:3])
    touched.means_ = touched.means_.copy()
    touched.weights_[:] = touched.weights_.copy()
    touched.partial_fit(rows[3])
    np.testing.assert_array_equal(touched.means_, alone.means_)
    assert touched.n_batch_iter_ == 4


@both_mixtures
def test_a_file_holds_no_stream_that_was_left(make, tmp_path):
    rows = list(batches(4, 100))
    mixture = learned(make(3, random_state=0), rows[:3])
    mixture.means_ += 0.5
    mixture.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as arrays:
        assert not [name for name in arrays if name.startswith("stream_")]
    loaded = load(tmp_path / "model.npz")
    for other in (mixture, loaded):
        other.partial_fit(rows[3])
    np.testing.assert_array_equal(loaded.means_, mixture.means_)


def test_a_pruned_mixture_leaves_a_stream_that_was_left():
    rows = list(batches(2, 200))
    mixture = BayesianGaussianMixture(6, weight_concentration_prior=1e-3, random_state=0)
    learned(mixture.fit(np.concatenate(rows)), rows)
    mixture.means_ += 0.1
    assert not hasattr(mixture.prune(), "n_batch_iter_")


def test_copies_have_bounds_of_their_own():
    """A batch appends to them, without a copy of all."""
    rows = list(batches(5, 100))
    mixture = learned(GaussianMixture(3, random_state=0), rows[:2])
    bounds = mixture.lower_bounds_
    others = [copy.copy(mixture), copy.deepcopy(mixture), pickle.loads(pickle.dumps(mixture))]
    learned(mixture, rows[2:])
    assert mixture.lower_bounds_ is bounds
    assert len(bounds) == mixture.n_iter_ == 5
    for other in others:
        assert len(other.lower_bounds_) == other.n_iter_ == 2
        learned(other, rows[2:])
        assert other.lower_bounds_ == bounds
