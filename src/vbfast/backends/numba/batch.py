"""Some tiles of rows on their way through a pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.numba.rows import Rows
from vbfast.contract import FloatArray

__all__ = ["Batch"]


class Batch:
    """Memory of one thread for a few tiles, cut to the rows that are being worked on.

    Parameters
    ----------
    rows : Rows
        For as many groups as there may be.
    n_components : int
    tile_rows : int
    with_gradient : bool
        Whether the gradient in the rows is wanted.

    Attributes
    ----------
    start : int
        Index of the first row in the whole data.
    n_rows, tile_rows, tile_groups : int
        Rows, rows and groups of a tile.
    whole : slice
        The rows in arrays of all rows.
    rows : Rows
    form : tuple of arrays
        What the rows are evaluated with, see :class:`vbfast.backends.numba.quadratic.Layout`.
    joint : ndarray of shape (n_groups, n_components, group)
        Log-joint, then responsibilities.
    row_max, scale : ndarray of shape (n_groups, group)
        Largest log-joint of each row; what its responsibilities are multiplied by.
    label : ndarray of shape (n_rows,), int64
    gradient : ndarray of shape (n_groups, n_features, group)
        Sums of slopes, where they are wanted.
    lowest : ndarray of shape (1,), float64
        The least log evidence of all rows so far that have a posterior and positive weight.
    """

    def __init__(
        self, rows: Rows, n_components: int, tile_rows: int, *, with_gradient: bool
    ) -> None:
        n_groups, D, self._group = rows.lanes.shape
        dtype = rows.lanes.dtype
        self.tile_rows, self.tile_groups = tile_rows, tile_rows // self._group
        self.lowest = np.array([np.inf])
        self._rows = rows
        self.form: Any = None
        self._joint = empty_lines((n_groups, n_components, self._group), dtype)
        self._row_max = empty_lines((n_groups, self._group), dtype)
        self._scale = empty_lines((n_groups, self._group), dtype)
        self._label = np.empty(n_groups * self._group, np.int64)
        self._gradient = empty_lines((n_groups if with_gradient else 0, D, self._group), dtype)
        self.take(0, n_groups * self._group)

    def take(self, start: int, n_rows: int) -> None:
        """Cut the arrays to so many rows, from row ``start`` of the whole data."""
        n_groups = -(-n_rows // self._group)
        self.start, self.n_rows = start, n_rows
        self.whole = slice(start, start + n_rows)
        self.rows = self._rows._replace(
            lanes=self._rows.lanes[:n_groups],
            plain=self._rows.plain[: n_groups * self._group],
            whitened=self._rows.whitened[:n_groups],
        )
        self.joint: FloatArray = self._joint[:n_groups]
        self.row_max: FloatArray = self._row_max[:n_groups]
        self.scale: FloatArray = self._scale[:n_groups]
        self.label: npt.NDArray[np.int64] = self._label[:n_rows]
        self.gradient: FloatArray = self._gradient[:n_groups]
        self.row_max.fill(-np.inf)
        self.gradient.fill(0)
