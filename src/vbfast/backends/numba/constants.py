"""Numbers that were chosen: each with its reason, and where it was measured.

What was timed was timed on two threads of an AMD EPYC (family 25, model 17) in November 2026, with
``bench/numba_backend.py``.
"""

from __future__ import annotations

from vbfast.backends.blocking import Limits

__all__ = [
    "CACHE_LINE",
    "FUNCTION_COST",
    "LIMITS",
    "MAX_BATCH_TILES",
    "NEGLIGIBLE_EXPONENT",
    "STEP_COST",
    "TILE_BYTES",
]

# A tile and its log-joints stay in the second-level cache. A group is eight vectors of AVX-512:
# loops over fewer than 64 numbers are unrolled to single ones, which took 2.4 times as long for
# full covariances of 16 features in float64.
LIMITS = Limits(
    partitions=16,
    statistics_bytes=256 << 20,
    group_bytes=512,
    tile_rows=512,
    tile_bytes=4 << 20,
    partition_rows=256,
)

# Of a feature in the rows of a tile.
TILE_BYTES = 2048

# Small tiles are worked on several at a time, for fewer calls from Python.
MAX_BATCH_TILES = 256

# Multiplications between two looks for signals: some ten milliseconds.
STEP_COST = 5e7

# Of a user's density or of one statistic, in multiplications: about a transcendental function.
FUNCTION_COST = 50.0

# Responsibilities below exp of it change no sum: they are zero, unless they are asked for.
NEGLIGIBLE_EXPONENT = -69.0

# Memory begins at the start of a cache line. NumPy's begins 16 bytes into one as often as not;
# every other vector then lies across two lines, and kernels take up to a quarter longer.
CACHE_LINE = 64
