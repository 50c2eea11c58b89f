"""Seconds of a pass of the native backend with other blockings, as a multiple of its own.

Each limit is changed by itself: the rows and the bytes of a tile, and the number of partitions of a
pass and their least rows. The blockings take turns, from the same parameters.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

from dataclasses import replace
from functools import partial

from case_passes import case_pass
from vbfast.backends.native import blocking
from vbfast.benchmark.timing import alternate
from vbfast.passes.runner import LocalRunner

OWN = blocking.LIMITS
OTHERS = {
    "tile_rows": (128, 256, 1024),
    "tile_bytes": (OWN.tile_bytes // 4, OWN.tile_bytes // 2, OWN.tile_bytes * 2),
    "partitions": (16, 64),
    "partition_rows": (128, 256, 2048),
}


def one_pass(source, log_joint, request, limits):
    """Run a pass by a blocking of other limits."""
    blocking.LIMITS = limits
    blocking.blocking.cache_clear()
    try:
        LocalRunner(source, backend="native").run(log_joint, request)
    finally:
        blocking.LIMITS = OWN
        blocking.blocking.cache_clear()


def tables(cases=("diag_32", "full_2d", "full_16", "sph_bigK"), dtypes=("float64", "float32"), *,
           repeats=7, quick=False):  # fmt: skip
    changed = [(name, value) for name, values in OTHERS.items() for value in values]
    lines = []
    for dtype in dtypes:
        for name in cases:
            source, log_joint, request = case_pass(name, dtype, quick)
            limits = [OWN, *(replace(OWN, **{field: value}) for field, value in changed)]
            calls = [partial(one_pass, source, log_joint, request, each) for each in limits]
            for call in calls:
                call()
            own, *others = alternate(calls, repeats)
            lines.append([name, dtype, f"{own:.4f}", *(f"{other / own:.2f}" for other in others)])
    header = ["case", "dtype", "own s", *(f"{field} {value:,}" for field, value in changed)]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
