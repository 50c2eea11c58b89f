"""Seconds of one EM iteration of each case, ours and scikit-learn's, as a fraction of the floor.

An iteration is what ``fit`` does once more when ``max_iter`` grows by one: fits of 1 and of 1 + n
iterations are timed from the same explicit start, and their difference divided by n; medians are
printed. scikit-learn's is one E- and M-step after a fit of one iteration, timed between ours.

The floor is the necessary floating-point operations at the speed of NumPy's matrix product, timed
between the iterations too (GFLOP/s), plus 0.30 ns (float64) or 0.12 ns (float32) an exponential,
which is what AVX-512 takes on two threads. The last column is the floor as a fraction of our time.

``--peers none`` leaves scikit-learn out; ``--separated`` takes components ten standard deviations
apart, where most responsibilities are zero and iterations are cheaper.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import time_iteration
from vbfast.benchmark.timing import MatrixProduct


def described(cases):
    """Return the table of what the names of cases mean."""
    rows = [
        [name, CASES[name].covariance_type, f"{CASES[name].n_samples:,}",
         f"{CASES[name].n_features}", f"{CASES[name].n_components:,}"]
        for name in cases
    ]  # fmt: skip
    return measure.Table(["case", "covariances", "rows", "features", "components"], rows)


def tables(cases=tuple(CASES), dtypes=("float64", "float32"), *, repeats=5, peers="sklearn",
           separated=False, quick=False):  # fmt: skip
    asked = peers == "sklearn"
    lines = []
    for dtype in dtypes:
        product = MatrixProduct(dtype, size=300 if quick else 2500)
        for name in cases:
            time = time_iteration(
                CASES[name].smaller(100) if quick else CASES[name],
                dtype,
                product,
                repeats=repeats,
                peer_repeats=1 if asked else 0,
                spread=10.0 if separated else 0.7,
            )
            peer = measure.cell(time.peer, 2, "fails" if asked else measure.MISSING)
            lines.append([name, dtype, f"{time.ours:.4f}", peer,
                          measure.speed_up(time.peer, time.ours), f"{time.peak / 1e9:.0f}",
                          f"{time.floor:.4f}", f"{time.fraction:.2f}"])  # fmt: skip
    header = ["case", "dtype", "vbfast s", "scikit-learn s", "speed-up", "GFLOP/s", "floor s",
              "fraction"]  # fmt: skip
    return [described(cases), measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
