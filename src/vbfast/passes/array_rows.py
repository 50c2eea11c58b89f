"""Rows of arrays: in memory, or read slice by slice."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import FloatArray, RowSource
from vbfast.inputs.numbers import claimed_dtype, claimed_shape, read_slice
from vbfast.passes.kept_chunks import KeptChunks

__all__ = [
    "COMPUTED_IN",
    "ArrayRows",
    "DoubleRows",
    "SlicedRows",
    "aligned",
    "computation_dtype",
    "is_sliceable",
]

COMPUTED_IN = (np.dtype(np.float32), np.dtype(np.float64))
# Of the longest slice that is read for some of its rows, and of chunks that are read together.
SLICE_BYTES = 1 << 20
# Of the largest chunk that is held in memory. A file of longer ones, as of one for each column, may
# be larger than the memory is.
CHUNK_BYTES = 1 << 28
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
    """Rows read from ``data[start:stop]`` when they are asked for, and converted then.

    Where the data has ``chunks``, as HDF5 and Zarr arrays have, slices are of whole ones, so that
    none is decompressed twice in a pass: see :class:`~vbfast.passes.kept_chunks.KeptChunks`.
    """

    in_memory: FloatArray | None = None
    reads_ahead = True

    def __init__(self, data: Any, dtype: np.dtype[Any] | None = None) -> None:
        self.data = data
        self.dtype = computation_dtype(claimed_dtype(data, "X")) if dtype is None else dtype
        self.n_samples, self.n_features = claimed_shape(data, "X")
        row_bytes = max(1, self.n_features * self.dtype.itemsize)
        # How many rows the data decompresses at a time.
        self._chunk_rows = min(_chunk_rows(data), max(1, self.n_samples))
        if self._chunk_rows * row_bytes > CHUNK_BYTES:
            self._chunk_rows = 1
        self.in_chunks = self._chunk_rows > 1
        if self.in_chunks:
            # Several where they are small, as each slice has its cost.
            together = self._chunk_rows * max(1, SLICE_BYTES // (self._chunk_rows * row_bytes))
            bounds = [*range(0, self.n_samples, together), self.n_samples]

            def read(chunk: int) -> FloatArray:
                return self._slice(bounds[chunk], bounds[chunk + 1])

            self._kept = KeptChunks(bounds, read, self.n_features, self.dtype)

    def block(self, start: int, stop: int) -> FloatArray:
        """Read rows."""
        return self._kept.block(start, stop) if self.in_chunks else self._slice(start, stop)

    def _slice(self, start: int, stop: int) -> FloatArray:
        shape = (stop - start, self.n_features)
        return aligned(read_slice(self.data, start, stop, shape, self.dtype, "X"), self.dtype)

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Read some rows, those that are close to each other or of one chunk in one slice.

        HDF5 takes no unsorted or repeated indices.
        """
        taken = np.empty((len(indices), self.n_features), dtype=self.dtype)
        order = np.argsort(indices, kind="stable")
        ascending = indices[order]
        close = max(1, SLICE_BYTES // (self.n_features * self.dtype.itemsize))
        first = 0
        while first < len(order):
            start = int(ascending[first])
            end = -(-(start + close) // self._chunk_rows) * self._chunk_rows
            last = int(np.searchsorted(ascending, end))
            rows = self._slice(start, int(ascending[last - 1]) + 1)
            taken[order[first:last]] = rows[ascending[first:last] - start]
            first = last
        return taken


def _chunk_rows(data: Any) -> int:
    """Return how many rows an array stores together; one if it does not say, or they differ.

    Arrays of Dask have chunks too, which are tuples of lengths: these are computed and not read.
    """
    try:
        chunks = data.chunks
    except (AttributeError, NotImplementedError):
        return 1
    if not isinstance(chunks, tuple) or len(chunks) == 0 or not isinstance(chunks[0], Integral):
        return 1
    return max(1, int(chunks[0]))


class DoubleRows:
    """Rows of another source, computed in float64 whatever their dtype is."""

    in_memory: FloatArray | None = None
    dtype = np.dtype(np.float64)

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self.data = source.data
        self.n_samples, self.n_features = source.n_samples, source.n_features
        self.reads_ahead = getattr(source, "reads_ahead", False)
        self.in_chunks = getattr(source, "in_chunks", False)

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


def is_sliceable(X: Any) -> bool:
    """Whether X is an array that lives elsewhere; arrays of other libraries in memory are not."""
    if not (hasattr(X, "shape") and hasattr(X, "dtype") and hasattr(X, "__getitem__")):
        return False
    return not (hasattr(X, "__dlpack__") or hasattr(X, "__array_interface__"))
