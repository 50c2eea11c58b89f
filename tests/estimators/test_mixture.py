"""Mixtures of custom components."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from scipy import stats
from scipy.special import i0e
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import vbfast
from vbfast import GaussianMixture, Mixture

numba = pytest.importorskip("numba")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def spherical_log_density(x, theta):
    square = 0.0
    for d in range(len(x)):
        square += (x[d] - theta[d]) ** 2
    return -0.5 * (square + len(x) * math.log(2 * math.pi))


def spherical_statistics(x, out):
    out[:] = x


def spherical_means(statistics, weight):
    return statistics / weight[:, np.newaxis]


def spherical_length(n_features):
    return n_features


@pytest.fixture(scope="module")
def von_mises():
    @numba.njit
    def log_density(x, theta):
        mean, concentration, log_normaliser = theta
        return concentration * math.cos(x[0] - mean) - log_normaliser

    @numba.njit
    def sufficient_statistics(x, out):
        out[0] = math.cos(x[0])
        out[1] = math.sin(x[0])

    def maximize(statistics, weight):
        length = np.hypot(*statistics.T) / weight
        concentration = length * (2 - length**2) / (1 - length**2)
        log_normaliser = np.log(2 * np.pi * i0e(concentration)) + concentration
        mean = np.arctan2(statistics[:, 1], statistics[:, 0])
        return np.column_stack([mean, concentration, log_normaliser])

    return vbfast.families.Custom(log_density, sufficient_statistics, maximize, n_statistics=2)


# The functions are module level, so that the family can be pickled.
@parametrize_with_checks(
    [
        Mixture(
            vbfast.families.Custom(
                spherical_log_density,
                spherical_statistics,
                spherical_means,
                n_statistics=spherical_length,
            ),
            max_iter=5,
        )
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_conventions(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_von_mises_mixture_is_recovered(von_mises, dtype):
    """Within a few standard errors of what the rows were drawn from."""
    rng = np.random.default_rng(3)
    true = np.array([[-2.0, 8.0], [0.5, 20.0], [2.2, 5.0]])
    weights = np.array([0.5, 0.2, 0.3])
    component = rng.choice(3, size=20_000, p=weights)
    angles = rng.vonmises(true[component, 0], true[component, 1])[:, np.newaxis].astype(dtype)
    mixture = Mixture(von_mises, 3, tol=1e-9, max_iter=500, random_state=0).fit(angles)
    order = np.argsort(mixture.parameters_[:, 0])
    np.testing.assert_allclose(mixture.parameters_[order, 0], true[:, 0], atol=0.03)
    # The maximizer of the concentration is approximate: to a few per cent.
    np.testing.assert_allclose(mixture.parameters_[order, 1], true[:, 1], rtol=0.1)
    np.testing.assert_allclose(mixture.weights_[order], weights, atol=0.02)
    density = sum(
        weight * stats.vonmises.pdf(angles[:, 0].astype(float), concentration, mean)
        for weight, (mean, concentration, _) in zip(
            mixture.weights_, mixture.parameters_, strict=True
        )
    )
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(mixture.score_samples(angles), np.log(density), rtol=rtol, atol=rtol)
    accuracy = np.mean(np.argsort(order)[mixture.predict(angles)] == component)
    assert accuracy > 0.95


@pytest.fixture
def start(clustered, rng):
    return rng.dirichlet(np.full(4, 0.2), len(clustered))


@pytest.mark.parametrize("weighted", [False, True])
def test_iterations_are_those_of_a_diagonal_gaussian_mixture(
    clustered, start, rng, diagonal_gaussian, weighted
):
    weights = rng.uniform(0, 2, len(clustered)) if weighted else None
    keywords = {"tol": 0, "max_iter": 25, "init_params": start}
    ours = Mixture(diagonal_gaussian, 4, **keywords).fit(clustered, sample_weight=weights)
    theirs = GaussianMixture(4, covariance_type="diag", reg_covar=0, **keywords)
    theirs.fit(clustered, sample_weight=weights)
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=1e-10)
    mean, scale = np.split(ours.parameters_[:, :-1], 2, axis=1)
    np.testing.assert_allclose(mean, theirs.means_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(scale, theirs.precisions_cholesky_, rtol=1e-9)
    np.testing.assert_allclose(ours.weights_, theirs.weights_, rtol=1e-10)
    np.testing.assert_array_equal(ours.predict(clustered), theirs.predict(clustered))
    for method in ("predict_proba", "score_samples"):
        expected = getattr(theirs, method)(clustered)
        np.testing.assert_allclose(getattr(ours, method)(clustered), expected, atol=1e-10)
    score = theirs.score(clustered, sample_weight=weights)
    assert ours.score(clustered, sample_weight=weights) == pytest.approx(score, rel=1e-11)
    for resp in (None, start):
        expected = theirs.elbo(clustered, resp=resp, sample_weight=weights)
        terms = ours.elbo(clustered, resp=resp, sample_weight=weights)
        for name in ("elbo", "expected_log_joint", "entropy", "log_evidence", "kl"):
            value = getattr(expected, name)
            assert getattr(terms, name) == pytest.approx(value, rel=1e-9, abs=1e-8), name


def test_single_precision_fit_is_near_the_double_precision_one(clustered, start, diagonal_gaussian):
    keywords = {"tol": 0, "max_iter": 15, "init_params": start}
    single = Mixture(diagonal_gaussian, 4, **keywords).fit(clustered.astype(np.float32))
    double = Mixture(diagonal_gaussian, 4, **keywords).fit(
        clustered.astype(np.float32).astype(np.float64)
    )
    np.testing.assert_allclose(single.lower_bounds_, double.lower_bounds_, atol=1e-5)
    np.testing.assert_allclose(single.parameters_, double.parameters_, rtol=1e-3, atol=1e-4)
    assert single.predict_proba(clustered.astype(np.float32)).dtype == np.float32


def test_threads_and_storage_do_not_change_the_bits(clustered, diagonal_gaussian):
    rows = np.tile(clustered, (10, 1))
    mixture = Mixture(diagonal_gaussian, 3, tol=0, max_iter=5, random_state=0)
    with vbfast.config_context(num_threads=1):
        expected = clone(mixture).fit(rows).parameters_
    for num_threads, stored in ((2, rows), (5, np.asfortranarray(rows))):
        with vbfast.config_context(num_threads=num_threads):
            np.testing.assert_array_equal(clone(mixture).fit(stored).parameters_, expected)


@pytest.mark.parametrize("init_params", ["kmeans", "random", "array", "labels", "callable"])
def test_starts(clustered, rng, diagonal_gaussian, init_params):
    given = {
        "array": rng.dirichlet(np.ones(3), len(clustered)),
        "labels": rng.integers(-1, 3, len(clustered)),
        "callable": lambda X, n_components, random_state: random_state.dirichlet(
            np.ones(n_components), len(X)
        ),
    }.get(init_params, init_params)
    mixture = Mixture(diagonal_gaussian, 3, init_params=given, random_state=0, n_init=2)
    bounds = mixture.fit(clustered).lower_bounds_
    assert np.all(np.diff(bounds) > -1e-12)
    again = clone(mixture).fit(clustered)
    np.testing.assert_array_equal(again.parameters_, mixture.parameters_)


def test_random_starts_follow_the_stream_of_gaussian_mixtures(clustered, diagonal_gaussian):
    keywords = {"init_params": "random", "random_state": 5, "n_init": 3, "tol": 0, "max_iter": 4}
    ours = Mixture(diagonal_gaussian, 3, **keywords).fit(clustered)
    theirs = GaussianMixture(3, covariance_type="diag", reg_covar=0, **keywords).fit(clustered)
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=1e-10)


def test_warm_start_goes_on(clustered, diagonal_gaussian):
    keywords = {"tol": 0, "random_state": 0}
    whole = Mixture(diagonal_gaussian, 3, max_iter=8, **keywords).fit(clustered)
    parts = Mixture(diagonal_gaussian, 3, max_iter=4, warm_start=True, **keywords)
    parts.fit(clustered).fit(clustered)
    np.testing.assert_allclose(parts.parameters_, whole.parameters_, rtol=1e-12)
    parts.set_params(n_components=2)
    with pytest.raises(ValueError, match="of 3 components of 4 features; this fit needs 2 of 4"):
        parts.fit(clustered)
    parts.set_params(n_components=3)
    with pytest.raises(ValueError, match="of 3 components of 4 features; this fit needs 3 of 2"):
        parts.fit(clustered[:, :2])
    assert parts.predict(clustered).shape == (600,)


def test_no_iterations(clustered, diagonal_gaussian):
    mixture = Mixture(diagonal_gaussian, 3, max_iter=0, random_state=0).fit(clustered)
    assert mixture.lower_bounds_ == []
    assert mixture.parameters_.shape == (3, 9)


def test_sample(clustered, diagonal_gaussian, von_mises):
    mixture = Mixture(diagonal_gaussian, 2, random_state=0).fit(clustered)
    X, y = mixture.sample(5000, random_state=1)
    np.testing.assert_allclose(np.bincount(y) / 5000, mixture.weights_, atol=0.03)
    np.testing.assert_allclose(X.mean(axis=0), clustered.mean(axis=0), atol=0.1)
    with pytest.raises(ValueError, match="Invalid value for 'n_samples'"):
        mixture.sample(0)
    with pytest.raises(NotFittedError):
        clone(mixture).sample()
    assert not hasattr(Mixture(von_mises), "sample")


def test_samples_of_another_shape(clustered):
    def mixture(sample):
        family = vbfast.families.Custom(
            spherical_log_density, spherical_statistics, spherical_means, 4, sample=sample
        )
        return Mixture(family, 2, random_state=0).fit(clustered)

    with pytest.raises(ValueError, match=r"sample must return an array of shape .* got shape \("):
        mixture(lambda theta, n, rng: rng.normal(size=(4, n))).sample(9)
    fitted = mixture(lambda theta, n, rng: rng.normal(theta, size=(n, len(theta))))
    fitted.weights_ = np.array([1.0, 0.0])  # sample is not asked for no rows
    assert fitted.sample(9)[0].shape == (9, 4)


def test_a_fit_tries_the_functions_first(clustered):
    """On a row that counts: others may be impossible."""

    def statistics(x, out):
        if np.abs(x).max() > 1e3:
            raise ValueError("such a row has none")
        out[:] = x

    def too_long(x, out):
        for d in range(5):
            out[d] = 0.0

    def family(sufficient_statistics):
        return vbfast.families.Custom(
            spherical_log_density, sufficient_statistics, spherical_means, n_statistics=4
        )

    X, weight = np.vstack([np.full(4, 1e9), clustered]), np.ones(len(clustered) + 1)
    weight[0] = 0
    start = np.zeros(len(X), dtype=int)
    Mixture(family(statistics), init_params=start).fit(X, sample_weight=weight)
    with pytest.raises(ValueError, match="such a row has none"):
        Mixture(family(statistics), init_params=start).fit(X)
    with pytest.raises(
        ValueError,
        match="index beyond the ends of an array, where x has length 4 and out has length 4",
    ):
        Mixture(family(too_long)).fit(clustered)


def test_errors_leave_the_estimator_as_it_was(clustered, diagonal_gaussian):
    mixture = Mixture(diagonal_gaussian, 2, random_state=0).fit(clustered)
    before = mixture.parameters_
    with pytest.raises(ValueError, match="Input X contains NaN"):
        mixture.fit(np.where(np.arange(600)[:, np.newaxis] == 7, np.nan, clustered))
    mixture.set_params(init_params=np.zeros(600, dtype=int))
    with pytest.raises(ValueError, match="component 1 has none"):
        mixture.fit(clustered)
    assert mixture.parameters_ is before


def test_bad_parameters(clustered, diagonal_gaussian):
    with pytest.raises(ValueError, match="'family' parameter of Mixture must be an instance"):
        Mixture("gaussian").fit(clustered)
    with pytest.raises(ValueError, match="'init_params' parameter of Mixture"):
        Mixture(diagonal_gaussian, init_params="k-means++").fit(clustered)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("weights_", [1.5, -0.5], ValueError, "weights_ must not be negative; got -0.5"),
        ("weights_", [1.0], ValueError, r"weights_ must have shape \(2,\); got \(1,\)"),
        ("weights_", [0.5j, 0.5], TypeError, "weights_ must be real; got dtype complex128"),
        ("parameters_", [1.0, 2.0], ValueError, r"shape \(n_components, n_parameters\).*\(2,\)"),
        ("parameters_", np.empty((2, 0)), ValueError, r"at least one of each; got shape \(2, 0\)"),
        ("parameters_", np.full((2, 7), np.nan), ValueError, "parameters_ must be finite"),
    ],
)
def test_attributes_that_are_none(clustered, diagonal_gaussian, name, value, error, message):
    mixture = Mixture(diagonal_gaussian, 2, random_state=0, tol=1e9).fit(clustered)
    setattr(mixture, name, value)
    for method in (mixture.score, mixture.predict_proba, mixture.log_joint):
        with pytest.raises(error, match=message):
            method(clustered)


def test_not_converged_is_a_warning(clustered, diagonal_gaussian):
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        Mixture(diagonal_gaussian, 4, tol=0, max_iter=2, random_state=0).fit(clustered)


def test_pickle(clustered):
    family = vbfast.families.Custom(
        spherical_log_density, spherical_statistics, spherical_means, n_statistics=4
    )
    mixture = Mixture(family, 2, random_state=0).fit(clustered)
    again = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(again.predict_proba(clustered), mixture.predict_proba(clustered))


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_density_that_is_no_number_is_named_by_fit_and_score(bad):
    """A density that has no value at rows below zero."""

    def log_density(x, theta):
        return -0.5 * (x[0] - theta[0]) ** 2 if x[0] >= 0.0 else bad

    family = vbfast.families.Custom(
        log_density=log_density,
        sufficient_statistics=spherical_statistics,
        maximize=spherical_means,
        n_statistics=1,
    )
    rows = np.linspace(0.0, 9.0, 50)[:, np.newaxis]
    start = np.arange(50) // 25
    mixture = Mixture(family, 2, init_params=start, max_iter=3).fit(rows)
    rows[13] = -1.0
    pattern = rf"log_density .* returned {bad} for row 13, x = .* under component 0"
    with pytest.raises(ValueError, match=pattern):
        mixture.score(rows)
    with pytest.raises(ValueError, match=pattern):
        Mixture(family, 2, init_params=start, max_iter=3).fit(rows)


# What is wrong happens at rows above 50 only: not at the first one, which functions are tried on.


def _late_write_beyond(x, out):
    out[0] = x[0]
    if x[0] > 50:
        for s in range(1, 3000):
            out[s] = 1e300


def _late_write_before(x, out):
    out[0] = x[0]
    if x[0] > 50:
        for s in range(1, 3000):
            out[-s] = 1e300


def _late_read_beyond(x, out):
    out[0] = x[0] if x[0] < 50 else x[100_000]


def _late_density(x, theta):
    return -theta[0] * x[0] if x[0] < 50 else theta[100_000]


def _exponential(x, theta):
    return math.log(theta[0]) - theta[0] * x[0]


def _first(x, out):
    out[0] = x[0]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("log_density", "sufficient_statistics", "named"),
    [
        (_exponential, _late_write_beyond, "sufficient_statistics"),
        (_exponential, _late_write_before, "sufficient_statistics"),
        (_exponential, _late_read_beyond, "sufficient_statistics"),
        (_late_density, _first, "log_density"),
    ],
)
@pytest.mark.parametrize("num_threads", [1, 2])
def test_functions_that_go_beyond_the_ends_at_a_later_row(
    log_density, sufficient_statistics, named, compiled, num_threads
):
    given = log_density, sufficient_statistics
    family = vbfast.families.Custom(
        *(map(numba.njit, given) if compiled else given),
        lambda statistics, weight: weight[:, np.newaxis] / statistics,
        n_statistics=1,
    )
    X = np.linspace(0.5, 40, 5000)[:, np.newaxis]
    X[4321] = 51
    mixture = vbfast.Mixture(family, 2, random_state=0)
    with (
        vbfast.config_context(num_threads=num_threads),
        pytest.raises(ValueError, match=rf"family's {named} \(.*\) has an index beyond the ends"),
    ):
        mixture.fit(X)
    assert not hasattr(mixture, "weights_")


@pytest.mark.parametrize("drawn", [np.full((3, 2), np.nan), [["a", "b"]] * 3, None])
def test_draws_that_are_no_numbers(drawn):
    family = vbfast.families.Custom(
        lambda x, theta: -abs(x[0] - theta[0]),
        _first,
        lambda statistics, weight: statistics / weight[:, np.newaxis],
        n_statistics=1,
        sample=lambda theta, n_samples, random_state: drawn,
    )
    X = np.arange(20.0).reshape(10, 2)
    mixture = vbfast.Mixture(family, 1, max_iter=1, tol=1e9, random_state=0).fit(X)
    with pytest.raises((TypeError, ValueError), match=r"sample must return|what sample returned"):
        mixture.sample(3)
