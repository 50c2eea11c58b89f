"""Rows that lie in several arrays, files or sources, one after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vbfast.contract import FloatArray, RowSource

__all__ = ["ChunkRows"]


class ChunkRows:
    """The rows of several sources, as if they were one array.

    Blocks that lie in one chunk are that chunk's; others are copies. A fit has the bits of one of
    the concatenated array.

    Parameters
    ----------
    chunks : sequence of RowSource
        At least one, of as many features and one dtype.
    names : sequence of str
        What errors call them.

    Raises
    ------
    ValueError
        If a chunk has other features or another dtype than the first.
    """

    in_memory: FloatArray | None = None
    reads_ahead = True

    def __init__(self, chunks: Sequence[RowSource], names: Sequence[str]) -> None:
        first = chunks[0]
        for chunk, name in zip(chunks, names, strict=True):
            if chunk.n_features != first.n_features:
                raise ValueError(
                    f"{name} has {chunk.n_features} features, but {names[0]} has {first.n_features}"
                )
            if chunk.dtype != first.dtype:
                raise ValueError(
                    f"{name} is computed in {chunk.dtype}, but {names[0]} in {first.dtype}: "
                    "convert one of them"
                )
        self._chunks, self._names = list(chunks), list(names)
        self.data = [chunk.data for chunk in chunks]
        self.in_chunks = any(getattr(chunk, "in_chunks", False) for chunk in chunks)
        self.dtype, self.n_features = first.dtype, first.n_features
        self.starts = np.cumsum([0, *(chunk.n_samples for chunk in chunks)])
        self.n_samples = int(self.starts[-1])

    def block(self, start: int, stop: int) -> FloatArray:
        """Return rows, copies where they are of several chunks."""
        parts = []
        index = self._chunk_of(start)
        while start < stop:
            first, end = (int(bound) for bound in self.starts[index : index + 2])
            last = min(stop, end)
            parts.append(self._chunks[index].block(start - first, last - first))
            start, index = last, index + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows."""
        taken = np.empty((len(indices), self.n_features), self.dtype)
        owners = np.searchsorted(self.starts, indices, side="right") - 1
        for index in np.unique(owners):
            own = owners == index
            taken[own] = self._chunks[index].take(indices[own] - self.starts[index])
        return taken

    def place_of(self, row: int) -> str:
        """Return where a row lies, for messages."""
        index = self._chunk_of(row)
        chunk, within = self._chunks[index], row - int(self.starts[index])
        place_of = getattr(chunk, "place_of", None)
        return f"row {within} of {self._names[index]}" if place_of is None else place_of(within)

    def _chunk_of(self, row: int) -> int:
        return int(np.searchsorted(self.starts, row, side="right")) - 1
