"""Starts that look for their centres in a sample of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._testing import ignore_warnings

import vbfast
from vbfast.contract import NonFiniteRowError
from vbfast.inference.kmeans import kmeans, seed_rows
from vbfast.inference.subsample import subsample
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner


def runner_over(X, weights=None):
    return LocalRunner(as_row_source(X), weights)


def drawn(X, size, weights=None, *, n_components=2, seed=0):
    return subsample(runner_over(X, weights), n_components, size, np.random.RandomState(seed))


@pytest.fixture(name="X")
def rows():
    return np.random.default_rng(0).normal(size=(1000, 3))


def test_one_row_of_each_part(X):
    sample, rows = drawn(X, 100)
    np.testing.assert_array_equal(rows // 10, np.arange(100))
    np.testing.assert_array_equal(sample.source.block(0, 100), X[rows])
    assert sample.sample_weight is None


def test_rows_are_drawn_as_often_as_they_weigh(X):
    weights = np.random.default_rng(1).gamma(0.5, size=len(X))
    counts = np.zeros(len(X))
    for seed in range(400):
        _, rows = drawn(X, 100, weights, seed=seed)
        np.add.at(counts, rows, 1)
    expected = 400 * 100 * weights / weights.sum()
    # Each part's draw is a Bernoulli trial for the rows in it, so the variance is at most this.
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected) + 3)


def test_rows_of_no_weight_are_not_drawn(X):
    weights = np.random.default_rng(1).integers(0, 2, size=len(X)).astype(float)
    weights[-300:] = 0.0
    for seed in range(20):
        _, rows = drawn(X, 50, weights, seed=seed)
        assert np.all(weights[rows] > 0.0)


def test_integer_weights_are_repeated_rows(X):
    weights = np.random.default_rng(1).integers(0, 4, size=len(X))
    weighted, _ = drawn(X, 200, weights.astype(float))
    repeated, _ = drawn(np.repeat(X, weights, axis=0), 200)
    np.testing.assert_array_equal(weighted.source.block(0, 200), repeated.source.block(0, 200))


@pytest.mark.parametrize("scale", [2.0**-60, 0.125, 2.0**60])
def test_scale_of_the_weights_does_not_matter(X, scale):
    weights = np.random.default_rng(1).gamma(2.0, size=len(X))
    _, rows = drawn(X, 100, weights)
    _, others = drawn(X, 100, scale * weights)
    np.testing.assert_array_equal(rows, others)


@pytest.mark.parametrize("size", ["all", 1000, 1001, 2000, None])
def test_all_rows_where_they_are_no_more(X, size):
    assert drawn(X, size) is None


def test_integer_weights_count_as_rows(X):
    assert drawn(X, 1500, np.full(len(X), 2.0)) is not None
    assert drawn(X, 1500, np.full(len(X), 0.5)) is None


@pytest.mark.parametrize("exponent", [-300, 4, 300])
def test_no_scale_of_weights_that_are_not_whole_makes_rows_many(X, exponent):
    weights = np.random.default_rng(1).uniform(0.5, 1.5, size=len(X))
    assert drawn(X, None, np.ldexp(weights, exponent)) is None
    assert drawn(X, len(X) + 1, np.ldexp(weights, exponent)) is None


def test_all_rows_where_few_have_the_weight(X):
    weights = np.ones(len(X))
    weights[17] = 1e9
    assert drawn(X, 100, weights) is None


@pytest.mark.parametrize(("K", "D", "n_rows"), [(2, 1, 8192), (50, 1, 12_800), (20, 200, 16_000)])
def test_default_size(K, D, n_rows):
    sample, _ = drawn(np.zeros((2 * n_rows, D)), None, n_components=K)
    assert sample.n_samples == n_rows
    assert drawn(np.zeros((2 * n_rows - 1, D)), None, n_components=K) is None


def test_size_below_the_number_of_components(X):
    with pytest.raises(ValueError, match="init_size must be at least n_components=3; got 2"):
        vbfast.GaussianMixture(3, init_size=2).fit(X)


@pytest.mark.parametrize("init_size", [0, "some", 1.5])
def test_size_that_is_none(X, init_size):
    with pytest.raises(ValueError, match="'init_size' parameter of GaussianMixture must be"):
        vbfast.GaussianMixture(3, init_size=init_size).fit(X)


@pytest.mark.parametrize("start", [kmeans, seed_rows])
@pytest.mark.parametrize("bad", [[5], [5, 500], range(1000)])
def test_first_row_that_is_not_finite_is_named(X, start, bad):
    X[bad] = np.nan
    with pytest.raises(NonFiniteRowError) as raised:
        start(runner_over(X), 3, np.random.RandomState(0), init_size=999)
    assert raised.value.row == min(bad)


class Sliced:
    """An array that is read slice by slice."""

    def __init__(self, rows):
        self.rows, self.shape, self.dtype = rows, rows.shape, rows.dtype

    def __getitem__(self, rows):
        return self.rows[rows]


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++"])
def test_same_bits_from_slices_and_for_any_number_of_threads(dtype, init_params):
    X = np.random.default_rng(0).normal(size=(30_000, 4)).astype(dtype)
    X[::3] += 6.0
    arguments = {"init_params": init_params, "random_state": 0, "max_iter": 3, "tol": 0.0}

    @ignore_warnings(category=ConvergenceWarning)
    def fit(rows, threads):
        with vbfast.config_context(num_threads=threads):
            return vbfast.GaussianMixture(5, init_size=2000, **arguments).fit(rows)

    expected = fit(X, 1)
    for rows, threads in [(X, 2), (Sliced(X), 2), (np.asfortranarray(X), 1)]:
        other = fit(rows, threads)
        np.testing.assert_array_equal(other.means_, expected.means_)
        np.testing.assert_array_equal(other.covariances_, expected.covariances_)


def test_clusters_of_all_rows():
    rng = np.random.default_rng(0)
    centres = 20.0 * rng.normal(size=(12, 5))
    X = centres[rng.integers(12, size=40_000)] + rng.normal(size=(40_000, 5))
    found = kmeans(runner_over(X), 12, np.random.RandomState(0), init_size=600)
    order = np.argsort(found[:, 0])
    np.testing.assert_allclose(found[order], centres[np.argsort(centres[:, 0])], atol=0.1)


def test_seeds_are_rows_of_the_sample(X):
    _, rows = drawn(X, 100)
    seeds = seed_rows(runner_over(X), 8, np.random.RandomState(0), init_size=100)
    assert set(seeds) <= set(rows)
    assert len(set(seeds)) == 8


def test_a_small_group_that_the_sample_missed_is_no_error(X):
    X[7] = 1e6
    mixture = vbfast.GaussianMixture(2, init_size=20, random_state=0).fit(X)
    assert np.isfinite(mixture.score(X))
