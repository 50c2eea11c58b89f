"""Chunks of rows that can only be read as a whole."""

from __future__ import annotations

import threading
from bisect import bisect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.config.settings import current_num_threads
from vbfast.contract import FloatArray

__all__ = ["KeptChunks"]


class KeptChunks:
    """Rows that are read chunk by chunk, and given in any blocks.

    A chunk is kept until as many of its rows have been given as it has. So a pass, which asks for
    every row once, reads every chunk once: its partitions go side by side, each through its rows in
    order, and what two of them have of a chunk is asked for at different times. As many chunks are
    kept as such a pass has in use, at its partitions' bounds and where they are: four a thread at
    most, and two where a chunk is longer than the partitions that go side by side.

    Parameters
    ----------
    bounds : sequence of int
        Chunk ``c`` has the rows ``bounds[c]`` to ``bounds[c + 1]``.
    read : callable
        Returns the rows of a chunk, by its number. No two threads call it at a time.
    n_features : int
    dtype : numpy.dtype
        Of the rows, float32 or float64.
    """

    def __init__(
        self,
        bounds: Sequence[int],
        read: Callable[[int], FloatArray],
        n_features: int,
        dtype: np.dtype[Any],
    ) -> None:
        self._bounds, self._read = bounds, read
        self._n_features, self._dtype = n_features, dtype
        # By the chunk's number, those asked for last at the end: its rows, and how many are to be
        # given.
        self._kept: dict[int, tuple[FloatArray, int]] = {}
        self._lock = threading.Lock()

    def block(self, start: int, stop: int) -> FloatArray:
        """Return rows: a view where they are of one chunk, copies where they are of several."""
        with self._lock:
            chunks = range(self.chunk_of(start), self.chunk_of(max(start, stop - 1)) + 1)
            if len(chunks) == 1:
                return self._part(chunks[0], start, stop)
            rows: FloatArray | None = None
            for chunk in chunks:
                first, end = max(start, self._bounds[chunk]), min(stop, self._bounds[chunk + 1])
                part = self._part(chunk, first, end)
                if rows is None:  # in rows or in columns, as chunks are
                    rows = np.empty_like(part, shape=(stop - start, self._n_features))
                rows[first - start : end - start] = part
            assert rows is not None
            return rows

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows. A chunk is read once for all of them, and not kept."""
        taken = np.empty((len(indices), self._n_features), self._dtype)
        order = np.argsort(indices, kind="stable")
        owners = np.searchsorted(self._bounds, indices[order], side="right") - 1
        chunks, firsts = np.unique(owners, return_index=True)
        with self._lock:
            for chunk, mine in zip(chunks.tolist(), np.split(order, firsts[1:]), strict=True):
                rows = self._kept[chunk][0] if chunk in self._kept else self._read(chunk)
                taken[mine] = rows[indices[mine] - self._bounds[chunk]]
        return taken

    def chunk_of(self, row: int) -> int:
        """Return the number of the chunk that a row lies in."""
        return bisect(self._bounds, row) - 1

    def _part(self, chunk: int, start: int, stop: int) -> FloatArray:
        """Return rows of a chunk, which is kept while others of it are to be given."""
        first, last = self._bounds[chunk : chunk + 2]
        kept, left = self._kept.pop(chunk, (None, last - first))
        if kept is None:
            most = 4 * current_num_threads()
            while len(self._kept) >= most:
                del self._kept[next(iter(self._kept))]
            kept = self._read(chunk)
        left -= stop - start
        if left > 0:
            self._kept[chunk] = kept, left
        return kept[start - first : stop - first]
