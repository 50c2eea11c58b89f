"""Which rows are added up together: the blocking that makes results reproducible to the bit.

Rows are split into at most :data:`MAX_PARTITIONS` contiguous partitions, a partition into tiles. A
partition is summed by one thread, tile after tile; partitions are merged in their order. The
blocking depends on the number of rows, features and components and on the dtype only: never on the
number of threads, nor on how the data is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.engine.contract import StatisticsKind

MAX_PARTITIONS = 16
MAX_STATISTICS_BYTES = 64 << 20
TILE_LANE_BYTES = 256
MAX_TILE_ROWS = 512
TILE_BYTES = 1 << 20
MIN_PARTITION_ROWS = 256
BLOCK_ROWS = 8


@dataclass(frozen=True)
class Plan:
    """The blocking of one data set for one model.

    Attributes
    ----------
    n_samples : int
    dtype : numpy.dtype
        Dtype of the computation.
    bounds : tuple of int
        Partition ``p`` holds the rows ``bounds[p]`` to ``bounds[p + 1]``; every bound but the last
        is a multiple of ``tile_rows``.
    tile_rows : int
        Rows of a tile: whole groups of rows as AVX-512 takes them, :data:`TILE_LANE_BYTES` each.
    split_components : bool
        True for a model whose partial statistics are too large to keep one per partition: then
        there is one partition, and threads share its components in the summary step.
    """

    n_samples: int
    dtype: np.dtype[Any]
    bounds: tuple[int, ...]
    tile_rows: int
    split_components: bool

    @property
    def n_partitions(self) -> int:
        """Number of partial statistics."""
        return len(self.bounds) - 1


def statistics_size(n_components: int, n_features: int, kind: StatisticsKind | None) -> int:
    """Float64 numbers in one partial statistic."""
    if kind is None:
        return 0
    # Lower triangle of a second moment, in block rows padded to the width of their diagonal block.
    n_block_rows = -(-n_features // BLOCK_ROWS)
    triangle = BLOCK_ROWS * BLOCK_ROWS * n_block_rows * (n_block_rows + 1) // 2
    per_component = {
        "full": 1 + n_features + triangle,
        "tied": 1 + n_features,
        "diag": 1 + 2 * n_features,
        "spherical": 2 + n_features,
        "means": 1 + n_features,
    }[kind]
    shared = triangle if kind == "tied" else 0
    return n_components * per_component + shared


def make_plan(
    n_samples: int,
    n_features: int,
    n_components: int,
    dtype: npt.DTypeLike,
    statistics: StatisticsKind | None,
) -> Plan:
    """Fix the blocking for a pass.

    Parameters
    ----------
    n_samples, n_features, n_components : int
    dtype : float32 or float64
    statistics : the kind of statistics that the pass adds up, or None

    Returns
    -------
    Plan
    """
    dtype = np.dtype(dtype)
    row_bytes = dtype.itemsize * (n_components + 4 * n_features)
    group = TILE_LANE_BYTES // dtype.itemsize
    tile_rows = min(MAX_TILE_ROWS, max(1, TILE_BYTES // row_bytes // group) * group)
    statistics_bytes = 8 * statistics_size(n_components, n_features, statistics)
    split_components = statistics_bytes * MAX_PARTITIONS > MAX_STATISTICS_BYTES
    wanted = 1 if split_components else min(MAX_PARTITIONS, n_samples // MIN_PARTITION_ROWS)
    n_tiles = -(-n_samples // tile_rows)
    n_partitions = max(1, min(wanted, n_tiles))
    starts = [(n_tiles * p // n_partitions) * tile_rows for p in range(n_partitions)]
    bounds = (*starts, n_samples)
    return Plan(n_samples, dtype, bounds, tile_rows, split_components)
