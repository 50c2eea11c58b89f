"""Seconds of one EM iteration of each case, ours and scikit-learn's, as a fraction of the floor.

An iteration is what ``fit`` does once more when ``max_iter`` grows by one: fits of 1 and of 1 + n
iterations are timed from the same explicit start, and their difference divided by n. The libraries
take turns; medians are printed. ``--peers none`` leaves scikit-learn out.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings

if "OPENBLAS_CORETYPE" in os.environ:  # would slow the peak down
    del os.environ["OPENBLAS_CORETYPE"]
    os.execv(sys.executable, [sys.executable, *sys.argv])

import numpy as np
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning

import vbfast
from cases import CASES, measured_peak


def seconds(estimator, rows, max_iter):
    estimator.set_params(max_iter=max_iter)
    start = time.perf_counter()
    estimator.fit(rows)
    return time.perf_counter() - start


def iteration_seconds(estimator, rows, iterations):
    short = seconds(estimator, rows, 1)
    return (seconds(estimator, rows, 1 + iterations) - short) / iterations


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", choices=("sklearn", "none"), default="sklearn")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print("| case | dtype | vbfast s | scikit-learn s | ratio | floor s | fraction |")
    print("|---|---|---|---|---|---|---|")
    for dtype in options.dtypes:
        peak = measured_peak(dtype)
        print(f"<!-- {dtype}: {peak / 1e9:.0f} GFLOP/s, {vbfast.get_num_threads()} threads -->")
        for name in options.cases:
            case = CASES[name]
            rows, start, floor = case.rows(dtype), case.start(), case.floor(peak, dtype)
            ours, theirs = [], []
            for repeat in range(options.repeats):
                ours.append(iteration_seconds(vbfast.GaussianMixture(**start), rows, 5))
                if options.peers == "sklearn" and repeat < 2:
                    peer = sklearn.mixture.GaussianMixture(**start)
                    theirs.append(iteration_seconds(peer, rows, 1))
            median = float(np.median(ours))
            other = float(np.median(theirs)) if theirs else float("nan")
            print(
                f"| {name} | {dtype} | {median:.4f} | {other:.2f} | {other / median:.1f} "
                f"| {floor:.4f} | {floor / median:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
