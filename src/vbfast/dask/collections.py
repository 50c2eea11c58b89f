"""What rows and weights may be on a cluster: collections of Dask, as lists of delayed chunks."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import Delayed
from distributed import Future

__all__ = ["as_delayed_chunks", "as_delayed_weights", "feature_names", "is_collection", "is_frame"]


def is_frame(X: Any) -> bool:
    """Whether X is a dask data frame or series."""
    return hasattr(X, "npartitions") and hasattr(X, "map_partitions") and hasattr(X, "to_delayed")


def is_collection(X: Any) -> bool:
    """Whether X is rows, or weights, that are on a cluster or may be computed there."""
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(isinstance(chunk, Delayed | Future) for chunk in X)
    return isinstance(X, da.Array) or is_frame(X)


def as_delayed_chunks(X: Any) -> list[Any]:
    """Return the chunks of rows, delayed or computed already.

    Parameters
    ----------
    X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If an array has not two dimensions.
    """
    if isinstance(X, da.Array):
        if X.ndim != 2:
            raise ValueError(f"X must have shape (n_samples, n_features); got shape {X.shape}")
        whole = X if X.numblocks[1] == 1 else X.rechunk({1: -1})
        return list(whole.to_delayed()[:, 0])
    if not is_collection(X):
        raise TypeError(
            "X must be a dask array, a dask data frame, or a list of delayed chunks; got "
            f"{type(X).__name__}. For rows in memory there are the classes of vbfast itself"
        )
    return list(X.to_delayed()) if is_frame(X) else list(X)


def as_delayed_weights(sample_weight: Any, X: Any, n_chunks: int) -> list[Any]:
    """Return the chunks of weights, one for each chunk of rows.

    Parameters
    ----------
    sample_weight : dask array or series of shape (n_samples,), or list of delayed chunks
    X : collection
        The rows.
    n_chunks : int
        Theirs.

    Raises
    ------
    TypeError
        If they are none of these.
    ValueError
        If there are others in number.
    """
    if not is_collection(sample_weight):
        raise TypeError(
            "sample_weight must be a dask array or series, or a list of delayed chunks, as X is; "
            f"got {type(sample_weight).__name__}"
        )
    if isinstance(sample_weight, da.Array):
        if sample_weight.ndim != 1:
            raise ValueError(
                f"sample_weight must have shape (n_samples,); got shape {sample_weight.shape}"
            )
        known = isinstance(X, da.Array) and not np.isnan([*X.shape, *sample_weight.shape]).any()
        if known and X.shape[0] == sample_weight.shape[0]:
            sample_weight = sample_weight.rechunk((X.chunks[0],))
        chunks = list(sample_weight.to_delayed())
    else:
        chunks = list(sample_weight.to_delayed() if is_frame(sample_weight) else sample_weight)
    if len(chunks) != n_chunks:
        raise ValueError(
            f"sample_weight must have as many chunks as X, {n_chunks}; it has {len(chunks)}"
        )
    return chunks


def feature_names(X: Any) -> Any:
    """Return the names that a data frame has for its features, if they are all strings."""
    names = list(X.columns) if is_frame(X) and hasattr(X, "columns") else []
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return np.asarray(names, dtype=object)
