"""Seeding and Lloyd's iterations against scikit-learn's and against themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from vbfast.config.settings import config_context
from vbfast.contract import NonFiniteRowError
from vbfast.inference import kmeans as module
from vbfast.inference.kmeans import draw_rows, kmeans, lloyd, seed_rows
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner


def runner_over(X, sample_weight=None):
    return LocalRunner(as_row_source(X), sample_weight)


def clustered(rng, n_samples=3000, n_features=4, n_clusters=6, dtype=np.float64):
    centres = rng.normal(scale=5, size=(n_clusters, n_features))
    labels = rng.integers(n_clusters, size=n_samples)
    return (centres[labels] + rng.normal(size=(n_samples, n_features))).astype(dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 1e-4)])
def test_lloyd_from_scikit_learn_s_start(rng, dtype, rtol, weighted):
    X = clustered(rng, dtype=dtype)
    weights = rng.integers(0, 3, len(X)).astype(float) if weighted else None
    start = X[:6].astype(float)
    ours = lloyd(runner_over(X, weights), start, tolerance=0.0)
    peer = KMeans(6, init=start.astype(dtype), n_init=1, tol=0.0, max_iter=300)
    peer.fit(X, sample_weight=weights)
    np.testing.assert_allclose(ours, peer.cluster_centers_, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_far_from_the_origin(rng, dtype, offset):
    X = (clustered(rng) + offset).astype(dtype)
    centres = lloyd(runner_over(X), X[:6].astype(float), tolerance=0.0)
    distances = np.square(X[:, np.newaxis].astype(float) - centres).sum(axis=2)
    labels = distances.argmin(axis=1)
    means = [X[labels == k].astype(float).mean(axis=0) for k in range(6)]
    np.testing.assert_allclose(centres - offset, np.array(means) - offset, atol=1e-3)


def test_a_stray_centre_does_not_blur_the_others(rng):
    X = np.concatenate([clustered(rng, dtype=np.float32), np.full((1, 4), 1e6, np.float32)])
    start = np.concatenate([X[:6], X[-1:]]).astype(float)
    alone = lloyd(runner_over(X[:-1]), start[:-1], tolerance=0.0)
    beside = lloyd(runner_over(X), start, tolerance=0.0)
    np.testing.assert_allclose(beside[:-1], alone, atol=1e-3)
    np.testing.assert_allclose(beside[-1], 1e6, rtol=1e-6)


def test_an_empty_cluster_takes_the_farthest_row():
    X = np.array([[0.0], [1.0], [2.0], [50.0]])
    centres = lloyd(runner_over(X), np.array([[0.0], [1.0], [1e6]]), tolerance=0.0)
    np.testing.assert_allclose(np.sort(centres[:, 0]), [0.5, 2.0, 50.0])


def test_an_empty_cluster_takes_no_row_of_zero_weight():
    X = np.array([[0.0], [1.0], [2.0], [50.0], [99.0]])
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    start = np.array([[0.0], [1.0], [1e6]])
    centres = lloyd(runner_over(X, weights), start, tolerance=0.0)
    np.testing.assert_allclose(np.sort(centres[:, 0]), [0.5, 2.0, 50.0])


def test_duplicates_leave_centres_where_they_are():
    X = np.ones((10, 2))
    centres = lloyd(runner_over(X), np.array([[1.0, 1.0], [3.0, 3.0]]), tolerance=0.0)
    np.testing.assert_array_equal(centres, [[1.0, 1.0], [3.0, 3.0]])


@pytest.mark.parametrize("kept_bytes", [0, 1 << 30])
def test_keeping_distances_does_not_change_the_seeds(rng, monkeypatch, kept_bytes):
    X = clustered(rng)
    expected = seed_rows(runner_over(X), 20, np.random.RandomState(3))
    monkeypatch.setattr(module, "KEPT_BYTES", kept_bytes)
    np.testing.assert_array_equal(seed_rows(runner_over(X), 20, np.random.RandomState(3)), expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_seeds_are_distinct_and_spread(rng, dtype):
    X = clustered(rng, n_clusters=6, dtype=dtype)
    rows = seed_rows(runner_over(X), 6, np.random.RandomState(0))
    assert len(set(rows.tolist())) == 6
    seeded = np.square(X[:, np.newaxis] - X[rows]).sum(axis=2).min(axis=1).mean()
    drawn = np.mean(
        [
            np.square(X[:, np.newaxis] - X[rng.choice(len(X), 6)]).sum(axis=2).min(axis=1).mean()
            for _ in range(20)
        ]
    )
    assert seeded < drawn


def test_duplicates_give_distinct_rows():
    rows = seed_rows(runner_over(np.ones((5, 2))), 5, np.random.RandomState(0))
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]


def test_rows_of_zero_weight_are_never_seeds(rng):
    X = clustered(rng, n_samples=200)
    weights = np.zeros(200)
    weights[[3, 50, 120]] = 1.0
    rows = seed_rows(runner_over(X, weights), 3, np.random.RandomState(0))
    assert sorted(rows.tolist()) == [3, 50, 120]
    with pytest.raises(
        ValueError, match="4 components need as many rows of positive weight; got 3"
    ):
        seed_rows(runner_over(X, weights), 4, np.random.RandomState(0))


def test_integer_weights_are_repeated_rows(rng):
    X = clustered(rng, n_samples=400)
    weights = rng.integers(0, 4, 400)
    once = kmeans(runner_over(X, weights.astype(float)), 5, np.random.RandomState(1))
    repeated = kmeans(runner_over(np.repeat(X, weights, axis=0)), 5, np.random.RandomState(1))
    np.testing.assert_allclose(once, repeated, rtol=1e-9)


def test_a_bad_row_is_named(rng):
    X = clustered(rng)
    X[1234, 2] = np.nan
    with pytest.raises(NonFiniteRowError) as caught:
        kmeans(runner_over(X), 4, np.random.RandomState(0))
    assert caught.value.row == 1234


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=50).filter(any),
    st.integers(1, 1500),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8),
)
def test_draws_invert_the_cumulative_mass(masses, repeats, quantiles):
    mass = np.tile(np.array(masses, dtype=float), repeats)
    rows = draw_rows(mass, np.array(quantiles))
    cumulative = np.cumsum(mass)
    targets = np.array(quantiles) * cumulative[-1]
    assert np.all(mass[rows] > 0)
    slack = 1e-9 * cumulative[-1]
    assert np.all(cumulative[rows] >= targets - slack)
    assert np.all(cumulative[rows] - mass[rows] <= targets + slack)


@pytest.fixture(params=["native", "numba", "reference"])
def backend(request):
    if request.param == "numba":
        pytest.importorskip("numba")
    with config_context(backend=request.param):
        yield request.param


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_clusters", [3, 12])
def test_the_start_does_not_depend_on_origin_sign_or_scale(rng, dtype, n_clusters):
    """Rows on a grid, so that nothing is rounded when they are moved."""
    X = np.round(clustered(rng, n_samples=800) * 64).astype(dtype) / dtype(64)
    power = {np.float64: 400, np.float32: 40}[dtype]
    shift = {np.float64: 2.0**30, np.float32: 2.0**14}[dtype]
    seeds = seed_rows(runner_over(X), n_clusters, np.random.RandomState(2))
    centres = kmeans(runner_over(X), n_clusters, np.random.RandomState(2))
    for factor, offset in ((1.0, shift), (-1.0, 0.0), (2.0**power, 0.0), (2.0**-power, 0.0)):
        moved = runner_over(X * dtype(factor) + dtype(offset))
        np.testing.assert_array_equal(seed_rows(moved, n_clusters, np.random.RandomState(2)), seeds)
        other = kmeans(moved, n_clusters, np.random.RandomState(2))
        tolerance = 1e-9 if dtype == np.float64 else 1e-5
        np.testing.assert_allclose((other - offset) / factor, centres, rtol=tolerance, atol=1e-5)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("sign", [1, -1])
def test_clusters_in_float32_far_from_most_others(rng, sign):
    """Two that are 8 apart, and three whose distance is beyond what float32 has beside that."""
    places = np.array([0.0, 8.0, 1e8, 2e8, -3e8])
    X = (places[rng.integers(5, size=1000)] + rng.normal(size=1000))[:, np.newaxis]
    X = sign * X.astype(np.float32)
    centres = sign * kmeans(runner_over(X), 5, np.random.RandomState(0))[:, 0]
    centres = centres[np.argsort(np.abs(centres))]
    signed = X[np.abs(X) < 1e3].astype(float) * sign
    means = [signed[signed < 4].mean(), signed[signed > 4].mean()]
    np.testing.assert_allclose(centres[:2], means, atol=1e-3)
    np.testing.assert_allclose(centres[2:], [1e8, 2e8, -3e8], rtol=1e-6)


def test_weights_of_any_scale_draw_the_same_seeds(rng):
    X = clustered(rng, n_samples=300)
    weights = rng.uniform(0.5, 1.5, 300)
    expected = seed_rows(runner_over(X, weights), 5, np.random.RandomState(0))
    for exponent in (-1000, 1000):
        scaled = np.ldexp(weights, exponent)
        rows = seed_rows(runner_over(X, scaled), 5, np.random.RandomState(0))
        np.testing.assert_array_equal(rows, expected)
