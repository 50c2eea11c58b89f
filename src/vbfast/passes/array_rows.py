"""Rows of arrays: in memory, or read slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import FloatArray, RowSource
from vbfast.inputs.numbers import claimed_dtype, claimed_shape, read_slice

__all__ = ["COMPUTED_IN", "ArrayRows", "DoubleRows", "SlicedRows", "aligned", "computation_dtype"]

COMPUTED_IN = (np.dtype(np.float32), np.dtype(np.float64))
# Of the longest slice that is read for some of its rows.
SLICE_BYTES = 1 << 20
_NUMERIC_KINDS = "biufO"  # objects may be numbers: their conversion tells


class ArrayRows:
    """Rows of an array in memory, not copied."""

    def __init__(self, rows: FloatArray) -> None:
        self.data = rows
        self.in_memory = rows
        self.dtype = rows.dtype
        self.n_samples, self.n_features = rows.shape

    def block(self, start: int, stop: int) -> FloatArray:
        """Return a view of rows."""
        return self.in_memory[start:stop]

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows."""
        return self.in_memory[indices]


class SlicedRows:
    """Rows read from ``data[start:stop]`` when they are asked for, and converted then."""

    in_memory: FloatArray | None = None
    reads_ahead = True

    def __init__(self, data: Any, dtype: np.dtype[Any] | None = None) -> None:
        self.data = data
        self.dtype = computation_dtype(claimed_dtype(data, "X")) if dtype is None else dtype
        self.n_samples, self.n_features = claimed_shape(data, "X")

    def block(self, start: int, stop: int) -> FloatArray:
        """Read rows."""
        shape = (stop - start, self.n_features)
        return aligned(read_slice(self.data, start, stop, shape, self.dtype, "X"), self.dtype)

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Read some rows, those that are close to each other in one slice.

        HDF5 takes no unsorted or repeated indices.
        """
        taken = np.empty((len(indices), self.n_features), dtype=self.dtype)
        order = np.argsort(indices, kind="stable")
        ascending = indices[order]
        close = max(1, SLICE_BYTES // (self.n_features * self.dtype.itemsize))
        first = 0
        while first < len(order):
            start = ascending[first]
            last = int(np.searchsorted(ascending, start + close))
            block = self.block(int(start), int(ascending[last - 1]) + 1)
            taken[order[first:last]] = block[ascending[first:last] - start]
            first = last
        return taken


class DoubleRows:
    """Rows of another source, computed in float64 whatever their dtype is."""

    in_memory: FloatArray | None = None
    dtype = np.dtype(np.float64)

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self.data = source.data
        self.n_samples, self.n_features = source.n_samples, source.n_features
        self.reads_ahead = getattr(source, "reads_ahead", False)

    def block(self, start: int, stop: int) -> FloatArray:
        """Return converted copies of rows."""
        return self._source.block(start, stop).astype(np.float64)

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return converted copies of a few rows."""
        return self._source.take(indices).astype(np.float64)


def aligned(rows: npt.NDArray[Any], dtype: np.dtype[Any]) -> FloatArray:
    """Return rows in the dtype of the computation; numbers beyond it are infinite there."""
    with np.errstate(over="ignore"):
        return np.require(np.asarray(rows), dtype=dtype, requirements="A")


def computation_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that rows of a dtype are computed in.

    Raises
    ------
    TypeError
        If they are complex.
    ValueError
        If they are no numbers.
    """
    if dtype.kind == "c":
        raise TypeError(f"X must be real; got dtype {dtype}. Complex data not supported")
    if dtype.kind not in _NUMERIC_KINDS:
        raise ValueError(f"X must be numeric; got dtype {dtype}")
    native = dtype.newbyteorder("=")
    return native if native in COMPUTED_IN else np.dtype(np.float64)
