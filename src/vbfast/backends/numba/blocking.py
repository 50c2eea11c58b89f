"""The numba backend's blocking."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.blocking import Limits, make_blocking
from vbfast.contract import Blocking, Moments, second_shape

__all__ = ["LIMITS", "blocking"]

# A tile and its log-joints stay in the second-level cache.
LIMITS = Limits(
    partitions=16,
    statistics_bytes=64 << 20,
    group_bytes=256,
    tile_rows=512,
    tile_bytes=1 << 20,
    partition_rows=256,
)


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
        shape = second_shape(moments, n_components, row_length)
        size = n_components * (1 + row_length) + (0 if shape is None else int(np.prod(shape)))
    return make_blocking(LIMITS, n_samples, row_length, n_components, dtype, 8 * size)
