"""The cases: their floor against figures worked out by hand, and their data."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.benchmark.cases import CASES, Case
from vbfast.estimators import GaussianMixture

# Seconds at 104 GFLOP/s in float64, on two threads.
FLOORS = {
    "full_2d": 0.008,
    "full_16": 0.079,
    "full_64": 0.132,
    "diag_32": 0.071,
    "diag_bigK": 0.267,
    "tied_32": 0.041,
    "sph_bigK": 0.092,
    "full_256": 0.255,
}


@pytest.mark.parametrize("name", list(CASES))
def test_floors(name):
    case = CASES[name]
    assert case.floor(104e9, np.float64) == pytest.approx(FLOORS[name], abs=6e-4)
    # Twice the operations a second and twice the threads: half the time.
    assert case.floor(208e9, "f8", 4) == pytest.approx(case.floor(104e9, "f8") / 2)
    assert case.smaller(4).floor(104e9, "f8") == pytest.approx(case.floor(104e9, "f8") / 4)


def test_where_reading_takes_longer():
    case = Case("", 1_000_000, 2, 2, "diag")
    assert case.floor(1e12, "f4", 2, 1e9) == pytest.approx(8e-3)
    assert case.floor(1e12, "f8", 2, 1e9) == pytest.approx(16e-3)
    assert case.floor(1e9, "f8", 2, 1e12) == case.floor(1e9, "f8", 2)


def test_fewer_rows_are_enough_for_every_covariance():
    assert CASES["full_16"].fewer_rows(8).n_samples == 25_000
    assert CASES["full_256"].fewer_rows(8).n_samples == 4 * 256 * 10
    assert CASES["sph_bigK"].fewer_rows(1000).n_samples == 32 * 1000
    assert CASES["full_2d"].fewer_rows(1) == CASES["full_2d"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_and_start_fit_each_other(dtype):
    for case in CASES.values():
        small = case.smaller(1000)
        rows = small.rows(dtype)
        assert rows.shape == (max(case.n_samples // 1000, 2 * case.n_components), case.n_features)
        assert rows.dtype == dtype
        np.testing.assert_array_equal(rows, small.rows(dtype))
        mixture = GaussianMixture(**small.start(), max_iter=1)
        with pytest.warns(match="converge"):
            mixture.fit(rows)


def test_components_can_be_separated():
    case = CASES["diag_32"].smaller(20)
    dense, separated = case.rows("float64"), case.rows("float64", spread=10.0)
    assert separated.std() > 5 * dense.std()
    means = case.start(spread=10.0)["means_init"]
    # The separated start is the truth: every row lies near a mean.
    squares = ((separated[:50, np.newaxis] - means) ** 2).sum(axis=2).min(axis=1)
    assert squares.max() < 3 * case.n_features
