"""Seconds of one EM iteration of each case, ours and scikit-learn's, as a fraction of the floor.

An iteration is what ``fit`` does once more when ``max_iter`` grows by one: fits of 1 and of 1 + n
iterations are timed from the same explicit start, and their difference divided by n; medians are
printed. scikit-learn's is one E- and M-step after a fit of one iteration, timed between ours.
``--peers none`` leaves scikit-learn out; ``--separated`` takes components ten standard deviations
apart, where most responsibilities are zero.
"""

from __future__ import annotations

import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning

import vbfast
from cases import CASES, measured_peak

OUR_ITERATIONS = 5


def iteration_seconds(estimator, rows, iterations):
    def fit(max_iter):
        estimator.set_params(max_iter=max_iter)
        return measure.seconds(lambda: estimator.fit(rows))

    short = fit(1)
    return (fit(1 + iterations) - short) / iterations


def peer_seconds(start, rows):
    """One E- and M-step of scikit-learn's, after a fit of one iteration; NaN where that fails."""
    peer = sklearn.mixture.GaussianMixture(**start, max_iter=1)

    def iteration():
        _, log_resp = peer._e_step(rows)
        peer._m_step(rows, log_resp)

    try:
        peer.fit(rows)
        return measure.seconds(iteration)
    except ValueError:  # in float32 it may find covariances ill-defined
        return float("nan")


def table(cases=tuple(CASES), dtypes=("float64", "float32"), *, repeats=3, peers="sklearn",
          separated=False, quick=False):  # fmt: skip
    warnings.simplefilter("ignore", ConvergenceWarning)
    spread = 10.0 if separated else 0.7
    lines, peaks = [], []
    for dtype in dtypes:
        peak = measured_peak(dtype, size=300 if quick else 2500)
        peaks.append(f"{peak / 1e9:.0f} GFLOP/s {dtype}")
        for name in cases:
            case = CASES[name].smaller(100) if quick else CASES[name]
            rows, start = case.rows(dtype, spread), case.start(spread)
            floor = case.floor(peak, dtype)
            ours, theirs = [], []
            for repeat in range(repeats):
                mixture = vbfast.GaussianMixture(**start)
                ours.append(iteration_seconds(mixture, rows, OUR_ITERATIONS))
                if peers == "sklearn" and repeat == 0:
                    theirs.append(peer_seconds(start, rows))
            median = float(np.median(ours))
            other = float(np.median(theirs)) if theirs else float("nan")
            lines.append([name, dtype, f"{median:.4f}", f"{other:.2f}", f"{other / median:.1f}",
                          f"{floor:.4f}", f"{floor / median:.2f}"])  # fmt: skip
    header = ["case", "dtype", "vbfast s", "scikit-learn s", "ratio", "floor s", "fraction"]
    return f"Matrix product: {', '.join(peaks)}.\n\n{measure.markdown(header, lines)}"


if __name__ == "__main__":
    chosen = measure.options(__doc__, cases=list(CASES), dtypes=["float64", "float32"], repeats=3,
                             peers="sklearn", separated=False)  # fmt: skip
    print(table(**vars(chosen)))
