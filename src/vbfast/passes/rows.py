"""Row sources: what a pass can read its rows from.

An array in memory (memory maps included) is handed to the backend as it lies, whatever its
strides. Anything else that has a shape, a dtype and row slicing, such as an HDF5 or Zarr array, is
read slice by slice, and so are files by their path. A list of two-dimensional arrays has the rows
of all of them, and so has a function whose iterators yield them. Finiteness is checked by the
passes, not here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.contract import RowSource
from vbfast.inputs.numbers import as_numbers, claimed_dtype, claimed_shape
from vbfast.inputs.plain import check_plain
from vbfast.passes.array_rows import (
    COMPUTED_IN,
    ArrayRows,
    SlicedRows,
    aligned,
    computation_dtype,
    is_sliceable,
)
from vbfast.passes.chunks import ChunkRows
from vbfast.passes.files import is_row_path, open_rows
from vbfast.passes.iterated import IteratedRows, is_chunk_function, is_iterator

__all__ = ["as_row_source", "is_chunks", "is_on_device", "is_read"]


def as_row_source(X: Any) -> RowSource:
    """Make ``X`` readable by passes.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        float32 is computed in float32, every other real dtype in float64. An array in memory, a
        memory map included, is used without a copy where its dtype allows; an object with
        ``shape``, ``dtype`` and row slicing (h5py, zarr), and a memory map of another dtype, is
        read slice by slice in every pass. A list of two-dimensional arrays has the rows of all, and
        a path those of the file, see :func:`~vbfast.passes.files.open_rows`. A function without
        arguments has those of the chunks that its iterators yield, see
        :class:`~vbfast.passes.iterated.IteratedRows`. An array of another library that is on a CUDA
        device stays there. A :class:`~vbfast.contract.RowSource` is returned as it is.

    Returns
    -------
    RowSource

    Raises
    ------
    TypeError
        If X is complex, masked, sparse, of records or dates, or has no numbers, or is an iterator,
        which could be read once.
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
    if not isinstance(X, np.ndarray):
        if isinstance(X, RowSource):
            return _checked(X)
        if is_on_device(X):
            return _on_device(X)
        if is_row_path(X):
            return open_rows(X)
        if is_chunks(X):
            return _of_chunks(X)
        if is_chunk_function(X):
            return IteratedRows(X)
        if is_iterator(X):
            raise TypeError(
                "X is an iterator, which yields its chunks once, and a fit reads them in every "
                "iteration: give the function that makes it, without calling it"
            )
    check_plain(X, "X")
    if not isinstance(X, np.ndarray) and not is_sliceable(X):
        X = as_numbers(X, "X")
    dtype = computation_dtype(claimed_dtype(X, "X"))
    _check_shape(claimed_shape(X, "X"))
    if not isinstance(X, np.ndarray):
        return SlicedRows(X)
    if X.dtype == dtype and X.dtype.isnative and X.flags.aligned:
        return ArrayRows(np.asarray(X))
    if isinstance(X, np.memmap):
        return SlicedRows(X)
    return ArrayRows(aligned(as_numbers(X, "X"), dtype))


def is_on_device(X: Any) -> bool:
    """Whether X is an array of another library that is on a CUDA device."""
    if not (hasattr(X, "__dlpack_device__") or hasattr(X, "__cuda_array_interface__")):
        return False
    from vbfast.backends.cuda.interchange import device_of

    return device_of(X) is not None


def _on_device(X: Any) -> RowSource:
    from vbfast.backends.cuda.rows import BorrowedRows

    _check_shape(claimed_shape(X, "X"))
    return BorrowedRows(X)


def is_read(X: Any) -> bool:
    """Whether X is rows that are not one array in memory: a source, files or several arrays."""
    made = is_chunk_function(X) or is_iterator(X)
    return made or isinstance(X, RowSource) or is_row_path(X) or is_chunks(X)


def is_chunks(X: Any) -> bool:
    """Whether X is a list of two-dimensional arrays, files and sources, whose rows it has."""
    return isinstance(X, list | tuple) and len(X) > 0 and all(map(_is_chunk, X))


def _is_chunk(chunk: Any) -> bool:
    if isinstance(chunk, np.ndarray):
        return chunk.ndim == 2
    shape = getattr(chunk, "shape", None)
    table = isinstance(shape, tuple) and len(shape) == 2
    return table or is_row_path(chunk) or isinstance(chunk, RowSource)


def _of_chunks(chunks: Any) -> ChunkRows:
    names = [f"X[{index}]" for index in range(len(chunks))]
    sources = []
    for name, chunk in zip(names, chunks, strict=True):
        try:
            sources.append(as_row_source(chunk))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from error
    return ChunkRows(sources, names)


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
