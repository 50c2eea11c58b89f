"""The blocking: what it may depend on, and its limits.

The numbers here are those that are promised (reproducible to the bit): 64 MB of partial
statistics, tiles of a few hundred rows, vectors of 64 bytes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbfast.backends import backend_names, get_backend
from vbfast.backends.blocking import make_blocking as shared_blocking
from vbfast.backends.cuda.extension import DeviceError
from vbfast.backends.native.blocking import LIMITS

sizes = st.integers(1, 3_000_000), st.integers(1, 300), st.integers(1, 50_000)
dtypes = st.sampled_from(["float32", "float64"])
MOMENTS = ("first", "diag", "spherical", "pooled", "full")
kinds = st.sampled_from(MOMENTS)
NAMES = []
for _name in backend_names():
    with contextlib.suppress(ImportError, DeviceError):
        get_backend(_name)  # imported before hypothesis looks at the clock
        NAMES.append(_name)
names = st.sampled_from(NAMES)


def make_blocking(n_samples, n_features, n_components, dtype, moments, name="native"):
    backend = get_backend(name)
    return backend.blocking(n_samples, n_features, n_components, np.dtype(dtype), moments)


def fewest_numbers(n_components, n_features, kind):
    """Numbers in one partial statistic if no entry is kept twice: weights, first, second."""
    triangle = n_features * (n_features + 1) // 2
    second = {
        "first": 0,
        "full": n_components * triangle,
        "pooled": triangle,
        "diag": n_components * n_features,
        "spherical": n_components,
    }[kind]
    return n_components * (1 + n_features) + second


@given(*sizes, dtypes, kinds, names)
def test_partitions_cover_the_rows(n_samples, n_features, n_components, dtype, kind, name):
    blocking = make_blocking(n_samples, n_features, n_components, dtype, kind, name)
    assert blocking.bounds[0] == 0
    assert blocking.bounds[-1] == n_samples
    assert np.all(np.diff(blocking.bounds) > 0)
    assert blocking.n_partitions == len(blocking.bounds) - 1
    # Whole vectors, so that rows at a bound lie in their lanes as within a partition.
    assert all(bound * blocking.dtype.itemsize % 64 == 0 for bound in blocking.bounds[:-1])


@given(*sizes, dtypes, kinds, names)
def test_tiles_are_whole_vectors_and_short(n_samples, n_features, n_components, dtype, kind, name):
    """In float32 a tile's sums are float32: longer ones would lose digits."""
    blocking = make_blocking(n_samples, n_features, n_components, dtype, kind, name)
    assert blocking.tile_rows * blocking.dtype.itemsize % 64 == 0
    assert blocking.tile_rows <= 512


@given(*sizes, dtypes, kinds, names.filter(lambda name: name != "reference"))
def test_partial_statistics_stay_small(n_samples, n_features, n_components, dtype, kind, name):
    blocking = make_blocking(n_samples, n_features, n_components, dtype, kind, name)
    assert 1 <= blocking.open_partitions <= blocking.n_partitions
    if blocking.n_partitions > 1:
        numbers = blocking.open_partitions * fewest_numbers(n_components, n_features, kind)
        assert 8 * numbers <= 64 << 20
    if blocking.split_components:
        assert blocking.n_partitions == 1


@pytest.mark.parametrize("kind", MOMENTS)
def test_models_of_ordinary_size_keep_many_threads_busy(kind):
    blocking = make_blocking(1_000_000, 16, 64, "float64", kind)
    assert not blocking.split_components
    assert blocking.n_partitions >= 128


@pytest.mark.parametrize("taper", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("rows", [1, 16, 64, 500])
def test_the_last_partitions_have_rows(taper, rows):
    """However short the taper makes them."""
    limits = replace(LIMITS, partition_rows=rows, few_rows=rows, taper=taper)
    for n_samples in (1, 31, 65, 100, 1000, 4097, 100_001):
        bounds = shared_blocking(limits, n_samples, 5, 7, np.dtype(np.float32), 1000).bounds
        assert bounds[0] == 0
        assert bounds[-1] == n_samples
        assert np.all(np.diff(bounds) > 0)


def test_models_whose_statistics_are_large_share_them():
    assert make_blocking(1_000_000, 256, 1000, "float64", "full").split_components


def test_small_data_is_one_thread_s():
    assert make_blocking(100, 8, 16, "float64", "full").n_partitions == 1


@given(*sizes, dtypes, names)
def test_without_statistics_nothing_is_shared(n_samples, n_features, n_components, dtype, name):
    blocking = make_blocking(n_samples, n_features, n_components, dtype, None, name)
    assert not blocking.split_components
