"""The numba backend's blocking, and the other numbers that were chosen: each with its reason.

What was timed was timed on two threads of an AMD EPYC (family 25, model 17) in November 2026, with
``bench/numba_backend.py`` and ``bench/same_speed.py --backend numba``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from vbfast.backends.blocking import Limits, make_blocking
from vbfast.contract import Blocking, Moments

# Groups are what rows of tiles are multiples of, and what array functions take at a time: eight
# vectors of AVX-512.
GROUP_BYTES = 512

# A tile and its log-joints stay in the second-level cache. Statistics that are large are of fewer
# partitions. Of the rows of a tile LINE_BYTES is the limit.
LIMITS = Limits(
    partitions=16,
    few_partitions=16,
    few_rows=256,
    partition_rows=256,
    taper=1.0,
    statistics_bytes=64 << 20,
    split_partitions=0,
    group_bytes=GROUP_BYTES,
    tile_rows=512,
    tile_bytes=4 << 20,
)

# Of a feature in the rows of a tile: sums over longer tiles are fewer, but sixteen features of a
# tile still have to fit a first-level cache.
LINE_BYTES = 2048

# Small tiles are worked on several at a time, for fewer calls from Python.
MAX_BATCH_TILES = 256

# Multiplications between two looks for signals: some ten milliseconds.
STEP_COST = 5e7

# Of a user's density or of one statistic, in multiplications: about a transcendental function.
FUNCTION_COST = 50.0

# Responsibilities below exp of it change no sum: they are zero, unless they are asked for.
NEGLIGIBLE_EXPONENT = -69.0

# Rows are gathered where fewer than one of so many count.
SPARSE = 8

# Memory begins at the start of a cache line. NumPy's begins 16 bytes into one as often as not;
# every other vector then lies across two lines, and kernels take up to a quarter longer.
CACHE_LINE = 64

# Elements of an array that a box holds, which stays in a cache: some hundred microseconds' work.
BOX_ELEMENTS = 1 << 17

# Groups of elements that make a slice long enough to go round the lanes by itself.
LONG_SLICE = 2

# Rows of lanes that are added one after another, before such sums are added by halves.
CHAIN_ROWS = 16

# Elements below which waking threads costs more than it saves.
PARALLEL_ELEMENTS = 1 << 16

# Ranges of a block from which threads share them, instead of blocks: it can be interrupted.
MANY_RANGES = 8


def second_shape(moments: Moments, n_components: int, n_features: int) -> tuple[int, int, int]:
    """Return the shape of a partition's sums of second moments, see :class:`moments.Sums`."""
    return {
        "first": (0, 0, 0),
        "diag": (n_components, 1, n_features),
        "spherical": (n_components, 1, n_features),
        "pooled": (1, n_features, n_features),
        "full": (n_components, n_features, n_features),
    }[moments]


def blocking(
    n_samples: int,
    row_length: int,
    n_components: int,
    dtype: np.dtype[Any],
    moments: Moments | None,
) -> Blocking:
    """Fix the blocking for a pass, see :meth:`vbfast.contract.Backend.blocking`."""
    size = 0
    if moments is not None:
        second = math.prod(second_shape(moments, n_components, row_length))
        size = 8 * (n_components * (1 + row_length) + second)
    fitting = max(1, min(LIMITS.partitions, LIMITS.statistics_bytes // max(1, size)))
    limits = replace(LIMITS, partitions=fitting, tile_rows=LINE_BYTES // dtype.itemsize)
    return make_blocking(limits, n_samples, row_length, n_components, dtype, size)
