"""Passes of k-means++ seeding."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.config.settings import config_context
from vbfast.contract import NonFiniteRowError
from vbfast.passes import one_pass
from vbfast.passes.one_pass import run_seeding
from vbfast.passes.rows import SlicedRows, as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("backend")]

DTYPES = (np.float64, np.float32)


def squared_distances(X, candidates):
    return np.square(X.astype(float)[:, np.newaxis] - candidates).sum(axis=2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_samples", [1, 63, 1000, 3001])
@pytest.mark.parametrize("n_features", [1, 3, 16, 65])
@pytest.mark.parametrize("n_candidates", [1, 2, 5, 9])
def test_potentials(rng, dtype, n_samples, n_features, n_candidates):
    X = rng.normal(size=(n_samples, n_features)).astype(dtype)
    candidates = rng.normal(size=(n_candidates, n_features)).astype(dtype).astype(float)
    closest = rng.uniform(0, 2 * n_features, n_samples).astype(dtype)
    before = closest.copy()
    weights = np.where(rng.random(n_samples) < 0.3, 0.0, rng.uniform(0, 3, n_samples))
    potentials = run_seeding(as_row_source(X), candidates, closest, sample_weight=weights)
    lowered = np.minimum(closest[:, np.newaxis], squared_distances(X, candidates))
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(potentials, weights @ lowered, rtol=rtol)
    np.testing.assert_array_equal(closest, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lowered_distances(rng, dtype):
    X = rng.normal(size=(2000, 7)).astype(dtype)
    closest = np.full(2000, np.inf, dtype=dtype)
    expected = np.full(2000, np.inf)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    for row in (5, 1200, 77):
        centres = X[[row, 3]].astype(float)
        lowered = np.empty((2, 2000), dtype=dtype)
        potential = run_seeding(as_row_source(X), centres, closest, lowered=lowered)[:1]
        other = np.minimum(expected, squared_distances(X, centres)[:, 1])
        np.testing.assert_allclose(lowered[1], other, rtol=rtol)
        closest = lowered[0].copy()
        expected = np.minimum(expected, squared_distances(X, centres)[:, 0])
        np.testing.assert_allclose(closest, expected, rtol=rtol)
        np.testing.assert_allclose(potential, [expected.sum()], rtol=rtol)
        assert closest[row] == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stored", [np.asfortranarray, SlicedRows])
def test_the_same_bits(rng, monkeypatch, dtype, stored):
    X = rng.normal(size=(5000, 9)).astype(dtype)
    candidates = rng.normal(size=(6, 9))

    def seed(rows):
        closest = np.full(len(X), np.inf, dtype=dtype)
        lowered = np.empty((len(candidates), len(X)), dtype=dtype)
        source = as_row_source(rows)
        first = run_seeding(source, candidates[:1], closest, lowered=lowered[:1])
        before = lowered[0].copy()
        return first, run_seeding(source, candidates, before, lowered=lowered), lowered

    expected = seed(X)
    monkeypatch.setattr(one_pass, "ROUND_BYTES", 1 << 15)
    for num_threads in (1, 2, 5):
        with config_context(num_threads=num_threads):
            for actual, value in zip(seed(stored(X)), expected, strict=True):
                np.testing.assert_array_equal(actual, value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 64, 1999])
def test_a_bad_row_is_named(rng, bad, row):
    X = rng.normal(size=(2000, 3))
    X[[row, 1999], 1] = bad
    with pytest.raises(NonFiniteRowError) as caught:
        run_seeding(as_row_source(X), np.zeros((2, 3)), np.full(2000, np.inf))
    assert caught.value.row == row


@pytest.mark.parametrize(("dtype", "distance"), [(np.float32, 1e8), (np.float64, 1e14)])
def test_candidates_that_are_far_from_each_other(rng, dtype, distance):
    """Each has the digits of its own distances."""
    candidates = distance * np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 2.0], [-1.0, 1.0]])
    candidates += rng.normal(size=candidates.shape)
    candidates = candidates.astype(dtype).astype(float)  # as rows are
    X = (candidates[rng.integers(4, size=500)] + rng.normal(size=(500, 2))).astype(dtype)
    closest = np.full(500, np.inf, dtype)
    lowered = np.empty((4, 500), dtype)
    potentials = run_seeding(as_row_source(X), candidates, closest, lowered=lowered)
    expected = squared_distances(X, candidates).T
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(lowered, expected, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(potentials, expected.sum(axis=1), rtol=rtol)
