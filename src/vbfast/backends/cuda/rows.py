"""Rows that are on the device as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.cuda.extension import load_extension, require_device
from vbfast.contract import FloatArray, RowSource

__all__ = ["adopt"]

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
    if rows is None or isinstance(source, ResidentRows):
        return source
    if rows.size * rows.itemsize > SHARE * require_device()["free_bytes"]:
        return source
    return ResidentRows(source, rows)
