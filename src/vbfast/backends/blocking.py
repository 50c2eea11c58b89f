"""Which rows are added up together: the blocking that makes results reproducible to the bit.

Rows are split into contiguous partitions, a partition into tiles. A partition is summed by one
thread, tile after tile; partitions are merged in a tree over their order. The blocking depends on
the number of rows, features and components and on the dtype only: never on the number of threads,
nor on how the data is stored. Each backend has limits of its own.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vbfast.contract import Blocking, FloatArray, RowBlock

__all__ = ["Limits", "make_blocking", "pieces", "seeding_pieces"]


@dataclass(frozen=True)
class Limits:
    """What a backend's blocking keeps to.

    Attributes
    ----------
    partitions : int
        The most partitions.
    few_partitions : int
        While they are no more than that, partitions may have ``few_rows`` rows on average.
    few_rows, partition_rows : int
        The fewest rows of a partition on average, where they are few and where they are many.
    taper : float
        The first partition, divided by the average. They shorten from there on, so that threads
        that take them in order end together.
    statistics_bytes : int
        The most memory of all partial statistics together.
    split_partitions : int
        Threads share components instead of partitions where fewer partial statistics than that fit.
    group_bytes : int
        A tile's rows come in groups; a feature of a group takes this many bytes.
    tile_rows : int
        The most rows of a tile.
    tile_bytes : int
        The most memory of a tile's log-joints and features, four copies of the latter.
    """

    partitions: int
    few_partitions: int
    few_rows: int
    partition_rows: int
    taper: float
    statistics_bytes: int
    split_partitions: int
    group_bytes: int
    tile_rows: int
    tile_bytes: int


def make_blocking(
    limits: Limits,
    n_samples: int,
    row_length: int,
    n_components: int,
    dtype: np.dtype[Any],
    statistics_bytes: int,
) -> Blocking:
    """Fix the blocking for a pass.

    Parameters
    ----------
    limits : Limits
    n_samples, row_length, n_components, dtype
        As for :meth:`vbfast.contract.Backend.blocking`.
    statistics_bytes : int
        Of one partial statistic.

    Returns
    -------
    Blocking
    """
    row_bytes = dtype.itemsize * (n_components + 4 * row_length)
    group = limits.group_bytes // dtype.itemsize
    fitting = max(1, limits.tile_bytes // row_bytes // group) * group
    tile_rows = min(limits.tile_rows, fitting)
    open_partitions = limits.statistics_bytes // max(1, statistics_bytes)
    split_components = open_partitions < limits.split_partitions
    n_partitions = 1
    if not split_components:
        few = min(limits.few_partitions, n_samples // limits.few_rows)
        wanted = max(few, n_samples // limits.partition_rows)
        most = limits.partitions
        if open_partitions < most:  # each costs much to merge, and fewer threads have one anyway
            most = min(most, max(limits.few_partitions, open_partitions // 2))
        n_partitions = max(1, min(wanted, most))
    # Whole tiles, or whole groups where tiles differ in length anyway.
    unit = group if limits.taper > 1.0 else tile_rows
    n_units = -(-n_samples // unit)
    n_partitions = max(1, min(n_partitions, n_units))
    # The part of the rows before partition p: its derivative falls from taper to 2 - taper.
    p = np.arange(n_partitions) / n_partitions
    before = p * (limits.taper + (1.0 - limits.taper) * p)
    starts = np.unique((before * n_units).astype(np.int64) * unit).tolist()
    return Blocking(
        n_samples,
        dtype,
        (*starts, n_samples),
        tile_rows,
        split_components,
        max(1, min(open_partitions, len(starts))),
    )


def pieces(blocks: Iterable[RowBlock], blocking: Blocking) -> Iterator[tuple[int, RowBlock]]:
    """Cut blocks at the bounds of partitions: yield partitions, with what a block has of them."""
    for block in blocks:
        stop = block.start + len(block.rows)
        start = block.start
        partition = bisect(blocking.bounds, start) - 1
        while start < stop:
            end = min(stop, blocking.bounds[partition + 1])
            rows = slice(start - block.start, end - block.start)
            weights = None if block.weights is None else block.weights[rows]
            resp = None if block.resp is None else block.resp[rows]
            yield partition, RowBlock(start, block.rows[rows], weights, resp)
            start, partition = end, partition + 1


def seeding_pieces(
    blocks: Sequence[RowBlock],
    closest: Sequence[FloatArray],
    lowered: Sequence[FloatArray | None],
    blocking: Blocking,
) -> Iterator[tuple[int, RowBlock, FloatArray, FloatArray | None]]:
    """Cut blocks of a seeding pass likewise, each with its part of ``closest`` and ``lowered``."""
    for whole, before, after in zip(blocks, closest, lowered, strict=True):
        for partition, block in pieces([whole], blocking):
            first = block.start - whole.start
            rows = slice(first, first + len(block.rows))
            yield partition, block, before[rows], None if after is None else after[:, rows]
