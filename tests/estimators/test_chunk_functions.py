"""Mixtures of rows that come in chunks, from a function that returns a new iterator of them."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.contract import COVARIANCE_TYPES
from vbfast.passes import groups

MIXTURES = [vbfast.GaussianMixture, vbfast.BayesianGaussianMixture]
SPLIT = [17, 150, 190, 333, 500]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Chunks of 600 rows are four groups."""
    monkeypatch.setattr(groups, "GROUP_ROWS", 120)


@pytest.fixture
def chunks(clustered):
    """A generator function."""

    def made():
        yield from np.split(clustered, SPLIT)

    return made


def assert_close(one, other):
    np.testing.assert_allclose(one.lower_bounds_, other.lower_bounds_, rtol=1e-10)
    for name in ("weights_", "means_", "covariances_"):
        of_one, of_other = getattr(one, name), getattr(other, name)
        scale = np.abs(of_other).max()
        np.testing.assert_allclose(of_one, of_other, rtol=0.0, atol=1e-10 * scale)


def assert_equal_to_the_bit(one, other):
    assert one.lower_bounds_ == other.lower_bounds_
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_ends_where_that_of_one_array_does(
    clustered, chunks, mixture, covariance_type, weighted
):
    labels = np.arange(600) % 4
    weight = 0.5 + np.arange(600) % 3 if weighted else None
    given = mixture(
        4,
        covariance_type=covariance_type,
        init_params=labels,
        tol=0.0,
        max_iter=15,
        accelerate=None,
    )
    by_chunks = given.fit(chunks, sample_weight=weight)
    whole = mixture(**given.get_params()).fit(clustered, sample_weight=weight)
    assert by_chunks.n_iter_ == 15
    assert_close(by_chunks, whole)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("init_size", [None, "all", 100])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_starts_are_those_of_one_array(clustered, chunks, mixture, init_params, init_size):
    start = mixture(3, init_params=init_params, init_size=init_size, random_state=1)
    by_chunks = start.initialize(chunks)
    whole = mixture(**start.get_params()).initialize(clustered)
    assert_close(by_chunks, whole)


def test_a_sample_of_many_rows(monkeypatch):
    monkeypatch.setattr(groups, "GROUP_ROWS", 5000)
    rows = np.random.default_rng(0).normal(size=(30_000, 2)) + [[4.0, 0.0]] * np.array(
        [[1], [0]] * 15_000
    )
    laps = []

    def chunks():
        laps.append(None)
        return iter(np.split(rows, 10))

    by_chunks = vbfast.GaussianMixture(2, random_state=0).initialize(chunks)
    # Counting, the sample, k-means and its statistics.
    assert len(laps) == 1 + 1 + 2 + 1
    assert_close(by_chunks, vbfast.GaussianMixture(2, random_state=0).initialize(rows))


def test_bits_depend_on_groups_only(clustered, chunks):
    def fit(function, **settings):
        with vbfast.config_context(**settings):
            return vbfast.GaussianMixture(4, random_state=0, tol=0.0, max_iter=10).fit(function)

    one = fit(chunks, num_threads=1)
    assert_equal_to_the_bit(one, fit(chunks, num_threads=3))
    # The first two groups are of more than one chunk.
    assert_equal_to_the_bit(one, fit(lambda: iter(np.split(clustered, [150, 180, 333, 500]))))
    other = fit(lambda: iter(np.split(clustered, [149, 333, 500])))
    assert other.lower_bounds_ != one.lower_bounds_


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "score_samples", "log_joint"]
)
def test_what_is_said_of_each_row(clustered, chunks, method):
    mixture = vbfast.GaussianMixture(4, random_state=0).fit(clustered)
    np.testing.assert_array_equal(
        getattr(mixture, method)(chunks), getattr(mixture, method)(clustered)
    )


def test_out(clustered, chunks):
    mixture = vbfast.GaussianMixture(4, random_state=0).fit(clustered)
    out = np.empty(600, np.int64)
    assert mixture.predict(chunks, out=out) is out
    np.testing.assert_array_equal(out, mixture.predict(clustered))


@pytest.mark.parametrize("mixture", MIXTURES)
def test_what_is_said_of_all_rows(clustered, chunks, mixture):
    fitted = mixture(4, random_state=0).fit(clustered)
    weight = 0.5 + np.arange(600) % 3
    asked = [
        lambda X: fitted.score(X, sample_weight=weight),
        lambda X: fitted.elbo(X, sample_weight=weight).elbo,
        lambda X: fitted.elbo(X, resp=np.full((600, 4), 0.25)).kl,
        lambda X: fitted.summarize(X, weight).log_evidence,
    ]
    if mixture is vbfast.GaussianMixture:
        asked += [
            lambda X: fitted.bic(X, weight),
            lambda X: fitted.log_evidence_and_grad(X, weight, wrt_x=True)[1].X,
            lambda X: fitted.log_evidence_and_grad(X, weight)[1].means,
        ]
    else:
        asked += [
            lambda X: fitted.elbo_and_grad(X, weight)[0].total,
            fitted.log_predictive_density,
            lambda X: fitted.log_marginal_likelihood(X, 30, random_state=0).value,
        ]
    for ask in asked:
        np.testing.assert_allclose(ask(chunks), ask(clustered), rtol=1e-9, atol=1e-9)


def test_float32(clustered):
    single = clustered.astype(np.float32)
    fits = [
        vbfast.BayesianGaussianMixture(3, random_state=0, max_iter=10).fit(X)
        for X in (lambda: iter(np.split(single, SPLIT)), single)
    ]
    assert fits[0].means_.dtype == np.float32
    np.testing.assert_allclose(fits[0].covariance_prior_, fits[1].covariance_prior_, rtol=1e-12)
    np.testing.assert_allclose(fits[0].lower_bounds_, fits[1].lower_bounds_, rtol=1e-5)


def test_other_components(clustered, chunks):
    mixture = vbfast.Mixture(vbfast.families.Gaussian("diag"), 3, random_state=0).fit(chunks)
    plain = vbfast.GaussianMixture(3, covariance_type="diag", random_state=0).fit(chunks)
    assert_equal_to_the_bit(mixture, plain)


def test_a_batch(clustered, chunks):
    learners = [
        vbfast.GaussianMixture(3, random_state=0).partial_fit(X) for X in (chunks, clustered)
    ]
    assert_close(*learners)


def test_selection(clustered, chunks):
    by_chunks, whole = (
        vbfast.select(X, n_components=[1, 2], random_state=0, verbose=0)
        for X in (chunks, clustered)
    )
    assert by_chunks.best_.n_components == whole.best_.n_components


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("init_params", ["kmeans", "random", "random_from_data"])
def test_rows_that_are_not_finite_are_named(clustered, mixture, init_params):
    bad = [chunk.copy() for chunk in np.split(clustered, 20)]
    bad[17][3, 1] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN[\s\S]*chunk 17 row 3\.$"):
        mixture(2, init_params=init_params, random_state=0).fit(lambda: iter(bad))


def test_a_row_that_is_too_far_out_is_named(clustered):
    bad = [chunk.copy() for chunk in np.split(clustered, 20)]
    bad[17][3, 1] = 1e200
    with pytest.raises(ValueError, match="row 513 is so far"):
        vbfast.GaussianMixture(2, random_state=0).fit(lambda: iter(bad))


@pytest.mark.parametrize(
    ("weight", "message"),
    [(np.ones(599), r"expected \(600,\)"), (np.arange(600.0) - 3.0, "row 0 has -3.0")],
)
def test_wrong_weights(chunks, weight, message):
    with pytest.raises(ValueError, match=message):
        vbfast.GaussianMixture(2).fit(chunks, sample_weight=weight)


def test_too_few_rows(clustered):
    with pytest.raises(ValueError, match="n_components = 3, n_samples = 2"):
        vbfast.GaussianMixture(3).fit(lambda: [clustered[:1], clustered[1:2]])


def test_a_failed_fit_leaves_the_estimator_as_it_was(clustered, chunks):
    mixture = vbfast.GaussianMixture(2, random_state=0).fit(chunks)
    before = dict(vars(mixture))
    iterator = chunks()
    with pytest.raises(ValueError, match="new iterator"):
        mixture.fit(lambda: iterator)
    assert vars(mixture) == before
