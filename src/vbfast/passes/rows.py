"""Row sources: what a pass can read its rows from.

An array in memory (memory maps included) is handed to the backend as it lies, whatever its
strides. Anything else that has a shape, a dtype and row slicing, such as an HDF5 or Zarr array, is
read slice by slice. Finiteness is checked by the passes, not here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import FloatArray, RowSource
from vbfast.inputs.numbers import as_numbers, claimed_dtype, claimed_shape, read_slice
from vbfast.inputs.plain import check_plain

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

    def __init__(self, data: Any, dtype: np.dtype[Any] | None = None) -> None:
        self.data = data
        self.dtype = _computation_dtype(claimed_dtype(data, "X")) if dtype is None else dtype
        self.n_samples, self.n_features = claimed_shape(data, "X")

    def block(self, start: int, stop: int) -> FloatArray:
        """Read rows."""
        shape = (stop - start, self.n_features)
        return _aligned(read_slice(self.data, start, stop, shape, self.dtype, "X"), self.dtype)

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


def as_row_source(X: Any) -> RowSource:
    """Make ``X`` readable by passes.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        float32 is computed in float32, every other real dtype in float64. An array in memory, a
        memory map included, is used without a copy where its dtype allows; an object with
        ``shape``, ``dtype`` and row slicing (h5py, zarr), and a memory map of another dtype, is
        read slice by slice in every pass. A :class:`~vbfast.contract.RowSource` is returned as it
        is.

    Returns
    -------
    RowSource

    Raises
    ------
    TypeError
        If X is complex, masked, sparse, of records or dates, or has no numbers.
    ValueError
        If X is not two-dimensional, has no rows or no features, or is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.passes.rows import as_row_source
    >>> source = as_row_source(np.arange(6).reshape(3, 2))
    >>> source.n_samples, source.n_features, source.dtype
    (3, 2, dtype('float64'))
    """
    # Arrays first: whether X has the members of a protocol takes as long as a small pass.
    if not isinstance(X, np.ndarray) and isinstance(X, RowSource):
        return _checked(X)
    check_plain(X, "X")
    if not isinstance(X, np.ndarray) and not is_sliceable(X):
        X = as_numbers(X, "X")
    dtype = _computation_dtype(claimed_dtype(X, "X"))
    _check_shape(claimed_shape(X, "X"))
    if not isinstance(X, np.ndarray):
        return SlicedRows(X)
    if X.dtype == dtype and X.dtype.isnative and X.flags.aligned:
        return ArrayRows(np.asarray(X))
    if isinstance(X, np.memmap):
        return SlicedRows(X)
    return ArrayRows(_aligned(as_numbers(X, "X"), dtype))


class DoubleRows:
    """Rows of another source, computed in float64 whatever their dtype is."""

    in_memory: FloatArray | None = None
    dtype = np.dtype(np.float64)

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self.data = source.data
        self.n_samples, self.n_features = source.n_samples, source.n_features

    def block(self, start: int, stop: int) -> FloatArray:
        """Return converted copies of rows."""
        return self._source.block(start, stop).astype(np.float64)

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return converted copies of a few rows."""
        return self._source.take(indices).astype(np.float64)


def _checked(source: RowSource) -> RowSource:
    """Return a row source, whose shape and dtype kernels go by."""
    for name in ("n_samples", "n_features"):
        length = getattr(source, name)
        if not isinstance(length, int | np.int64):  # products of shorter ones would overflow
            raise TypeError(f"X.{name} must be an int; got {length!r}")
    _check_shape((source.n_samples, source.n_features))
    dtype: Any = source.dtype
    if not isinstance(dtype, np.dtype) or dtype not in COMPUTED_IN:
        raise ValueError(f"X.dtype must be NumPy's float32 or float64; got {dtype!r}")
    return source


def _aligned(rows: npt.NDArray[Any], dtype: np.dtype[Any]) -> FloatArray:
    """Return rows in the dtype of the computation; numbers beyond it are infinite there."""
    with np.errstate(over="ignore"):
        return np.require(np.asarray(rows), dtype=dtype, requirements="A")


def is_sliceable(X: Any) -> bool:
    """Whether X is an array that lives elsewhere; arrays of other libraries in memory are not."""
    if not (hasattr(X, "shape") and hasattr(X, "dtype") and hasattr(X, "__getitem__")):
        return False
    return not (hasattr(X, "__dlpack__") or hasattr(X, "__array_interface__"))


def _computation_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "c":
        raise TypeError(f"X must be real; got dtype {dtype}. Complex data not supported")
    if dtype.kind not in _NUMERIC_KINDS:
        raise ValueError(f"X must be numeric; got dtype {dtype}")
    native = dtype.newbyteorder("=")
    return native if native in COMPUTED_IN else np.dtype(np.float64)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ValueError(
            f"X must have shape (n_samples, n_features); got shape {shape}. "
            "Use X.reshape(-1, 1) for a single feature, X.reshape(1, -1) for a single row"
        )
    for length, what in zip(shape, ("sample", "feature"), strict=True):
        if length == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is required."
            )
