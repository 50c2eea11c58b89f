"""The numba backend's blocking."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.blocking import make_blocking
from vbfast.backends.numba.constants import COLUMN_BYTES, LIMITS
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
        width = row_length + -row_length % (COLUMN_BYTES // dtype.itemsize)
        shape = second_shape("diag" if moments == "spherical" else moments, n_components, width)
        size = n_components * (1 + width) + (0 if shape is None else int(np.prod(shape)))
    return make_blocking(LIMITS, n_samples, row_length, n_components, dtype, 8 * size)
