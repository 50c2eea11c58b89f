"""Seconds of one pass of an EM iteration on the numba backend, as a multiple of the native one.

They take turns, from the same parameters; compilation is over before the clock starts.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

from functools import partial

from case_passes import case_pass
from vbfast.benchmark.timing import alternate
from vbfast.passes.runner import LocalRunner

NAMES = ("full_2d", "full_16", "tied_32", "diag_32", "diag_bigK", "sph_bigK")


def tables(cases=NAMES, dtypes=("float64", "float32"), *, repeats=5, quick=False):
    lines = []
    for dtype in dtypes:
        for name in cases:
            source, log_joint, request = case_pass(name, dtype, quick)
            calls = [
                partial(LocalRunner(source, backend=backend).run, log_joint, request)
                for backend in ("native", "numba")
            ]
            for call in calls:
                call()  # compiles, and takes its memory
            native, numba = alternate(calls, repeats)
            lines.append([name, dtype, f"{native:.4f}", f"{numba:.4f}", f"{numba / native:.2f}"])
    return [measure.Table(["case", "dtype", "native s", "numba s", "numba / native"], lines)]


if __name__ == "__main__":
    measure.run_script(tables)
