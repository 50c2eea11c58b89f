"""Passes of k-means by bounds: what they find is what plain passes find, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.config.settings import config_context
from vbfast.contract import NonFiniteRowError, Request, RowOutputs
from vbfast.inference.kmeans import lloyd
from vbfast.passes import one_pass
from vbfast.passes.distances import squared_distances
from vbfast.passes.rows import SlicedRows, as_row_source
from vbfast.passes.runner import LocalRunner

pytestmark = pytest.mark.kernels

DTYPES = (np.float64, np.float32)
# Rows, features and clusters, by bounds but for the last three: one group of blocks and several,
# whole and broken blocks.
SHAPES = (
    (2500, 260, 33),
    (9000, 64, 128),
    (13000, 40, 200),
    (4400, 120, 67),
    (2400, 70, 35),
    (3000, 2, 40),
    (700, 8, 4),
)


class PlainRunner(LocalRunner):
    """Passes that compute all distances."""

    def nearest_bounds(self):
        return None


def clustered(rng, n_samples, n_features, n_clusters, spread=8.0):
    centres = spread * rng.normal(size=(n_clusters, n_features))
    rows = rng.normal(size=(n_samples, n_features))
    return centres[rng.integers(n_clusters, size=n_samples)] + rows


def with_outliers(X):
    X[::97] *= 1e6
    X[5] = 1e30
    return X


KINDS = {
    "clustered": lambda rng, *shape: clustered(rng, *shape),
    "unclustered": lambda rng, *shape: clustered(rng, *shape, spread=0.0),
    "tight": lambda rng, *shape: 1e-3 * clustered(rng, *shape, spread=1e5),
    "moved": lambda rng, *shape: clustered(rng, *shape) + 1e4,
    "integers": lambda rng, *shape: np.round(clustered(rng, *shape, spread=2.0)),
    "duplicates": lambda rng, *shape: np.repeat(clustered(rng, *shape), 5, axis=0)[: shape[0]],
    "outliers": lambda rng, *shape: with_outliers(clustered(rng, *shape)),
    "small": lambda rng, *shape: 1e-13 * clustered(rng, *shape),
    "large": lambda rng, *shape: 1e13 * clustered(rng, *shape),
    "constant": lambda rng, n, d, k: np.ones((n, d)),
}


def found(runner, start, unit=None, moments="diag"):
    """Return the centres of some iterations, and what passes after them find."""
    bounds = runner.nearest_bounds()
    centres = lloyd(runner, start, tolerance=-1.0, unit=unit, max_iterations=8, bounds=bounds)
    labels = np.empty(runner.n_samples, np.int64)
    outputs, request = RowOutputs(labels=labels), Request("hard", moments)
    result = runner.run(squared_distances(centres), request, outputs=outputs, bounds=bounds)
    distances = np.empty(runner.n_samples, runner.dtype)
    outputs = RowOutputs(expected_log_joint=distances)
    runner.run(squared_distances(centres), Request("hard"), outputs=outputs, bounds=bounds)
    statistics = result.statistics
    arrays = (centres, labels, distances, statistics.weight, statistics.first, statistics.second)
    return (*arrays, np.array(result.total_weight))


def assert_same(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def start_of(rng, X, n_clusters):
    """Rows, one of them twice, so that one centre has no rows, and one point far from all."""
    start = X[rng.choice(len(X), n_clusters, replace=False)].astype(float)
    start[0] = start[1]
    start[3] += 1e3
    return start


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_bits_of_plain_passes(rng, kind, dtype, shape):
    X = KINDS[kind](rng, *shape).astype(dtype)
    start = start_of(rng, X, shape[2])
    weights = 0.7 * rng.integers(0, 3, len(X))
    for unit, weight in ((None, None), (30.0, None), (30.0, weights)):
        expected = found(PlainRunner(as_row_source(X), weight), start, unit)
        assert_same(found(LocalRunner(as_row_source(X), weight), start, unit), expected)


@pytest.mark.parametrize("moments", ["first", "spherical", "pooled", "full"])
def test_bits_of_all_moments(rng, moments):
    X = clustered(rng, 4400, 120, 65)
    start = start_of(rng, X, 65)
    expected = found(PlainRunner(as_row_source(X)), start, moments=moments)
    actual = found(LocalRunner(as_row_source(X)), start, moments=moments)
    assert_same([a for a in actual if a is not None], [e for e in expected if e is not None])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "stored", [np.asfortranarray, SlicedRows, lambda X: X[:, ::-1].copy()[:, ::-1]]
)
def test_the_same_bits_from_anywhere(rng, monkeypatch, dtype, stored):
    X = clustered(rng, 6000, 124, 64).astype(dtype)
    start = start_of(rng, X, 64)
    expected = found(PlainRunner(as_row_source(X)), start, 30.0)
    monkeypatch.setattr(one_pass, "ROUND_BYTES", 1 << 15)
    for num_threads in (1, 2, 5):
        with config_context(num_threads=num_threads):
            assert_same(found(LocalRunner(as_row_source(stored(X))), start, 30.0), expected)


def test_most_rows_are_left_alone(rng):
    X = clustered(rng, 20_000, 40, 200)
    runner = LocalRunner(as_row_source(X), backend="native")
    bounds = runner.nearest_bounds()
    centres = X[:: len(X) // 200][:200].copy()
    lloyd(runner, centres, tolerance=-1.0, unit=30.0, bounds=bounds)
    lloyd(runner, centres, tolerance=-1.0, unit=30.0, bounds=bounds)
    assert bounds.met < 0.5
    met = []
    for _ in range(5):
        result = runner.run(squared_distances(centres), Request("hard", "first"), bounds=bounds)
        assert np.isnan(result.expected_log_joint)
        met.append(bounds.met)
    assert met[-1] < 0.05


def test_bounds_of_other_centres(rng):
    """Any passes may come in between: of more centres, of others, without bounds."""
    X = clustered(rng, 5000, 124, 64)
    runner, plain = LocalRunner(as_row_source(X)), PlainRunner(as_row_source(X))
    bounds = runner.nearest_bounds()
    for n_clusters in (64, 64, 40, 40, 20, 64):
        centres = X[rng.choice(len(X), n_clusters, replace=False)]
        for unit in (None, 30.0):
            labels, expected = np.empty((2, len(X)), np.int64)
            distances, request = squared_distances(centres, unit), Request("hard")
            runner.run(distances, request, outputs=RowOutputs(labels=labels), bounds=bounds)
            plain.run(distances, request, outputs=RowOutputs(labels=expected))
            np.testing.assert_array_equal(labels, expected)


def test_a_bad_row_is_named_and_forgotten(rng):
    X = clustered(rng, 5000, 124, 64)
    runner = LocalRunner(as_row_source(X))
    bounds, centres = runner.nearest_bounds(), X[:64].copy()
    good = X[[1234, 3999]].copy()
    X[[1234, 3999], 2] = np.nan
    with pytest.raises(NonFiniteRowError) as caught:
        runner.run(squared_distances(centres), Request("hard", "first"), bounds=bounds)
    assert caught.value.row == 1234
    X[[1234, 3999]] = good
    expected = found(PlainRunner(as_row_source(X)), centres)
    assert_same(found(runner, centres), expected)


def test_bounds_of_other_rows_are_refused(rng):
    X = rng.normal(size=(100, 3))
    bounds = LocalRunner(as_row_source(X[:50]), backend="native").nearest_bounds()
    runner = LocalRunner(as_row_source(X), backend="native")
    with pytest.raises(ValueError, match="bounds are of 50 rows, the pass of 100"):
        runner.run(squared_distances(X[:40]), Request("hard"), bounds=bounds)
    with pytest.raises(ValueError, match="bounds do not go with assignment 'posterior'"):
        runner.run(squared_distances(X[:40]), Request(), bounds=bounds)


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_other_backends_have_none(rng, backend):
    if backend == "numba":
        pytest.importorskip("numba")
    runner = LocalRunner(as_row_source(rng.normal(size=(50, 2))), backend=backend)
    assert runner.nearest_bounds() is None


def test_centres_that_come_back_from_far_away(rng):
    """Bounds that were beyond any number hold for nothing once the centres are near again."""
    X = clustered(rng, 6000, 200, 40)
    runner, plain = LocalRunner(as_row_source(X)), LocalRunner(as_row_source(X))
    near = X[:40].astype(float)
    far = 1e40 * (1.0 + near)
    far[0] = 0.0
    bounds = runner.nearest_bounds()
    for centres in (near, near, far, far, near):
        labels, expected = np.empty(len(X), np.int64), np.empty(len(X), np.int64)
        distances = squared_distances(centres, 1.0)
        runner.run(distances, Request("hard"), outputs=RowOutputs(labels=labels), bounds=bounds)
        plain.run(distances, Request("hard"), outputs=RowOutputs(labels=expected))
        np.testing.assert_array_equal(labels, expected)
