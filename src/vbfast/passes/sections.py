"""Consecutive rows of a source, as a source of their own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vbfast.contract import FloatArray, RowSource

__all__ = ["SectionRows", "batches"]


class SectionRows:
    """The rows ``start`` to ``stop`` of another source, which are read when they are asked for.

    Parameters
    ----------
    source : RowSource
    start, stop : int
    """

    def __init__(self, source: RowSource, start: int, stop: int) -> None:
        self._source, self._start = source, start
        self.data, self.dtype = source.data, source.dtype
        self.n_samples, self.n_features = stop - start, source.n_features
        self.in_memory = None if source.in_memory is None else source.in_memory[start:stop]
        self.reads_ahead = getattr(source, "reads_ahead", False)
        self.in_chunks = getattr(source, "in_chunks", False)

    def block(self, start: int, stop: int) -> FloatArray:
        """Return rows, as the other source does."""
        return self._source.block(self._start + start, self._start + stop)

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows."""
        return self._source.take(self._start + indices)


def batches(source: RowSource, batch_size: int) -> list[slice]:
    """Cut rows into batches: consecutive rows of one chunk, as alike in number as can be.

    Parameters
    ----------
    source : RowSource
        Of several chunks where it has ``starts``, the number of rows before each chunk and the
        number of all.
    batch_size : int
        The most rows of a batch.

    Returns
    -------
    list of slice
        In the order of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.passes.rows import as_row_source
    >>> from vbfast.passes.sections import batches
    >>> chunks = as_row_source([np.zeros((5, 1)), np.zeros((2, 1))])
    >>> [(batch.start, batch.stop) for batch in batches(chunks, 3)]
    [(0, 2), (2, 5), (5, 7)]
    """
    starts = [int(start) for start in getattr(source, "starts", (0, source.n_samples))]
    cut = []
    for first, last in pairwise(starts):
        count = -(-(last - first) // batch_size)
        bounds = [first + (last - first) * index // count for index in range(count + 1)]
        cut += [slice(*ends) for ends in pairwise(bounds)]
    return cut
