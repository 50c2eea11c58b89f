"""Mixtures that learn from rows which come in batches."""

from __future__ import annotations

import copy
import pickle
import warnings
from fractions import Fraction

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture, config_context, load
from vbfast.contract import COVARIANCE_TYPES
from vbfast.families import Custom, Gaussian

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:total_samples is None"),
]

MEANS = np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 3.0], [0.0, -9.0, 6.0]])
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_mixtures = pytest.mark.parametrize("make", [GaussianMixture, BayesianGaussianMixture])


def gaussian_family(n_components, covariance_type="full", **arguments):
    return Mixture(Gaussian(covariance_type), n_components, **arguments)


every_mixture = pytest.mark.parametrize(
    "make", [GaussianMixture, BayesianGaussianMixture, gaussian_family]
)


def batches(n_batches, n_rows, seed=0, means=MEANS, dtype=np.float64):
    rng = np.random.default_rng(seed)
    for _ in range(n_batches):
        labels = rng.choice(3, p=[0.5, 0.3, 0.2], size=n_rows)
        yield (means[labels] + rng.normal(size=(n_rows, 3))).astype(dtype)


def learned(mixture, rows):
    for batch in rows:
        mixture.partial_fit(batch)
    return mixture


def in_order(mixture):
    """Weights and means, by the first and second feature of the means."""
    order = np.argsort(mixture.means_[:, 0] * 10 - mixture.means_[:, 1])
    return mixture.weights_[order], mixture.means_[order]


def covariances_of(covariance_type, weights, scatter):
    """Covariances of scatter matrices about the means."""
    if covariance_type == "tied":
        return scatter.sum(axis=0)
    each = scatter / weights[:, np.newaxis, np.newaxis]
    if covariance_type == "full":
        return each
    variances = each.diagonal(axis1=1, axis2=2)
    return variances if covariance_type == "diag" else variances.mean(axis=1)


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


@both_mixtures
def test_integer_weights_are_repetitions(make):
    rng = np.random.default_rng(1)
    rows = list(batches(3, 100))
    weights = [rng.integers(0, 4, size=100) for _ in rows]
    given = {"init_params": np.repeat([0, 1, 2, 0], 25)}
    weighted, repeated = (make(3, random_state=0, total_samples=500.0) for _ in range(2))
    for index, (batch, weight) in enumerate(zip(rows, weights, strict=True)):
        for mixture in (weighted, repeated):
            labels = given["init_params"]
            start = labels if mixture is weighted else np.repeat(labels, weight)
            mixture.set_params(init_params=start if index == 0 else "kmeans")
        weighted.partial_fit(batch, sample_weight=weight)
        repeated.partial_fit(np.repeat(batch, weight, axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-8, atol=1e-9)
    assert weighted.n_samples_seen_ == repeated.n_samples_seen_ == sum(w.sum() for w in weights)


@both_mixtures
def test_the_scale_of_a_batchs_weights_does_not_matter(make):
    one, other = (make(3, random_state=0, total_samples=1000.0) for _ in range(2))
    for count, batch in enumerate(batches(3, 200)):
        one.partial_fit(batch, sample_weight=np.ones(200))
        other.partial_fit(batch, sample_weight=np.full(200, 2.0**count))
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-9)
    np.testing.assert_allclose(one.covariances_, other.covariances_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", [GaussianMixture, gaussian_family])
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-17])
def test_weights_may_be_tiny(make, scale):
    one, tiny = (make(3, random_state=0) for _ in range(2))
    for batch in batches(3, 200):
        one.partial_fit(batch)
        tiny.partial_fit(batch, sample_weight=np.full(200, scale))
    np.testing.assert_allclose(tiny.means_, one.means_, rtol=1e-9)
    np.testing.assert_allclose(tiny.covariances_, one.covariances_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(tiny.lower_bounds_, one.lower_bounds_, rtol=1e-12)
    assert tiny.n_samples_seen_ == pytest.approx(600 * scale)


def test_weights_that_sum_to_one_keep_small_components():
    """float32 has a thousand epsilon at 1.2e-4 of the weight."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50_000, 1)).astype(np.float32)
    rows[:4] += 100.0
    start = {"weights_init": [0.5, 0.5], "means_init": [[0.0], [90.0]], "precisions_init": [1, 1]}
    one, other = (GaussianMixture(2, covariance_type="spherical", **start) for _ in range(2))
    one.partial_fit(rows)
    other.partial_fit(rows, sample_weight=1 / len(rows))
    np.testing.assert_allclose(other.means_, one.means_, rtol=1e-5, atol=1e-6)
    assert one.means_[1] == pytest.approx(rows[:4].mean(), rel=1e-5)


@all_types
def test_total_samples_do_not_matter_for_maximum_likelihood(covariance_type):
    one, few = (
        learned(
            GaussianMixture(
                3, covariance_type=covariance_type, random_state=0, total_samples=total
            ),
            batches(3, 200),
        )
        for total in (None, 1e-20)
    )
    np.testing.assert_allclose(few.means_, one.means_, rtol=1e-9)
    np.testing.assert_allclose(few.covariances_, one.covariances_, rtol=1e-9, atol=1e-12)


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


def test_a_bayesian_mixture_says_once_what_the_prior_is_weighed_against():
    rows = list(batches(2, 100))
    mixture = BayesianGaussianMixture(3, random_state=0)
    with pytest.warns(UserWarning, match="total_samples is None: the prior is weighed") as caught:
        learned(mixture, rows)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="total_samples is None"):
        BayesianGaussianMixture(3, random_state=0).initialize(rows[0]).partial_fit(rows[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned(BayesianGaussianMixture(3, random_state=0, total_samples=200.0), rows)
        learned(GaussianMixture(3, random_state=0), rows)
        BayesianGaussianMixture(3, random_state=0, tol=10.0).fit(rows[0]).partial_fit(rows[1])


@both_mixtures
def test_what_fails_leaves_the_mixture_as_it_was(make):
    rows = list(batches(3, 100))
    broken = rows[2].copy()
    broken[17, 1] = np.nan
    mixture = make(3, random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        mixture.partial_fit(broken)
    assert not [name for name in vars(mixture) if name.endswith("_")]
    learned(mixture, rows[:2])
    before = pickle.dumps(mixture)
    with pytest.raises(ValueError, match="NaN"):
        mixture.partial_fit(broken)
    with pytest.raises(ValueError, match="features"):
        mixture.partial_fit(rows[2][:, :2])
    with pytest.raises(ValueError, match="sample_weight"):
        mixture.partial_fit(rows[2], sample_weight=np.zeros(100))
    assert pickle.dumps(mixture) == before


def test_a_first_batch_of_too_few_rows():
    (few,) = batches(1, 2)
    with pytest.raises(ValueError, match=r"n_samples = 2\. The first batch starts"):
        GaussianMixture(3).partial_fit(few)
    start = {
        "weights_init": np.full(3, 1 / 3),
        "means_init": MEANS,
        "precisions_init": np.tile(np.eye(3), (3, 1, 1)),
    }
    mixture = GaussianMixture(3, **start, step_size=0.1)
    for row in batches(300, 1):
        mixture.partial_fit(row)
    assert mixture.n_batch_iter_ == 300


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("learning_decay", 1.5),
        ("learning_decay", -0.1),
        ("learning_decay", Fraction(7, 10)),
        ("step_size", Fraction(1, 2)),
        ("learning_offset", 0.5),
        ("step_size", 1.0),
        ("step_size", 0.0),
        ("total_samples", 0.0),
        ("total_samples", "many"),
    ],
)
def test_parameters_are_checked(name, wrong):
    (rows,) = batches(1, 50)
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        GaussianMixture(3, **{name: wrong}).partial_fit(rows)


@pytest.mark.parametrize("number", [np.int64, np.float32])
def test_parameters_may_be_numpys(number):
    arguments = {"learning_decay": 1, "learning_offset": 8, "total_samples": 512}
    numpys = {name: number(value) for name, value in arguments.items()}
    rows = list(batches(3, 100))
    one, other = (
        learned(BayesianGaussianMixture(3, random_state=0, **each), rows)
        for each in (arguments, numpys)
    )
    np.testing.assert_array_equal(one.means_, other.means_)


def test_a_changed_number_of_components_is_refused():
    rows = list(batches(2, 100))
    mixture = GaussianMixture(3, random_state=0).partial_fit(rows[0]).set_params(n_components=4)
    with pytest.raises(ValueError, match="goes on with 3 components, and n_components is now 4"):
        mixture.partial_fit(rows[1])


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
