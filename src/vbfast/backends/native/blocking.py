"""The native backend's blocking, from the layout of its partial statistics."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from vbfast.backends.blocking import Limits, make_blocking
from vbfast.contract import Blocking, Moments

__all__ = ["BLOCK_ROWS", "LIMITS", "blocking", "statistics_size"]

# Groups are whole vectors of AVX-512, four at a time, whatever the level: results of one shape are
# summed alike at all of them. A tile and its log-joints stay in the second-level cache. By
# bench/blocking.py, on two threads of an AMD EPYC (family 25, model 17) in November 2026, no other
# tile is faster for all cases: tiles of twice the rows took 0.92 to 1.03 of the time, of twice the
# bytes 0.99 to 1.48. Partitions and their taper keep up to 48 threads, 64, 96 and 128 at least 85 %
# busy where each has 1,024 rows (tests/backends/test_balance.py). Two threads would do as well with
# fewer: sixteen partitions took 0.97 to 1.00 of the time.
LIMITS = Limits(
    partitions=256,
    few_partitions=16,
    few_rows=256,
    partition_rows=512,
    taper=1.8,
    statistics_bytes=64 << 20,
    split_partitions=16,
    group_bytes=256,
    tile_rows=512,
    tile_bytes=1 << 20,
)
# Rows of a block of a triangle, see csrc/kernels/estep/triangle-inl.h.
BLOCK_ROWS = 8


def statistics_size(moments: Moments | None, n_components: int, n_features: int) -> int:
    """Return how many float64 numbers one partial statistic has."""
    if moments is None:
        return 0
    # Lower triangle of a second moment, in block rows padded to the width of their diagonal block.
    n_block_rows = -(-n_features // BLOCK_ROWS)
    triangle = BLOCK_ROWS * BLOCK_ROWS * n_block_rows * (n_block_rows + 1) // 2
    second = {"first": 0, "diag": n_features, "spherical": 1, "pooled": 0, "full": triangle}
    shared = triangle if moments == "pooled" else 0
    return n_components * (1 + n_features + second[moments]) + shared


@functools.lru_cache  # of a fit's passes most are alike
def blocking(
    n_samples: int,
    row_length: int,
    n_components: int,
    dtype: np.dtype[Any],
    moments: Moments | None,
) -> Blocking:
    """Fix the blocking for a pass, see :meth:`vbfast.contract.Backend.blocking`."""
    limits = LIMITS
    if moments == "first":
        # k-means visits a row in a few nanoseconds: sums over K centres are of as many rows.
        limits = replace(LIMITS, partition_rows=max(LIMITS.partition_rows, n_components))
    return make_blocking(
        limits,
        n_samples,
        row_length,
        n_components,
        dtype,
        8 * statistics_size(moments, n_components, row_length),
    )
