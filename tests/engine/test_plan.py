"""The blocking: what it may depend on, and its limits.

The numbers here are those that are promised (reproducible to the bit): 64 MB of partial
statistics, tiles of a few hundred rows, vectors of 64 bytes.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbfast.engine.contract import COVARIANCE_TYPES
from vbfast.engine.plan import make_plan

sizes = st.integers(1, 3_000_000), st.integers(1, 300), st.integers(1, 50_000)
dtypes = st.sampled_from(["float32", "float64"])
kinds = st.sampled_from(COVARIANCE_TYPES)


def fewest_numbers(n_components, n_features, kind):
    """Numbers in one partial statistic if no entry is kept twice: weights, first, second."""
    triangle = n_features * (n_features + 1) // 2
    second = {
        "full": n_components * triangle,
        "tied": triangle,
        "diag": n_components * n_features,
        "spherical": n_components,
    }[kind]
    return n_components * (1 + n_features) + second


@given(*sizes, dtypes, kinds)
def test_partitions_cover_the_rows(n_samples, n_features, n_components, dtype, kind):
    plan = make_plan(n_samples, n_features, n_components, dtype, kind)
    assert plan.bounds[0] == 0
    assert plan.bounds[-1] == n_samples
    assert np.all(np.diff(plan.bounds) > 0)
    assert plan.n_partitions == len(plan.bounds) - 1
    assert all(bound % plan.tile_rows == 0 for bound in plan.bounds[:-1])


@given(*sizes, dtypes, kinds)
def test_partitions_are_as_long_as_each_other(n_samples, n_features, n_components, dtype, kind):
    """To a tile: a thread that has the longest one does not keep the others waiting."""
    plan = make_plan(n_samples, n_features, n_components, dtype, kind)
    tiles = -(-np.diff(plan.bounds) // plan.tile_rows)
    assert tiles.max() - tiles.min() <= 1


@given(*sizes, dtypes, kinds)
def test_tiles_are_whole_vectors_and_short(n_samples, n_features, n_components, dtype, kind):
    """In float32 a tile's sums are float32: longer ones would lose digits."""
    plan = make_plan(n_samples, n_features, n_components, dtype, kind)
    assert plan.tile_rows * plan.dtype.itemsize % 64 == 0
    assert plan.tile_rows <= 512


@given(*sizes, dtypes, kinds)
def test_partial_statistics_stay_small(n_samples, n_features, n_components, dtype, kind):
    plan = make_plan(n_samples, n_features, n_components, dtype, kind)
    if plan.n_partitions > 1:
        numbers = plan.n_partitions * fewest_numbers(n_components, n_features, kind)
        assert 8 * numbers <= 64 << 20
    if plan.split_components:
        assert plan.n_partitions == 1


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_models_of_ordinary_size_keep_many_threads_busy(kind):
    plan = make_plan(1_000_000, 16, 64, "float64", kind)
    assert not plan.split_components
    assert plan.n_partitions >= 16


def test_models_whose_statistics_are_large_share_them():
    assert make_plan(1_000_000, 256, 1000, "float64", "full").split_components


def test_small_data_is_one_thread_s():
    assert make_plan(100, 8, 16, "float64", "full").n_partitions == 1


@given(*sizes, dtypes)
def test_without_statistics_nothing_is_shared(n_samples, n_features, n_components, dtype):
    assert not make_plan(n_samples, n_features, n_components, dtype, None).split_components
