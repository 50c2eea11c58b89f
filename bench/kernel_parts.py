"""Nanoseconds a row and component of the parts of one tile's E-step, on one thread in cache.

What to look at before and after a kernel is changed: it repeats to a percent where whole
iterations do not, because each part's shortest time of many counts. The last column is the sum as
a fraction of the floor, whose peak is the fastest of some matrix products on the same core. It
builds its program (CMake preset ``kernel-parts``) and pins itself to one core; the level is the one
that vbfast chose, or ``VBFAST_SIMD``.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from threadpoolctl import threadpool_limits

from vbfast.backends.native.blocking import blocking as make_blocking
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.timing import MatrixProduct
from vbfast.families.covariances import MOMENTS_OF
from vbfast.info import configuration

ROOT = Path(__file__).parent.parent


def build(level):
    """Build the program of a level and return it."""
    levels = ";".join(dict.fromkeys(["baseline", level]))
    for step in (
        ["cmake", "--preset", "kernel-parts", f"-DVBFAST_LEVELS={levels}"],
        ["cmake", "--build", "--preset", "kernel-parts", "--target", f"kernel_parts_{level}"],
    ):
        subprocess.run(step, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / "build" / "kernel-parts" / "bench" / f"kernel_parts_{level}"


def table(cases=tuple(CASES), dtypes=("float64", "float32"), *, repeats=300, quick=False):
    program = build(configuration()["simd"])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    lines = []
    for dtype in dtypes:
        product = MatrixProduct(dtype, 300 if quick else 1000)
        with threadpool_limits(1):
            peak = product.operations / min(product.seconds() for _ in range(3 if quick else 20))
        for name in cases:
            case = CASES[name]
            K, D, kind = case.n_components, case.n_features, case.covariance_type
            moments = MOMENTS_OF[kind]
            blocking = make_blocking(case.n_samples, D, K, np.dtype(dtype), moments)
            tile_rows = blocking.tile_rows
            shape = map(str, (K, D, tile_rows, repeats))
            run = subprocess.run([program, dtype, kind, *shape], check=True, capture_output=True,
                                 text=True)  # fmt: skip
            parts = [float(line) for line in run.stdout.split()]
            floor = case.floor(peak, dtype, 1) * tile_rows / case.n_samples
            pair = 1e-9 * tile_rows * K
            lines.append([name, dtype, *(f"{part / pair:.3f}" for part in parts),
                          f"{sum(parts) / pair:.3f}", f"{floor / sum(parts):.2f}"])  # fmt: skip
    header = ["case", "dtype", "load", "log-joint", "responsibilities", "summary", "sum",
              "fraction of floor"]  # fmt: skip
    return measure.markdown(header, lines)


if __name__ == "__main__":
    chosen = measure.options(__doc__, cases=list(CASES), dtypes=["float64", "float32"],
                             repeats=300)  # fmt: skip
    print(table(**vars(chosen)))
