"""Chunks of rows, and the groups of them that are computed as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vbfast.contract import RowSource
from vbfast.inputs.numbers import as_numbers

__all__ = ["GroupedRows", "as_chunk", "group_bounds", "positions_by_chunk"]

# Consecutive chunks are a group as soon as they have this many rows together. A pass over them
# takes some milliseconds, beside which a task of a cluster costs little.
GROUP_ROWS = 1 << 15


class GroupedRows(RowSource, Protocol):
    """Rows in groups."""

    @property
    def group_starts(self) -> Sequence[int]:
        """The first rows of the groups, and the number of rows."""


def group_bounds(sizes: Sequence[int]) -> list[int]:
    """Return the numbers of the chunks that groups begin with, and how many chunks there are.

    Parameters
    ----------
    sizes : sequence of int
        How many rows each chunk has.

    Examples
    --------
    >>> from vbfast.passes.groups import group_bounds
    >>> group_bounds([20_000, 20_000, 50_000, 10])
    [0, 2, 3, 4]
    """
    bounds, rows = [0], 0
    for number, size in enumerate(sizes, start=1):
        rows += size
        if rows >= GROUP_ROWS or number == len(sizes):
            bounds.append(number)
            rows = 0
    return bounds


def as_chunk(values: Any, name: str) -> npt.NDArray[Any]:
    """Make an array of numbers of a chunk of rows.

    Parameters
    ----------
    values : array-like of shape (n_rows, n_features)
    name : str
        Of the chunk, for messages.

    Raises
    ------
    TypeError
        If it is complex, masked, sparse, of records or dates, or has no numbers.
    ValueError
        If it has other dimensions than two, or no rows or features.
    """
    numbers = as_numbers(values, name)
    if numbers.ndim != 2:
        raise ValueError(f"{name} must have two dimensions; got shape {numbers.shape}")
    for length, what in zip(numbers.shape, ("rows", "features"), strict=True):
        if length == 0:
            raise ValueError(f"{name} has no {what}: leave it out")
    return numbers


def positions_by_chunk(
    indices: npt.NDArray[np.intp], starts: Sequence[int]
) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield the chunks that rows are of, in their order, with the rows' positions in ``indices``.

    Parameters
    ----------
    indices : ndarray of shape (n_rows,), intp
    starts : sequence of int
        The chunks' first rows, and the number of all.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.passes.groups import positions_by_chunk
    >>> list(positions_by_chunk(np.array([9, 0, 9, 3]), [0, 5, 8, 10]))
    [(0, array([1, 3])), (2, array([0, 2]))]
    """
    order = np.argsort(indices, kind="stable")
    owners = np.searchsorted(starts, indices[order], side="right") - 1
    chunks, firsts = np.unique(owners, return_index=True)
    yield from zip(chunks.tolist(), np.split(order, firsts[1:]), strict=True)
