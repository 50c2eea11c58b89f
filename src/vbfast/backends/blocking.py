"""Which rows are added up together: the blocking that makes results reproducible to the bit.

Rows are split into contiguous partitions, a partition into tiles. A partition is summed by one
thread, tile after tile; partitions are merged in their order. The blocking depends on the number of
rows, features and components and on the dtype only: never on the number of threads, nor on how the
data is stored. Each backend has limits of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vbfast.contract import Blocking

__all__ = ["Limits", "make_blocking"]


@dataclass(frozen=True)
class Limits:
    """What a backend's blocking keeps to.

    Attributes
    ----------
    partitions : int
        The most partial statistics.
    statistics_bytes : int
        The most memory of all partial statistics together.
    group_bytes : int
        A tile's rows come in groups; a feature of a group takes this many bytes.
    tile_rows : int
        The most rows of a tile.
    tile_bytes : int
        The most memory of a tile's log-joints and features, four copies of the latter.
    partition_rows : int
        The fewest rows of a partition.
    """

    partitions: int
    statistics_bytes: int
    group_bytes: int
    tile_rows: int
    tile_bytes: int
    partition_rows: int


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
    split_components = statistics_bytes * limits.partitions > limits.statistics_bytes
    wanted = min(limits.partitions, n_samples // limits.partition_rows)
    n_tiles = -(-n_samples // tile_rows)
    n_partitions = max(1, min(1 if split_components else wanted, n_tiles))
    starts = [(n_tiles * p // n_partitions) * tile_rows for p in range(n_partitions)]
    return Blocking(n_samples, dtype, (*starts, n_samples), tile_rows, split_components)
