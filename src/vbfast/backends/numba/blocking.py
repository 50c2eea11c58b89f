"""The numba backend's blocking."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from vbfast.backends.blocking import make_blocking
from vbfast.backends.numba.constants import LIMITS, LINE_BYTES
from vbfast.contract import Blocking, Moments, second_shape

__all__ = ["blocking"]


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
