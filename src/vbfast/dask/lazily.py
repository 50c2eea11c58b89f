"""What a fitted mixture says of the rows of a collection, computed when it is asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.delayed import Delayed
from scipy.sparse import csr_matrix, issparse
from sklearn.utils.validation import validate_data

import dask
from vbfast.config.settings import config_context
from vbfast.contract import Float64Array, merge
from vbfast.dask.collections import as_delayed_chunks, as_delayed_weights, is_frame
from vbfast.dask.tasks import Carried

__all__ = ["Call", "lazy_rows", "lazy_score"]


class Call(NamedTuple):
    """A method of a mixture, and its arguments beside the rows."""

    method: str
    named: dict[str, Any]


def lazy_rows(
    mixture: Any,
    call: Call,
    X: Any,
    *,
    labels: bool,
    n_columns: int | None,
    sparse: bool = False,
) -> Any:
    """Return what a method says of each row, in a collection of the kind of X.

    Parameters
    ----------
    mixture : object
        Fitted, of this machine.
    call : Call
    X : collection
    labels : bool
        Whether the result is of int64, and not of the dtype of the computation.
    n_columns : int or None
        Of a result with several numbers a row.
    sparse : bool
        Whether these are sparse matrices of SciPy, or sparse columns.
    """
    if isinstance(X, list | tuple):
        shared = dask.delayed(Carried(mixture), traverse=False)
        return [_OF_CHUNK(chunk, shared, call) for chunk in X]
    if is_frame(X):
        _check_names(X, mixture)
        dtype = _dtype(labels, *X.dtypes)
        kind = _sparse(dtype) if sparse else dtype
        columns = [(number, kind) for number in range(n_columns or 0)]
        meta = (None, dtype) if n_columns is None else columns
        return X.map_partitions(_of_frame, Carried(mixture), call, meta=meta)
    whole = X if X.numblocks[1] == 1 else X.rechunk({1: -1})
    dtype = _dtype(labels, X.dtype)
    shaped: dict[str, Any] = {"drop_axis": 1, "meta": np.empty(0, dtype)}
    if n_columns is not None:
        none = csr_matrix((0, 0), dtype=dtype) if sparse else np.empty((0, 0), dtype)
        shaped = {"chunks": (whole.chunks[0], (n_columns,)), "meta": none}
    return whole.map_blocks(
        _of_array, Carried(mixture), call, dtype=dtype, token=call.method, **shaped
    )


def lazy_score(mixture: Any, X: Any, sample_weight: Any, *, exact: bool = False) -> Any:
    """Return the average log-evidence of the rows of a collection.

    Parameters
    ----------
    mixture : object
        Fitted, of this machine.
    X : collection
    sample_weight : collection or None
    exact : bool
        Whether all components are evaluated after a fit with truncated posteriors.
    """
    chunks = as_delayed_chunks(X)
    weights: list[Any] = [None] * len(chunks)
    if sample_weight is not None:
        weights = as_delayed_weights(sample_weight, X, len(chunks))
    shared = dask.delayed(Carried(mixture), traverse=False)
    sums = [
        _SUMS(chunk, shared, weight, exact) for chunk, weight in zip(chunks, weights, strict=True)
    ]
    average = _AVERAGE(sums)
    return average if isinstance(X, list | tuple) else da.from_delayed(average, (), np.float64)


def _dtype(labels: bool, *dtypes: Any) -> np.dtype[Any]:
    """Return the dtype of a result, of rows of some dtypes."""
    if labels:
        return np.dtype(np.int64)
    return np.dtype(np.float32 if all(kind == np.float32 for kind in dtypes) else np.float64)


def _sparse(dtype: np.dtype[Any]) -> Any:
    """Return the dtype of a sparse column."""
    import pandas as pd

    return pd.SparseDtype(dtype, dtype.type(0))


def _check_names(X: Any, mixture: Any) -> None:
    """Check that a data frame has the features of the fit, where those have names."""
    if hasattr(mixture, "feature_names_in_"):
        import pandas as pd

        empty = pd.DataFrame(columns=list(X.columns))
        validate_data(mixture, empty, reset=False, skip_check_array=True)


def _of_array(rows: Any, carried: Carried, call: Call) -> Any:
    """Return what a mixture says of the rows of a chunk, on one thread."""
    with config_context(num_threads=1):
        return getattr(carried.value, call.method)(rows, **call.named)


def _of_frame(frame: Any, carried: Carried, call: Call) -> Any:
    """Return the same with the index of the data frame."""
    import pandas as pd

    result = _of_array(_like_the_fit(frame, carried.value), carried, call)
    if issparse(result):
        return pd.DataFrame.sparse.from_spmatrix(result, index=frame.index)
    make = pd.Series if result.ndim == 1 else pd.DataFrame
    return make(result, index=frame.index)


def _like_the_fit(rows: Any, mixture: Any) -> Any:
    """Return the numbers alone of a data frame, where the mixture was fitted without names."""
    named = hasattr(mixture, "feature_names_in_") or not hasattr(rows, "iloc")
    return rows if named else rows.to_numpy()


def _of_chunk(rows: Any, carried: Carried, call: Call) -> Any:
    """Return what a mixture says of a delayed chunk: with its index, if it is a data frame."""
    return (_of_frame if hasattr(rows, "iloc") else _of_array)(rows, carried, call)


def _sums(rows: Any, carried: Carried, weights: Any, exact: bool) -> Float64Array:
    """Return the summed evidence and weight of a chunk, whose weights may all be zero."""
    if weights is not None and not np.any(weights):
        _of_array(_like_the_fit(rows, carried.value), carried, Call("score", {}))
        return np.zeros(2)
    call = Call("score", {"sample_weight": weights, "exact": exact})
    average = _of_array(_like_the_fit(rows, carried.value), carried, call)
    total = len(rows) if weights is None else np.sum(weights, dtype=np.float64)
    return np.array([average * total, total])


def _average(sums: list[Float64Array]) -> np.float64:
    """Return the average evidence of the rows of all chunks."""
    evidence, weight = merge(sums)
    return np.float64(evidence / weight)


_OF_CHUNK: Delayed = dask.delayed(_of_chunk, pure=False)
_SUMS: Delayed = dask.delayed(_sums, pure=False)
_AVERAGE: Delayed = dask.delayed(_average, pure=False)
