"""Rows that workers of a cluster hold, in groups of chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from distributed import Client, Future

import dask
from vbfast.contract import Float64Array, FloatArray
from vbfast.dask.clients import check_connected
from vbfast.dask.collections import as_delayed_chunks, as_delayed_weights, is_collection
from vbfast.dask.runner import ClusterRunner, submit
from vbfast.dask.tasks import Description, describe, make_group, take
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.base_runner import BaseRunner, BringsRunner
from vbfast.passes.groups import group_bounds, positions_by_chunk

__all__ = ["ClusterRows"]

T = TypeVar("T")

_MAKE_GROUP = dask.delayed(make_group, pure=False)
_TAKE = dask.delayed(take, pure=False)


class ClusterRows(BringsRunner):
    """Rows of a collection, computed and kept on a cluster's workers as long as this object is.

    Parameters
    ----------
    client : distributed.Client
    X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
    sample_weight : dask array or series of shape (n_samples,), or list of delayed chunks, optional
        Chunked as X is; an array in memory is cut up as X is.

    Attributes
    ----------
    groups : list of distributed.Future
        The rows of consecutive chunks.
    weights : ndarray of shape (n_samples,), float64, or None
        Copies here.

    Raises
    ------
    TypeError
        If X is none of these, or a chunk is complex, masked, sparse, of records or dates, or has
        no numbers.
    ValueError
        If a chunk has other dimensions than two, no rows, or another width or dtype than the
        first, or weights of another number; if chunks were scattered and are lost.
    """

    in_memory: FloatArray | None = None

    def __init__(self, client: Client, X: Any, sample_weight: Any = None) -> None:
        self.client, self.data = client, X
        delayed = as_delayed_chunks(X)
        n_chunks, on_cluster = len(delayed), is_collection(sample_weight)
        chunks = client.compute(delayed)
        weights: list[Any] = [None] * n_chunks
        if on_cluster:
            weights = client.compute(as_delayed_weights(sample_weight, X, n_chunks))
        described = self._described(chunks, weights)
        sizes = [shape[0] for shape, _ in described]
        self.n_features, self.dtype = described[0].shape[1], described[0].dtype
        self._chunk_starts = [0, *accumulate(sizes)]
        self.n_samples = self._chunk_starts[-1]
        bounds = group_bounds(sizes)
        self.group_starts: Sequence[int] = [self._chunk_starts[chunk] for chunk in bounds]
        self._group_chunks = bounds
        self.weights: Float64Array | None = None
        if on_cluster:
            parts = [np.asarray(part, np.float64) for part in client.gather(weights)]
            self.weights = as_sample_weight(np.concatenate(parts), self.n_samples)
        elif sample_weight is not None:
            self.weights = as_sample_weight(sample_weight, self.n_samples)
        groups = []
        for first, last in pairwise(bounds):
            rows = slice(self._chunk_starts[first], self._chunk_starts[last])
            own: list[Any] | None = None
            if on_cluster:
                own = weights[first:last]
            elif self.weights is not None:
                own = [self.weights[rows]]
            groups.append(_MAKE_GROUP(chunks[first:last], own, first, rows.start))
        self.groups: list[Future] = submit(client, groups)

    def runner(self, sample_weight: Float64Array | None) -> BaseRunner:
        """Return a runner over the rows."""
        return ClusterRunner(self, sample_weight)

    def block(self, start: int, stop: int) -> FloatArray:
        """Return copies of rows."""
        return self.take(np.arange(start, stop))

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows."""
        taken = np.empty((len(indices), self.n_features), self.dtype)
        owned = list(positions_by_chunk(indices, self.group_starts))
        asked = [
            _TAKE(self.groups[number], indices[positions] - self.group_starts[number])
            for number, positions in owned
        ]
        futures = submit(self.client, asked)
        found = self.settled(lambda: self.client.gather(futures))
        for (_, positions), rows in zip(owned, found, strict=True):
            taken[positions] = rows
        return taken

    def place_of(self, row: int) -> str:
        """Return where a row lies, for messages."""
        number = int(np.searchsorted(self._chunk_starts, row, side="right")) - 1
        return f"chunk {number} row {row - self._chunk_starts[number]}"

    def settled(self, result: Callable[[], T]) -> T:
        """Return what is computed of the groups, or raise an error that names the chunk to blame.

        Parameters
        ----------
        result : callable
            Without arguments.

        Raises
        ------
        RuntimeError
            If rows are lost that nothing can compute again.
        """
        try:
            return result()
        except CancelledError as error:
            check_connected(self.client)
            self._check_rows_are_there(error)
            raise
        except Exception as error:
            self._name_chunk(error)
            raise

    def _check_rows_are_there(self, error: CancelledError) -> None:
        lost = [number for number, group in enumerate(self.groups) if group.cancelled()]
        if not lost:
            return
        chunks = range(*self._group_chunks[lost[0] : lost[0] + 2])
        if isinstance(self.data, list | tuple):
            known = [chunk for chunk in chunks if _is_lost(self.data[chunk])]
            chunks = known or chunks  # type: ignore[assignment]
        raise _lost(chunks[0]) from error

    def _name_chunk(self, error: Exception) -> None:
        for number, group in enumerate(self.groups):
            if group.status == "error":
                first, last = self._group_chunks[number : number + 2]
                several = f"one of the chunks {first} to {last - 1}"
                name = f"chunk {first}" if last == first + 1 else several
                error.add_note(f"Raised by {name} of X.")
                return

    def _described(self, chunks: list[Future], weights: list[Any]) -> list[Description]:
        """Return what the chunks are, which is of one kind."""
        numbers = range(len(chunks))
        futures = self.client.map(describe, chunks, weights, numbers, pure=False)
        try:
            described: list[Description] = self.client.gather(futures)
        except Exception:
            pairs = zip(futures, chunks, strict=True)
            described = [_description(number, *pair) for number, pair in enumerate(pairs)]
        first = described[0]
        for number, (shape, dtype) in enumerate(described):
            if shape[1] != first.shape[1]:
                raise ValueError(
                    f"chunk {number} of X has {shape[1]} features, but chunk 0 has {first.shape[1]}"
                )
            if dtype != first.dtype:
                raise ValueError(
                    f"chunk {number} of X is computed in {dtype}, but chunk 0 in {first.dtype}: "
                    "convert one of them"
                )
        return described


def _description(number: int, described: Future, chunk: Future) -> Description:
    """Return what a chunk is, or raise an error that names it."""
    try:
        found: Description = described.result()
    except CancelledError as error:
        raise _lost(number) from error
    except Exception as error:
        if chunk.status == "error":
            error.add_note(f"Raised by chunk {number} of X.")
        raise
    return found


def _is_lost(chunk: Any) -> bool:
    return isinstance(chunk, Future) and chunk.cancelled()


def _lost(number: int) -> RuntimeError:
    return RuntimeError(
        f"chunk {number} of X is lost with the worker that held it, and nothing can compute it "
        "again, as it was scattered: give delayed chunks, or a dask array"
    )
