"""Nanoseconds a row and component of the parts of one tile's E-step, on one thread in cache.

What to look at before and after a kernel is changed: it repeats to a percent where whole
iterations do not, because each part's shortest time of many counts. The last column is the sum as
a fraction of the floor, whose peak is the fastest of some matrix products on the same core. It
builds its program (CMake preset ``kernel-parts``) and pins itself to one core; the level is the one
that vbfast chose, or ``VBFAST_SIMD``.
"""

from __future__ import annotations

import contextlib
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


@contextlib.contextmanager
def one_core():
    """Keep this thread, and the programs that it starts, to one core; where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def time_parts(program, case, dtype, peak, repeats):
    """Return the row of a case; ``peak`` is the matrix product's, operations a second."""
    K, D, kind = case.n_components, case.n_features, case.covariance_type
    tile_rows = make_blocking(case.n_samples, D, K, np.dtype(dtype), MOMENTS_OF[kind]).tile_rows
    command = [program, dtype, kind, *map(str, (K, D, tile_rows, repeats))]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    parts = [float(line) for line in run.stdout.split()]
    floor = case.floor(peak, dtype, 1) * tile_rows / case.n_samples
    pair = 1e-9 * tile_rows * K
    return [case.name, dtype, *(f"{part / pair:.3f}" for part in parts),
            f"{sum(parts) / pair:.3f}", f"{floor / sum(parts):.2f}"]  # fmt: skip


def tables(cases=tuple(CASES), dtypes=("float64", "float32"), *, repeats=300, quick=False):
    program = build(configuration()["simd"])
    lines = []
    with one_core(), threadpool_limits(1):
        for dtype in dtypes:
            product = MatrixProduct(dtype, 300 if quick else 1000)
            fastest = min(product.seconds() for _ in range(3 if quick else 20))
            peak = product.operations / fastest
            lines += [time_parts(program, CASES[name], dtype, peak, repeats) for name in cases]
    header = ["case", "dtype", "load", "log-joint", "responsibilities", "summary", "sum",
              "fraction of floor"]  # fmt: skip
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
