"""Seconds of one EM iteration of each case, ours and scikit-learn's, as a fraction of the floor.

An iteration is what ``fit`` does once more when ``max_iter`` grows by one: fits of 1 and of 1 + n
iterations are timed from the same explicit start, and their difference divided by n; medians are
printed. scikit-learn's is one E- and M-step after a fit of one iteration, timed between ours, and
so is the matrix product whose speed the floor counts with. ``--peers none`` leaves scikit-learn
out; ``--separated`` takes components ten standard deviations apart, where most responsibilities
are zero.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import time_iteration
from vbfast.benchmark.timing import MatrixProduct


def table(cases=tuple(CASES), dtypes=("float64", "float32"), *, repeats=5, peers="sklearn",
          separated=False, quick=False):  # fmt: skip
    lines = []
    for dtype in dtypes:
        product = MatrixProduct(dtype, size=300 if quick else 2500)
        for name in cases:
            time = time_iteration(
                CASES[name].smaller(100) if quick else CASES[name],
                dtype,
                product,
                repeats=repeats,
                peer_repeats=1 if peers == "sklearn" else 0,
                spread=10.0 if separated else 0.7,
            )
            lines.append([name, dtype, f"{time.ours:.4f}", f"{time.peer:.2f}", f"{time.ratio:.1f}",
                          f"{time.peak / 1e9:.0f}", f"{time.floor:.4f}",
                          f"{time.fraction:.2f}"])  # fmt: skip
    header = ["case", "dtype", "vbfast s", "scikit-learn s", "ratio", "GFLOP/s", "floor s",
              "fraction"]  # fmt: skip
    return measure.markdown(header, lines)


if __name__ == "__main__":
    chosen = measure.options(__doc__, cases=list(CASES), dtypes=["float64", "float32"], repeats=5,
                             peers="sklearn", separated=False)  # fmt: skip
    print(table(**vars(chosen)))
