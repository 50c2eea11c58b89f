"""The numba backend's blocking, and its limits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from vbfast.backends.blocking import Limits, make_blocking
from vbfast.contract import Blocking, Moments, second_shape

__all__ = ["LIMITS", "blocking"]

# Groups are what rows of tiles are multiples of, and what array functions take at a time: eight
# vectors of AVX-512. A tile and its log-joints stay in the second-level cache. Statistics that are
# large are of fewer partitions.
LIMITS = Limits(
    partitions=16,
    statistics_bytes=256 << 20,
    group_bytes=512,
    tile_rows=512,
    tile_bytes=4 << 20,
    partition_rows=256,
)
# Of a feature in the rows of a tile: sums over longer tiles are fewer, but sixteen features of a
# tile still have to fit a first-level cache.
LINE_BYTES = 2048


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
        kept = "diag" if moments == "spherical" else moments
        second = second_shape(kept, n_components, row_length)
        size = 8 * (n_components * (1 + row_length) + (0 if second is None else math.prod(second)))
    fitting = max(1, min(LIMITS.partitions, LIMITS.statistics_bytes // max(1, size)))
    limits = replace(LIMITS, partitions=fitting, tile_rows=LINE_BYTES // dtype.itemsize)
    return make_blocking(limits, n_samples, row_length, n_components, dtype, size)
