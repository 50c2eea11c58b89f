"""Rows that are on the device as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.cuda.extension import load_extension, require_device
from vbfast.backends.cuda.interchange import borrow, put_beside
from vbfast.contract import FloatArray, RowSource

__all__ = ["BorrowedRows", "adopt"]

# The part of the device's free memory that rows may take: passes need some too.
SHARE = 0.7


class HostArray(np.ndarray[Any, Any]):
    """Rows in memory that know of their copy on the device; views of them do not.

    Attributes
    ----------
    on_device : DeviceRows of the extension, or None
    """

    on_device: Any = None

    def __array_finalize__(self, array: npt.NDArray[Any] | None) -> None:
        """Begin without a copy."""
        self.on_device = None


class ResidentRows:
    """Rows of a source in memory, with a copy on the device for passes over all of them."""

    def __init__(self, source: RowSource, rows: FloatArray) -> None:
        self.data = source.data
        self.dtype = rows.dtype
        self.n_samples, self.n_features = rows.shape
        self._rows = rows
        known = rows.view(HostArray)
        known.on_device = load_extension().DeviceRows(rows)
        self.in_memory: FloatArray = known

    def block(self, start: int, stop: int) -> FloatArray:
        """Return a view of rows. That of all rows knows of the copy."""
        whole = start == 0 and stop == self.n_samples
        return self.in_memory if whole else self._rows[start:stop]

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows."""
        return self._rows[indices]


class BorrowedRows:
    """Rows of an array of another library that is on a device, without a copy.

    Parameters
    ----------
    X : array on a device, of shape (n_samples, n_features), float32 or float64
        Its features lie together.

    Attributes
    ----------
    backend : str
        That passes have to run on.
    """

    backend = "cuda"

    def __init__(self, X: Any) -> None:
        require_device()
        borrowed = borrow(X, "X")
        self.data = X
        self.dtype = borrowed.dtype
        self.n_samples, self.n_features = borrowed.shape
        self._rows = load_extension().DeviceRows.borrow(borrowed.array, borrowed.stream)
        # A pass over all rows takes the device's. What stands for them on the host is not finite.
        nothing = np.broadcast_to(np.array(np.nan, self.dtype), borrowed.shape).view(HostArray)
        nothing.on_device = self._rows
        self.in_memory: FloatArray = nothing

    def block(self, start: int, stop: int) -> FloatArray:
        """Copy consecutive rows to the host."""
        rows: FloatArray = self._rows.read(start, stop)
        return rows

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Copy a few rows to the host."""
        rows: FloatArray = self._rows.take(np.ascontiguousarray(indices, np.int64))
        return rows

    def give_back(self, array: npt.NDArray[Any]) -> Any:
        """Return an array of the host as one of the library of the rows, on their device."""
        return put_beside(self.data, array)


def adopt(source: RowSource) -> RowSource:
    """Copy rows to the device, where they are in memory and fit there.

    Parameters
    ----------
    source : RowSource

    Returns
    -------
    RowSource
        The source itself where it is read in passes, or larger than the device.
    """
    rows = source.in_memory
    if rows is None or isinstance(source, ResidentRows | BorrowedRows):
        return source
    if rows.size * rows.itemsize > SHARE * require_device()["free_bytes"]:
        return source
    return ResidentRows(source, rows)
