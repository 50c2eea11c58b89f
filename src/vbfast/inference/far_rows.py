"""Rows so far from others that squares of their distances overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.engine.contract import Float64Array
from vbfast.engine.rows import RowSource

__all__ = ["OverflowingRowError", "overflowing_row"]

# Rows read at a time to find one.
SEARCHED_ROWS = 1 << 14


class OverflowingRowError(ValueError):
    """A row is so far from others that squares of distances overflow. ``row`` is its index."""

    def __init__(self, row: int, dtype: np.dtype[Any]) -> None:
        wider = "" if dtype == np.float64 else ", pass float64 data"
        super().__init__(
            f"row {row} is so far from others that its squared distance overflows {dtype}. "
            f"Scale X{wider} or leave the row out"
        )
        self.row = row


def overflowing_row(source: RowSource, sample_weight: Float64Array | None) -> OverflowingRowError:
    """Return the error that names the first row of positive weight with the largest number."""
    largest, row = -1.0, 0
    for start in range(0, source.n_samples, SEARCHED_ROWS):
        stop = min(start + SEARCHED_ROWS, source.n_samples)
        size = np.abs(source.block(start, stop)).max(axis=1)
        if sample_weight is not None:
            size[sample_weight[start:stop] == 0.0] = -1.0
        if size.max() > largest:
            largest, row = float(size.max()), start + int(np.argmax(size))
    return OverflowingRowError(row, source.dtype)
