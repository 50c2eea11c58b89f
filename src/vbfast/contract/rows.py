"""Rows as a pass visits them."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vbfast.contract.types import Float64Array, FloatArray

__all__ = ["NonFiniteRowError", "RowBlock", "RowSource"]


class RowBlock(NamedTuple):
    """Consecutive rows in memory, of one partition or of several.

    A partition's blocks come in row order, each in another call.

    Attributes
    ----------
    start : int
        Index of the first row in the whole data, a multiple of ``tile_rows`` from the start of
        its partition.
    rows : ndarray of shape (n_rows, n_features), any strides
        In the dtype of the computation, float32 or float64.
    weights : ndarray of shape (n_rows,), float64, C order, or None
        ``None`` means one each.
    resp : ndarray of shape (n_rows, n_components) in the dtype of the computation, C order,
        or of shape (n_rows,), int64, or None
        The given ``q``; as labels where one-dimensional, with -1 for a row without a component.
        In two dimensions such a row is all zeros.
    """

    start: int
    rows: FloatArray
    weights: Float64Array | None = None
    resp: FloatArray | npt.NDArray[np.int64] | None = None


class NonFiniteRowError(ValueError):
    """A pass met a row with NaN or infinity. ``row`` is its index in the whole data."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} has a value that is NaN or infinite")
        self.row = row


@runtime_checkable
class RowSource(Protocol):
    """Rows of shape (n_samples, n_features) in the dtype of the computation.

    An open protocol: whatever has these members can be fitted and scored.
    """

    @property
    def data(self) -> Any:
        """What the rows are read from."""

    @property
    def n_samples(self) -> int:
        """Number of rows."""

    @property
    def n_features(self) -> int:
        """Number of columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the computation, float32 or float64."""

    @property
    def in_memory(self) -> FloatArray | None:
        """All rows, any strides, where that takes no copy."""

    def block(self, start: int, stop: int) -> FloatArray:
        """Return the rows ``start`` to ``stop``, shape (stop - start, n_features), any strides.

        Several blocks are in use at a time: memory that was returned is not written to again.

        Parameters
        ----------
        start, stop : int
        """

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows, in the order of ``indices``.

        Parameters
        ----------
        indices : ndarray of shape (n_rows,), intp
        """
