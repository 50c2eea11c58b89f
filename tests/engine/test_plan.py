"""The blocking: what it may depend on, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbfast.engine import plan as planning
from vbfast.engine.contract import COVARIANCE_TYPES
from vbfast.engine.plan import make_plan, statistics_size

sizes = st.integers(1, 3_000_000), st.integers(1, 300), st.integers(1, 50_000)


@given(*sizes, st.sampled_from(["float32", "float64"]), st.sampled_from(COVARIANCE_TYPES))
def test_partitions_cover_the_rows(n_samples, n_features, n_components, dtype, statistics):
    plan = make_plan(n_samples, n_features, n_components, dtype, statistics)
    assert plan.bounds[0] == 0
    assert plan.bounds[-1] == n_samples
    assert np.all(np.diff(plan.bounds) > 0)
    assert all(bound % plan.tile_rows == 0 for bound in plan.bounds[:-1])
    assert 1 <= plan.n_partitions <= planning.MAX_PARTITIONS
    assert plan.tile_rows * plan.dtype.itemsize % planning.TILE_LANE_BYTES == 0
    assert plan.tile_rows <= planning.MAX_TILE_ROWS


@given(*sizes, st.sampled_from(COVARIANCE_TYPES))
def test_partial_statistics_stay_small(n_samples, n_features, n_components, statistics):
    plan = make_plan(n_samples, n_features, n_components, "float64", statistics)
    size = 8 * statistics_size(n_components, n_features, statistics)
    assert plan.split_components == (16 * size > planning.MAX_STATISTICS_BYTES)
    if plan.split_components:
        assert plan.n_partitions == 1


def test_large_data_has_all_partitions():
    assert make_plan(1_000_000, 8, 16, "float64", "full").n_partitions == 16


def test_small_data_has_one():
    assert make_plan(100, 8, 16, "float64", "full").n_partitions == 1


@pytest.mark.parametrize(("kind", "expected"), [("means", 7), ("spherical", 8), ("diag", 13)])
def test_statistics_size(kind, expected):
    assert statistics_size(1, 6, kind) == expected
    assert statistics_size(5, 6, kind) == 5 * expected
